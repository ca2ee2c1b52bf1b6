"""Verbs that ask the book: what is where, how right the records are, and what to count today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import BookOption, Desk, SiteOption, asked, bin_named, percent
from binventory.cli.data import JsonOption
from binventory.cli.terminal import many
from binventory.errors import UsageError
from binventory.records import shown, span

if TYPE_CHECKING:
    from binventory.book.entries import Entry
    from binventory.book.views import Accuracy


def stock(
    bins: Annotated[list[str] | None, typer.Argument(help="Only these bins.", metavar="[BIN…]")] = None,
    history: Annotated[bool, typer.Option("--history", help="Every entry of one bin instead, oldest first.")] = False,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="How right the records are instead: inventory record accuracy.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000_000, help="At most so many bins.")] = 1000,
    after: Annotated[str, typer.Option("--after", help="Bins whose names come after this one.", metavar="BIN")] = "",
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is where: each bin's record, what was last counted and recounted there, and the variance between them.

    --accuracy tells the inventory record accuracy (IRA) by bin total and, from line-wise recounts alone, by item line;
    never netted.
    """
    if history and accuracy:
        raise UsageError("--history and --accuracy exclude each other", "both were given", "one of them")
    if history and len(bins or ()) != 1:
        raise UsageError("--history is of one bin", f"{len(bins or ())} were named", "stock BIN --history")
    bins = [bin_named(bin) for bin in bins or ()]
    with asked(site, book) as desk:
        if history:
            _print_history(desk, bins[0], as_json)
        elif accuracy:
            _print_accuracy(desk, as_json)
        else:
            _print_stock(desk, bins, after, most, as_json)


def plan(
    bins: Annotated[int | None, typer.Option("--bins", min=1, help="At most so many bins. Default: all due.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="At most so many minutes of work.")] = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Today's cycle count: which bins a person counts, by class (A, B, C by value), age and doubt."""
    from binventory.book import planning

    with asked(site, book) as desk:
        now = datetime.now(UTC)
        rows = planning.plan(desk.ledger, desk.site.policy, now, bins=bins, minutes=minutes)
    if as_json:
        for one in rows:
            terminal.print_json(one.as_row())
        return
    table = ((one.bin, one.abc, "" if one.days is None else f"{one.days:.0f}", one.reason) for one in rows)
    terminal.print_table(("bin", "class", "days", "why"), table)


def _print_stock(desk: Desk, bins: list[str], after: str, most: int, as_json: bool) -> None:
    from binventory.book import views

    rows = views.stock(desk.ledger, bins=tuple(bins), after=after, most=most)
    if as_json:
        for one in rows:
            terminal.print_json(one.as_row())
        return
    terminal.print_table(
        ("bin", "record", "count", "90 % interval", "verdict", "record right", "recount", "variance", "to adjust"),
        (
            (
                one.bin,
                "" if one.quantity is None else one.quantity,
                "" if one.count is None else shown(one.count),
                "" if one.interval is None else span(one.interval),
                one.verdict or "",
                percent(one.p_right),
                "" if one.recounted is None else one.recounted,
                _signed(one.variance),
                _signed(one.outstanding),
            )
            for one in rows
        ),
    )
    there = {one.bin for one in rows}
    for bin in bins:
        if bin not in there:
            terminal.say(f"note: the book knows no bin {bin}")
    if len(rows) == most:
        terminal.say(f"note: there may be more. Try: --after {rows[-1].bin}, or --most")


def _signed(items: int | None) -> str:
    """A difference in items as people read it."""
    return "" if items is None else f"{items:+}" if items else "0"


def _print_history(desk: Desk, bin: str, as_json: bool) -> None:
    from binventory.book import views

    entries = list(views.history(desk.ledger, bin))
    if not entries:
        terminal.say(f"note: the book knows no bin {bin}")
    if as_json:
        for one in entries:
            terminal.print_json(one.as_row())
        return
    terminal.print_table(
        ("at (UTC)", "kind", "who", "what"), ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.kind, e.who, _told(e)) for e in entries)
    )


def _told(entry: Entry) -> str:
    """What an entry says, in a few words."""
    from binventory.book import entries as kinds

    match entry.body:
        case kinds.Expected(quantity=quantity, items=items):
            return many(quantity, "item") + (f" in {many(len(items), 'line')}" if items else "")
        case kinds.Moved(delta=delta, sku=sku, reference=reference):
            return " ".join(filter(None, (f"{delta:+}", sku, reference)))
        case kinds.Counted() as body:
            return f"{shown(body.count.count)} ({span(body.interval)}), {body.count.confidence:.0%} sure"
        case kinds.Judged(verdict=verdict, reason=reason):
            held = f", as {entry.consignment} declares" if entry.consignment else ""
            return f"{verdict}{held}: {reason}"
        case kinds.Recounted(quantity=quantity, where=where):
            return f"{quantity}, {'at the bin' if where == 'bin' else 'from the photo'}"
        case kinds.Approved(delta=delta, why=why) | kinds.Adjusted(delta=delta, why=why):
            return " ".join(filter(None, (f"{delta:+}", why)))
        case kinds.Declared(quantity=quantity):
            return f"{many(quantity, 'item')} declared for {entry.consignment}"
        case kinds.Pictured(name=name) | kinds.SetAside(name=name):
            return name
        case kinds.Forgotten(why=why):
            return why
        case kinds.Bundled(name=name):
            return name


def _print_accuracy(desk: Desk, as_json: bool) -> None:
    from binventory.book import views

    found = views.accuracy(desk.ledger)
    wrong = _wrong_among_passed(desk, found)
    if as_json:
        terminal.print_json(found.as_row() | {"wrong_among_passed": wrong})
        return
    terminal.print_table(("", "counted", "right", "accuracy"), found.rows())
    if wrong is not None:
        terminal.say(f"note: of the records that passed without a look at most {percent(wrong)} are wrong, at the "
                     "wrong_rate of the policy or what recounts speak for, whichever is more")  # fmt: skip


def _wrong_among_passed(desk: Desk, found: Accuracy) -> float | None:
    """How many of what passed may be wrong, by the worst rule that counts were made with; None where the site declares
    no rate, or nothing can pass."""
    from binventory.book.entries import Bundled
    from binventory.deciding import risk
    from binventory.deciding.rule import Rule

    bundles = (one.body for one in desk.ledger.entries(kinds=("bundle",)))
    rules = [Rule.from_bytes(one.rule.encode()) for one in bundles if isinstance(one, Bundled) and one.rule]
    wrong, counted = found.bins.counted - found.bins.right, found.bins.counted
    told = [risk.wrong_among_passed(rule, desk.site.policy, wrong, counted) for rule in rules]
    return max((one for one in told if one is not None), default=None)
