"""Verbs that bring photos and records here, and choose which."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.data import JsonOption, WorkOption

if TYPE_CHECKING:
    from binventory.data.fetch import Arrival, Kind
    from binventory.errors import BinventoryError

JOBS = 48
"""Objects in flight. Far buckets answer in some 50 ms, so that this many fetch about a thousand a second."""
_FAILURES_TOLD = 20
CatalogueOption = Annotated[
    list[str] | None, typer.Option("--data", help="The data that was catalogued.", metavar="DIR")
]


def fetch(
    out: Annotated[Path, typer.Option(help="The folder to fetch into, in the bucket's layout.", metavar="DIR")],
    ids: Annotated[list[str] | None, typer.Argument(help="Ids to fetch.", metavar="ID")] = None,
    some: Annotated[str | None, typer.Option("--ids", help="Ids to fetch: 1044,01044.", metavar="ID,...")] = None,
    id_list: Annotated[
        str | None,
        typer.Option("--list", help="A file of ids: JSON of ids by class, or one id a line.", metavar="FILE"),
    ] = None,
    id_range: Annotated[
        str | None, typer.Option("--range", help="Ids from one to another: 00001-01000.", metavar="RANGE")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Ids for which this holds in the catalogue of --data or --work, on the columns of its table "
            "photos: 'count = 5 and has_record'.",
            metavar="SQL",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the bucket lists.")] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many ids, the first.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help="One half of each bin: photos or metadata.")] = None,
    source: Annotated[
        str, typer.Option("--from", help="The bucket, or a prefix in it.", metavar="S3")
    ] = "s3://aft-vbi-pds",
    endpoint: Annotated[
        str | None, typer.Option("--endpoint-url", help="Another S3 server than Amazon's.", metavar="URL")
    ] = None,
    data: CatalogueOption = None,
    work: WorkOption = None,
    jobs: Annotated[int, typer.Option(help="Objects in flight.", min=1, max=512)] = JOBS,
    verify: Annotated[bool, typer.Option("--verify", help="Fetch what is there, too, where it differs.")] = False,
    checksums: Annotated[
        bool,
        typer.Option(
            "--checksums/--no-checksums",
            help="Hold bodies against their ETag where it looks like an md5. In a bucket under KMS it is none.",
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a failure, then a summary.")] = False,
) -> None:
    """Fetch photos and records from a bucket, Amazon's or one like it. What is there already is not fetched again.

    Without credentials in the environment, requests are unsigned, as the Amazon Bin Image Dataset's bucket wants. A
    killed fetch goes on where it stopped. An object that is missing or refused is told, and the rest goes on.
    """
    from binventory import s3
    from binventory.data import fetch as fetching

    begun = time.monotonic()
    terminal.refuse_remote(out)
    kinds = _kinds(only)
    named = ",".join([*(ids or ()), *([some] if some else ())])
    chosen = _chosen(named, id_list, id_range, where, everything, data, work)
    bucket = s3.opened(source, endpoint)
    if chosen is None:
        wanted = fetching.listed(bucket, kinds, terminal.tracked)
    else:
        wanted = fetching.wanted(chosen, kinds)
    wanted = fetching.first(wanted, limit)
    if not wanted:
        terminal.say("note: no id was chosen, so there is nothing to fetch")
    came: list[int] = []
    errors: list[BinventoryError] = []
    with fetching.folder(out):
        missing = fetching.missing(wanted, out)
        if note := fetching.refuse_without_room(missing, out):
            terminal.say(f"note: {note}")
        todo = wanted if verify else missing
        with fetching.started(bucket, todo, out, jobs, verify, checksums) as arrivals:
            for one in terminal.tracked(arrivals, "fetching", len(todo)):
                if one.error is not None:
                    errors.append(one.error)
                    _tell(one, len(errors), as_json)
                elif one.bytes is not None:
                    came.append(one.bytes)
    summary = {
        "fetched": len(came),
        "there": len(wanted) - len(came) - len(errors),
        "failed": len(errors),
        "bytes": sum(came),
        "seconds": round(time.monotonic() - begun, 2),
        "data": str(out),
    }
    if as_json:
        terminal.print_json(summary)
    else:
        terminal.print_table(("", ""), summary.items())
    raise typer.Exit(terminal.status_of(errors))


def select(
    out: Annotated[str, typer.Option(help="The list to write: JSON of ids by class.", metavar="FILE")],
    data: CatalogueOption = None,
    work: WorkOption = None,
    counts: Annotated[str, typer.Option(help="The counts to choose, each a class.", metavar="RANGE")] = "1-5",
    size: Annotated[int | None, typer.Option(help="How many ids in all. Default: as many as there are.", min=1)] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="As many of each count.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed chooses others.", min=0)] = 1,
    side: Annotated[str | None, typer.Option("--split", help="From one side alone.", metavar="SIDE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose ids by their counts into a list that fetch takes. The choice hangs on ids and seed alone.

    A larger --size chooses what a smaller one does, and more.
    """
    from binventory.data import choose, lists
    from binventory.errors import InputError

    quantities = lists.parse_quantities(counts)
    counted = choose.labelled(_place(data, work, "select"), side)
    chosen = choose.by_count(counted, quantities, size, balanced, seed)
    found = sum(map(len, chosen.values()))
    if not found and side and not choose.labelled(_place(data, work, "select"), side):
        raise InputError(f"There is nothing on the side {side}", "the data may not be split yet", "binventory split")
    if not found:
        raise InputError(
            f"There are no ids of counts {counts}", "the catalogue knows none", "other --counts or --split"
        )
    if size and found < size:
        terminal.say(
            f"note: {found:,} ids instead of {size:,}: there are no more{' of some counts' if balanced else ''}"
        )
    lists.write_classes(out, {str(count): ids for count, ids in chosen.items()})
    if as_json:
        terminal.print_json({"list": out, "counts": {str(count): len(ids) for count, ids in chosen.items()}})
    else:
        terminal.print_table(("count", "ids"), [(count, len(ids)) for count, ids in chosen.items()])
        terminal.say(f"list: {out}")


def _chosen(
    ids: str, id_list: str | None, id_range: str | None, where: str | None, everything: bool,
    data: list[str] | None, work: Path | None,
) -> list[str] | None:  # fmt: skip
    """The ids that the options name by one of the ways there are; None for all. Raises UsageError, InputError."""
    from binventory.data import lists
    from binventory.errors import UsageError

    ways = sum(map(bool, (ids, id_list, id_range, where, everything)))
    if ways != 1:
        why = "none was given" if not ways else f"{ways} ways to choose were given"
        raise UsageError("fetch needs one choice of ids", why, "--range 00001-01000, --ids, --list, --where or --all")
    if id_list:
        return lists.read_ids(id_list)
    if id_range:
        return lists.parse_range(id_range)
    if where:
        from binventory.data import choose

        return choose.where(_place(data, work, "--where"), where)
    return None if everything else lists.parse_ids(ids)


def _place(data: list[str] | None, work: Path | None, wish: str) -> Path:
    """The work folder of a catalogue that was made. Raises UsageError where neither option tells which."""
    from binventory.data import catalogue
    from binventory.errors import UsageError

    if work is None and not data:
        raise UsageError(f"{wish} needs a catalogue", "neither --data nor --work was given", "--data DIR")
    return work or catalogue.work_for(data or [])


def _kinds(only: str | None) -> list[Kind]:
    from binventory.data.fetch import KINDS
    from binventory.errors import UsageError

    if only is None:
        return list(KINDS.values())
    if only not in KINDS:
        raise UsageError(f"Half {only!r} does not exist", "a bin has a photo and a record", "--only photos or metadata")
    return [KINDS[only]]


def _tell(failure: Arrival, number: int, as_json: bool) -> None:
    """A failure as a row of its own where JSON is asked for, and the first twenty on stderr."""
    if as_json:
        terminal.print_json(failure.as_row())
    if number <= _FAILURES_TOLD:
        terminal.say(f"failed: {failure.error}")
    elif number == _FAILURES_TOLD + 1 and not as_json:
        terminal.say("and more: --json prints them all")
