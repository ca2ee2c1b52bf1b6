"""The family ``review``: what a person finds at the bins, blind, and what follows from it."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import BookOption, Desk, SiteOption, WhoOption, bin_named, named, opened, reverify
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

    with opened(site, book) as desk:
        due = views.queue(desk.ledger, most)
        if as_json:
            for one in due:
                terminal.print_json(_blind(desk, one))
        elif not (sys.stdin.isatty() and sys.stdout.isatty()):
            terminal.print_table(("bin", "photographed", "photo"), (tuple(_cells(desk, one)) for one in due))
        else:
            _asked(desk, due, named(who))


def _blind(desk: Desk, due: Due) -> dict[str, object]:
    """What the person who recounts may know: nothing from which an expectation could be guessed."""
    return {"bin": due.bin, "photo": desk.ledger.photos.address(due.photo), "at": due.at}


def _cells(desk: Desk, due: Due) -> tuple[object, ...]:
    return due.bin, f"{due.at:%Y-%m-%d %H:%M}", desk.ledger.photos.address(due.photo)


def _asked(desk: Desk, due: list[Due], who: str) -> None:
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
                _tell(_entered(desk, one.bin, int(answer), "bin", who))
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
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter what a person found in a bin, and see what the record says. Exit 1 where the two differ."""
    from binventory.book.entries import Line

    bin, place = bin_named(bin), _where(where)
    with opened(site, book) as desk:
        found = [Line(sku, number) for sku, number in lines_of(line or ())]
        variance = _entered(desk, bin, quantity, place, named(who), found, note, consignment)
    if as_json:
        terminal.print_json(variance.as_row())
    else:
        _tell(variance)
    raise typer.Exit(int(bool(variance.variance)))


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
    with opened(site, book) as desk:
        entry = acts.approved(desk.ledger, bin, named(who), why)
        reverify(desk)
    _done(entry.as_row(), f"approved: {bin}. Next: binventory review adjust {bin}", as_json)


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
    with opened(site, book) as desk:
        entry = acts.adjusted(desk.ledger, bin, named(who), why, desk.site.policy)
        reverify(desk)
    row = entry.as_row()
    _done(row, f"adjusted: {bin} by {row['delta']:+}", as_json)


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


def _tell(variance: Variance) -> None:
    if variance.expected is None:
        terminal.say(f"{variance.bin}: {variance.quantity} found, and no record says how many there should be")
        return
    if not variance.variance:
        terminal.say(f"{variance.bin}: {variance.quantity} found, as the record says")
        return
    found = f"{variance.bin}: {variance.quantity} found, {variance.expected} in the record ({variance.variance:+})"
    step = "review approve, by another person, then review adjust" if variance.needs_approval else "review adjust"
    terminal.say(f"{found}. Next: {step} {variance.bin}")


def _done(row: dict[str, object], line: str, as_json: bool) -> None:
    if as_json:
        terminal.print_json(row)
    else:
        terminal.say(line)
