"""The family ``review``: what a person finds at the bins, blind, and what follows from it."""

from __future__ import annotations

import shlex
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import (
    BookOption,
    Desk,
    SiteOption,
    WhoOption,
    asked,
    bin_named,
    kept,
    named,
    next_step,
    opened,
    reverify,
)
from binventory.cli.data import JsonOption
from binventory.cli.recording import lines_of
from binventory.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binventory.book.acts import Variance
    from binventory.book.entries import Line, Where
    from binventory.book.views import Due

app = typer.Typer(
    name="review",
    help="What a person is to recount, blind, and what follows from what they find.",
    rich_markup_mode=None,
)

On = tuple[str | None, str | None]
"""The site and the book that were named."""

MostOption = Annotated[int, typer.Option("--most", min=1, max=100_000, help="At most so many bins.")]
BinArgument = Annotated[str, typer.Argument(help="The bin or tote.", metavar="BIN")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, as the book remembers.")]


@app.callback(invoke_without_command=True)
def review(
    context: typer.Context,
    most: MostOption = 50,
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go through the bins that are to be recounted, the most worthwhile first, and enter what is found.

    The count is blind: what the record says and what the photo showed is told when an answer is entered, not before.
    In a pipe, or with --json, only the queue is printed.
    """
    if context.invoked_subcommand is not None:
        return
    from binventory.book import views

    with asked(site, book) as desk:
        due = views.queue(desk.ledger, most)
        if as_json:
            for one in due:
                terminal.print_json(_blind(desk, one))
        elif not (sys.stdin.isatty() and sys.stdout.isatty()):
            terminal.print_table(("bin", "photographed", "photo"), (tuple(_cells(desk, one)) for one in due))
        else:
            _go_through(desk, due, named(who), (site, book))


def _blind(desk: Desk, due: Due) -> dict[str, object]:
    """What the person who recounts may know: nothing from which an expectation could be guessed."""
    return {"bin": due.bin, "photo": desk.ledger.photos.address(due.photo), "at": due.at}


def _cells(desk: Desk, due: Due) -> tuple[object, ...]:
    return due.bin, f"{due.at:%Y-%m-%d %H:%M}", desk.ledger.photos.address(due.photo)


def _go_through(desk: Desk, due: list[Due], who: str, on: On) -> None:
    """Ask for each bin in turn; a number is entered, Enter passes on, q ends."""
    if not due:
        terminal.say("note: no bin waits for a recount")
    for number, one in enumerate(due, start=1):
        terminal.say(f"\n{number} of {len(due)}: bin {one.bin}")
        while True:
            answer = typer.prompt("items at the bin (Enter: later, q: end)", default="", show_default=False).strip()
            if answer.lower() == "q":
                return
            if not answer:
                break
            if answer.isascii() and answer.isdigit() and int(answer) <= 100_000:
                _tell(_entered(desk, one.bin, int(answer), "bin", who), "bin", on)
                break
            terminal.say("a whole number from 0 to 100,000")


@app.command()
def recount(
    bin: BinArgument,
    quantity: Annotated[int, typer.Argument(min=0, max=100_000, help="How many items were found.", metavar="QUANTITY")],
    where: Annotated[
        str, typer.Option("--where", help="bin: counted at the bin. photo: counted in the photo, which is evidence.")
    ] = "bin",
    line: Annotated[
        list[str] | None, typer.Option("--line", help="How many of a SKU; repeats.", metavar="SKU=N")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What to remember of it.")] = "",
    consignment: Annotated[
        str | None, typer.Option("--consignment", help="The consignment that it was found in.", metavar="NAME")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="A bin that the book does not know yet.")] = False,
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter what a person found in a bin, and see what the record says. Exit 1 where the two differ."""
    from binventory.book.entries import Line

    bin, place = bin_named(bin), _where(where)
    with opened(site, book) as desk:
        if consignment is not None:
            consignment = _declared(desk, consignment)
        elif not new:
            _refuse_unknown(desk, bin)
        found = [Line(sku, number) for sku, number in lines_of(line or ())]
        variance = _entered(desk, bin, quantity, place, named(who), found, note, consignment)
    if as_json:
        terminal.print_json(variance.as_row())
    else:
        _tell(variance, place, (site, book))
    raise typer.Exit(int(bool(variance.variance or variance.lines)))


@app.command()
def approve(
    bin: BinArgument,
    why: WhyOption = "",
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say yes to adjusting a bin's record to its last recount. It takes another person than the one who recounted."""
    from binventory.book import acts

    bin = bin_named(bin)
    with kept(site, book) as desk:
        entry = acts.approved(desk.ledger, bin, named(who), why)
        reverify(desk)
    _done(entry.as_row(), f"approved: {bin}. Next: {next_step(f'review adjust {bin}', site, book)}", as_json)


@app.command()
def adjust(
    bin: BinArgument,
    why: WhyOption = "",
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a bin's record to what its last recount at the bin found. Above the policy's limit it needs an approval."""
    from binventory.book import acts

    bin = bin_named(bin)
    with kept(site, book) as desk:
        before = desk.ledger.state(bin).recount
        settled = before is not None and not before.outstanding and not before.outstanding_lines
        entry = acts.adjusted(desk.ledger, bin, named(who), why, desk.site.policy)
        reverify(desk)
    row = entry.as_row()
    _done(row, f"{'adjusted already' if settled else 'adjusted'}: {bin} by {row['delta']:+}", as_json)


@app.command()
def variances(
    most: MostOption = 1000, site: SiteOption = None, book: BookOption = None, as_json: JsonOption = False
) -> None:
    """What recounts at the bins have found and nobody has adjusted yet, the largest first, and what it waits for."""
    from binventory.book import views

    with asked(site, book) as desk:
        found = views.unsettled(desk.ledger, desk.site.policy, most)
    if as_json:
        for one in found:
            terminal.print_json(one.as_row())
        return
    terminal.print_table(
        ("bin", "to adjust", "found", "by", "waits for"),
        ((one.bin, f"{one.outstanding:+}", one.recounted, one.who, one.waits_for) for one in found),
    )


def _declared(desk: Desk, consignment: str) -> str:
    """A consignment's name as the book has it. Raises InputError where the book knows none of it."""
    from binventory.book.exchange import fields

    name = fields.identity({"consignment": consignment}, "consignment") or consignment
    if next(desk.ledger.entries(consignment=name, kinds=("consignment",), most=1), None) is None:
        raise InputError(f"The book knows no consignment {name}", "nobody has declared it",
                         "binventory consign FILE, first")  # fmt: skip
    return name


def _refuse_unknown(desk: Desk, bin: str) -> None:
    """Refuse a bin of which the book has heard nothing: a slip would make a new one for good."""
    from binventory.book import views

    if next(desk.ledger.entries(bin=bin, most=1), None) is None:
        near = views.like(desk.ledger, bin)
        step = f"{near}, or --new for a bin that is new" if near else "check it, or --new for a bin that is new"
        raise InputError(f"The book knows no bin {bin}", "nothing was ever entered of it", step)


def _entered(
    desk: Desk, bin: str, quantity: int, where: Where, who: str, lines: Sequence[Line] = (), note: str = "",
    consignment: str | None = None,
) -> Variance:  # fmt: skip
    from binventory.book import acts

    return acts.recounted(
        desk.ledger, bin, quantity, where, who, datetime.now(UTC), desk.site.policy, lines=lines,
        key=f"recount:{uuid.uuid4().hex}", consignment=consignment, note=note,
    )  # fmt: skip


def _where(given: str) -> Where:
    if given == "bin":
        return "bin"
    if given == "photo":
        return "photo"
    raise InputError(f"--where {given} does not exist", "a recount is made at the bin or from the photo", "--where bin")


def _tell(variance: Variance, where: Where, on: On) -> None:
    if variance.expected is None:
        terminal.say(f"{variance.bin}: {variance.quantity} found, and no record says how many there should be")
        return
    lines = ", ".join(f"{sku} {by:+}" for sku, by in variance.lines)
    apart = f"{variance.variance:+}" + (f": {lines}" if lines else "")
    if not variance.variance and not lines:
        terminal.say(f"{variance.bin}: {variance.quantity} found, as the record says")
        return
    found = f"{variance.bin}: {variance.quantity} found, {variance.expected} in the record ({apart})"
    if where == "photo":
        step = next_step(f"review recount {shlex.quote(variance.bin)} QUANTITY", *on) + ", at the bin"
    elif variance.needs_approval:
        step = next_step(f"review approve {shlex.quote(variance.bin)}", *on) + ", by another person"
    else:
        step = next_step(f"review adjust {shlex.quote(variance.bin)}", *on)
    terminal.say(f"{found}. Next: {step}")


def _done(row: dict[str, object], line: str, as_json: bool) -> None:
    if as_json:
        terminal.print_json(row)
    else:
        terminal.say(line)
