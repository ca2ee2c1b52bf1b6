"""The family ``binventory cloud``: its verbs, gathered from the files that hold them."""

from __future__ import annotations

import typer

from binventory.cli import asking, endpoints, jobs, standing, uploading

app = typer.Typer(
    name="cloud",
    help="SageMaker and S3: photos up, jobs, endpoints, and what costs money now.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command()(uploading.upload)
jobs.register(app)
for verb in (endpoints.deploy, asking.query, asking.batch, endpoints.undeploy, standing.alive, standing.approve):
    app.command()(verb)
