"""Verbs that take over what other systems know: expectations and movements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import BookOption, Desk, SiteOption, opened, reverify
from binventory.cli.data import JsonOption
from binventory.errors import InputError
from binventory.flow import chunks

if TYPE_CHECKING:
    from binventory.book.entries import Entry
    from binventory.book.exchange.imports import Bad, Read

    Reader = Callable[[str, datetime, tzinfo | None], Read]
    """What makes entries of a file's rows, given the time of those that have none, and the zone of times without."""

FilesArgument = Annotated[
    list[str],
    typer.Argument(help="CSV, TSV, Excel, JSON, JSON lines or Parquet; - for standard input.", metavar="FILE…"),
]
WholeOption = Annotated[bool, typer.Option("--all-or-nothing", help="Enter nothing where a single row is bad.")]
_BAD_TOLD = 20
_TOGETHER = 2_000


def expect(
    files: FilesArgument,
    whole: WholeOption = False,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter what other systems' records say is in each bin: totals, and lines where they have them.

    Columns: bin, quantity, and if known sku, name, gtin, height, length, width, weight, value, at. Rows of one bin and
    time are its lines; a time without a zone is of [intake] timezone, else this machine's. Bad rows are told one by
    one, and the good ones are kept; the exit status is then 3. A table without times tells what was so when its file
    was last changed; the same file again changes nothing.
    """
    from binventory.book.exchange import imports

    _take_over(files, imports.read_expectations, whole, site, book, as_json)


def move(
    files: FilesArgument,
    whole: WholeOption = False,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter what was put into bins and taken out of them.

    Columns: bin, delta (or quantity and direction: in, out), and if known sku, gtin, reference, reason, at. A movement
    that comes late re-bases every variance after it. Rows of one bin, time, SKU, delta and reference are one movement.
    Bad rows are told one by one, and the good ones are kept; the exit status is then 3. The same file again changes
    nothing.
    """
    from binventory.book.exchange import imports

    _take_over(files, imports.read_movements, whole, site, book, as_json)


def _take_over(
    files: Sequence[str], reader: Reader, whole: bool, site: str | None, book: str | None, as_json: bool
) -> None:
    with opened(site, book) as desk:
        entries, bad = read(desk, files, reader, whole)
        tell(enter(desk, entries, whole), bad, as_json)
        reverify(desk)
    raise typer.Exit(terminal.status_of(one.error for _, one in bad))


def read(desk: Desk, files: Sequence[str], reader: Reader, whole: bool) -> tuple[list[Entry], list[tuple[str, Bad]]]:
    """The entries of files' rows, and the rows that are bad, each told; so is what to know of the others.

    Raises InputError where a row is bad and all or nothing was asked for.
    """
    from binventory.book import intake

    clock = intake.zone(desk.site.intake.timezone)
    entries: list[Entry] = []
    bad: list[tuple[str, Bad]] = []
    for file in files:
        found = reader(file, datetime.now(UTC), clock)
        entries += found.entries
        bad += [(file, one) for one in found.bad]
        for note in found.notes:
            terminal.say(f"note: {file}: {note}")
    for _, one in bad[:_BAD_TOLD]:
        terminal.say(f"rejected: {one.error}")
    if bad[_BAD_TOLD:]:
        terminal.say(f"and {len(bad) - _BAD_TOLD:,} more: --json tells them all")
    if whole and bad:
        raise InputError("Nothing was entered", f"{len(bad):,} rows are bad, and it was to be all or nothing",
                         "mend them, or leave out --all-or-nothing")  # fmt: skip
    return entries, bad


def enter(desk: Desk, entries: Sequence[Entry], whole: bool = False) -> dict[str, int]:
    """Enter them and say how many were new and how many known: some at a time, so that others may write in between,
    or, ``whole``, all or none."""
    from binventory.book import acts

    tracked = terminal.tracked(entries, "entering", len(entries))
    new = sum(
        acts.imported(desk.ledger, some) for some in chunks(tracked, max(len(entries), 1) if whole else _TOGETHER)
    )
    return {"entered": new, "known": len(entries) - new}


def tell(counts: dict[str, int], bad: Sequence[tuple[str, Bad]], as_json: bool) -> None:
    """Print how many rows were entered, known and bad; as JSON each bad one, too."""
    row = counts | {"rejected": len(bad)}
    if not as_json:
        terminal.print_table(("", "entries"), list(row.items()))
        return
    terminal.print_json(row)
    for file, one in bad:
        terminal.print_json({"file": file, "line": one.line, "error": one.error.as_row()})


def lines_of(given: Sequence[str]) -> Iterator[tuple[str, int]]:
    """``SKU=N`` as a SKU, called as in an import, and how many there are. Raises InputError."""
    from binventory.book.exchange import fields

    for one in given:
        sku, equals, number = one.rpartition("=")
        if not (equals and sku and number.isascii() and number.isdigit() and int(number) <= 100_000):
            raise InputError(f"The line {one!r} does not read", "a line is SKU=N, N from 0 to 100,000", "--line SKU=3")
        yield fields.needed(fields.identity({"sku": sku}, "sku"), "sku"), int(number)
