"""The verb that holds photos against records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import counting, terminal
from binventory.cli.booking import (
    BookOption,
    Desk,
    SiteOption,
    WhoOption,
    named,
    opened,
    percent,
    tell_photos,
)
from binventory.cli.booking import counting as counter_for
from binventory.cli.data import JsonOption
from binventory.errors import BinventoryError, InputError
from binventory.records import BinRecord, Count, Photo, Verdict, shown, span

if TYPE_CHECKING:
    from binventory.book.entries import Bundled
    from binventory.book.intake import Placed

COLUMNS = ("bin", "verdict", "record", "count", "90 % interval", "record right", "why")


def verify(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, folders, patterns, s3:// addresses, or - for standard input.")
    ],
    bin: Annotated[str | None, typer.Option("--bin", help="The bin they show. Default: as [intake] tells.")] = None,
    quantity: Annotated[
        int | None,
        typer.Option("--quantity", min=0, max=100_000, help="Hold them against this total, and leave the record be."),
    ] = None,
    bundle: counting.BundleOption = None,
    endpoint: counting.EndpointOption = None,
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """May these bins' records stand? Count the photos, hold the counts against the record of their time, book both.

    One row a bin; of several photos of a bin the latest speaks. Exit 1 where a record may not pass without a look, 3
    where a photo cannot be used or nobody says which bin it shows.
    """
    counter, bundled = counter_for(bundle, endpoint)
    errors: list[BinventoryError] = []
    latest: dict[tuple[str | None, str], tuple[datetime, str, Verdict]] = {}
    with opened(site, book) as desk:
        tell_photos(desk)
        addresses = list(counting.addresses(photos))
        outcomes = terminal.tracked(counting.counted(counter, addresses), "counting", len(addresses))
        for photo, outcome in outcomes:
            try:
                if isinstance(outcome, BinventoryError):
                    raise outcome
                found, at, verdict = _verified(desk, photo, outcome, bundled, bin, quantity, named(who))
            except InputError as error:
                errors.append(error)
                if as_json:
                    terminal.print_json({"photo": photo.name, "error": error.as_row()})
                else:
                    terminal.say(f"rejected: {error}")
                continue
            of = (found, "" if found else photo.name)  # a photo without a bin speaks for itself
            if of not in latest or at >= latest[of][0]:
                latest[of] = (at, photo.name, verdict)
    if as_json:
        for (found, _), (_, name, verdict) in latest.items():
            terminal.print_json(verdict.as_row(found, name))
    elif latest:
        terminal.print_table(COLUMNS, (cells(found, verdict) for (found, _), (_, _, verdict) in latest.items()))
    failed = not all(verdict.passes for _, _, verdict in latest.values())
    raise typer.Exit(terminal.status_of(errors) or int(failed))


def cells(bin: str | None, verdict: Verdict) -> tuple[object, ...]:
    """A verdict as a row of ``COLUMNS``."""
    expected = "" if verdict.expected is None else verdict.expected
    held = span(verdict.interval)
    return bin or "", verdict.verdict, expected, shown(verdict.count), held, percent(verdict.p_right), verdict.reason


def _verified(
    desk: Desk, photo: Photo, count: Count, bundled: Bundled, bin: str | None, quantity: int | None, who: str
) -> tuple[str | None, datetime, Verdict]:
    """The bin, the photo's time, and the verdict: against ``quantity`` where it is given, else against the book."""
    from binventory.book import acts
    from binventory.deciding.rule import Rule
    from binventory.deciding.verify import verify as decided

    placed = _placed(desk, photo, bin, quantity is None)
    found, at = (placed.bin, placed.taken) if placed else (None, datetime.now(UTC))
    if placed:
        shot = acts.Shot(placed.bin, at, photo.name, photo.data, placed.taken_from, placed.bin_from, who)
        booked = acts.counted(desk.ledger, shot, count, bundled, desk.site.policy)
        if quantity is None:
            return found, at, booked
    rule = Rule.from_bytes(bundled.rule.encode()) if bundled.rule else None
    return found, at, decided(count, BinRecord(quantity), desk.site.policy, rule)


def _placed(desk: Desk, photo: Photo, bin: str | None, needed: bool) -> Placed | None:
    """The bin and time of a photo; None where it has none and needs none. Raises InputError where it does."""
    from binventory.book import intake

    found = intake.placed(desk.site.intake, replace(photo, bin=bin or photo.bin), desk.ledger.knows)
    if not isinstance(found, InputError):
        return found
    if not needed:
        return None
    raise InputError(found.what, found.why, f"--bin BIN, or {found.next}")
