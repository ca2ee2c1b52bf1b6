"""The verb that takes a prepared catalogue to a bucket."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from binventory.cli import terminal
from binventory.cli.data import DataOption, JsonOption, RecipeOption, SetOption, WorkOption, catalogued

_OLDER_TOLD = 3


def upload(
    data: DataOption,
    to: Annotated[str, typer.Option(help="Where the shards go: s3://BUCKET/PREFIX, or a folder.", metavar="PLACE")],
    work: WorkOption = None,
    recipe: RecipeOption = "quick",
    settings: SetOption = None,
    kms_key: Annotated[
        str | None,
        typer.Option(
            help="A key of KMS that S3 encrypts with, instead of its own: an ARN, id or alias.", metavar="KEY"
        ),
    ] = None,
    megabytes: Annotated[int, typer.Option(help="The most of a shard.", min=1, max=4096, metavar="MB")] = 128,
    jobs: Annotated[int, typer.Option(help="Shards on their way at once.", min=1, max=32)] = 3,
    as_json: JsonOption = False,
) -> None:
    """Upload photos with their counts and sides as shards, which --data takes in place of the photos.

    The data are catalogued and split as train does it. Shards are WebDataset tar files, the same bytes for the same
    photos and sides, encrypted by S3. What is there already is not sent again, so a killed upload goes on where it
    stopped; shards.json, without which nobody reads the rest, comes last.
    """
    from binventory import recipe as recipes
    from binventory.cloud import upload as uploading
    from binventory.data import catalogue as catalogues

    begun = time.monotonic()
    chosen = recipes.load(recipe, settings or ())
    uploading.refuse_data(to, data)
    place = uploading.place(to, kms_key)
    found = catalogued(data, work, chosen)
    found = catalogues.split_sides(found, chosen.split, chosen.seed)
    terminal.tell(found.notes, found.rejects, found.work)
    if found.unpictured:
        terminal.say(f"note: {len(found.unpictured):,} records have no photo and stay behind")
    done = uploading.upload(found, place, chosen, megabytes * 1_000_000, jobs, terminal.tracked)
    if done.older:
        few = ", ".join(done.older[:_OLDER_TOLD]) + (" …" if done.older[_OLDER_TOLD:] else "")
        terminal.say(f"note: {len(done.older):,} files of an older state lie there, too, and are left alone ({few})")
    summary = {
        "photos": done.photos,
        "sent": done.sent,
        "there": done.there,
        "bytes": done.bytes,
        "seconds": round(time.monotonic() - begun, 2),
        "data": done.address,
    }
    if as_json:
        terminal.print_json({**summary, "counts": done.counts, "older": done.older})
    else:
        sides = [(side, f"{sum(counts.values()):,}") for side, counts in done.counts.items()]
        terminal.print_table(("", ""), [*summary.items(), *sides])
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))
