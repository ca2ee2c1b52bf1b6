"""Verbs for what stands in the cloud already: what costs money now, and which models may be deployed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.data import JsonOption
from binventory.cli.endpoints import RegionOption
from binventory.errors import BinventoryError

if TYPE_CHECKING:
    from binventory.cloud.alive import Cost


def alive(region: RegionOption = None, as_json: JsonOption = False) -> None:
    """Everything of SageMaker's that costs money now in a region, with its price a month. Exit 1 where something does.

    Endpoints, jobs, notebooks, Studio's apps, clusters and MLflow's servers cost by the hour and make it 1; stored
    archives and serverless endpoints without warm instances are shown and do not.
    """
    from binventory.cloud import alive as looking
    from binventory.cloud.session import opened

    aws, now = opened(region), datetime.now(UTC)
    costs: list[Cost] = []
    errors: list[BinventoryError] = []
    for one in terminal.tracked(looking.look(aws, looking.priced(aws.region)), "looking", None):
        if isinstance(one, BinventoryError):
            errors.append(one)
            terminal.say(f"error: {one}")
        else:
            costs.append(one)
    for cost in costs:
        if cost.overdue(now):
            terminal.say(f"overdue: {cost.name} should have ended at {cost.stop:%Y-%m-%d %H:%M} UTC. "
                         "Try: binventory cloud undeploy --overdue")  # fmt: skip
    lasting = [cost for cost in costs if cost.lasts]
    if as_json:
        for cost in costs:
            terminal.print_json(cost.as_row(now))
    elif costs:
        _print_costs(costs, lasting, aws.region)
    if not lasting and not errors:
        terminal.say(f"note: nothing costs by the hour in {aws.region}")
    raise typer.Exit(terminal.status_of(errors) or bool(lasting))


def approve(
    name: Annotated[
        str,
        typer.Argument(help="A version's ARN, or a group, whose newest waiting version is meant.", metavar="GROUP|ARN"),
    ],
    reject: Annotated[bool, typer.Option("--reject", help="Reject it instead.")] = False,
    why: Annotated[str, typer.Option(help="What to write beside it.")] = "binventory cloud approve",
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a model of the registry, so that it may be deployed by `cloud deploy --package`; or reject it."""
    from binventory.cloud import registry
    from binventory.cloud.session import opened

    version = registry.move(opened(region), name, "Rejected" if reject else "Approved", why)
    if as_json:
        terminal.print_json({"package": version.arn, "status": version.status})
    else:
        terminal.print_table(("", ""), [("package", version.arn), ("status", version.status)])


def _print_costs(costs: list[Cost], lasting: list[Cost], region: str) -> None:
    from binventory.cloud import prices

    def money(value: float | None) -> str:
        return "?" if value is None else f"${value:,.2f}"

    rows = [
        (cost.kind, cost.name, cost.size, money(cost.month), f"{cost.since:%Y-%m-%d %H:%M}" if cost.since else "",
         ("binventory" if cost.ours else "others") if cost.lasts or cost.since else "",
         f"{cost.stop:%Y-%m-%d %H:%M}" if cost.stop else "")
        for cost in costs
    ]  # fmt: skip
    terminal.print_table(("kind", "name", "size", "a month", "since (UTC)", "whose", "ends (UTC)"), rows)
    known = sum(cost.month or 0 for cost in lasting)
    unknown = sum(cost.month is None for cost in lasting)
    more = f", and {unknown} of unknown price" if unknown else ""
    terminal.say(f"in {region}: ${known:,.2f} a month{more}, by prices of {prices.table().as_of}")
