"""What people ask the book: stock, the queue, variances, accuracy, a bin's history. Each reads, none changes.

All but the history read the projection, a row a bin, so that they cost the same after a million counts as after one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import msgspec
from sqlalchemy import ColumnElement, case, func, select

from binventory.book.entries import Entry, stamped
from binventory.book.schema import bins, entries, entry_of, micros, state_of, states
from binventory.book.store import Ledger
from binventory.book.timeline import State
from binventory.deciding.policy import Policy
from binventory.records import Decision, Item

_Z = 1.959964
"""The normal quantile of an interval that holds 95 %."""
_DAY = timedelta(days=1) // timedelta(microseconds=1)

Abc = Literal["A", "B", "C"]
_CLASSES: tuple[Abc, ...] = ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Stock:
    """A bin: its record, its latest count with the verdict that stands, its latest recounts and what is left to adjust.

    ``recounted``, ``variance`` and ``outstanding`` are of the latest recount at the bin: what was found, less the
    record as of then, and what of that is not adjusted. ``evidence``: what was last found in a photo. ``adjusted``: the
    sum of all adjustments. None where there is none.
    """

    bin: str
    quantity: int | None
    items: tuple[Item, ...]
    flags: tuple[str, ...]
    count: int | None
    interval: tuple[int, int | None] | None
    counted_at: datetime | None
    verdict: Decision | None
    p_right: float | None
    stale: bool
    open: bool
    recounted: int | None
    recounted_at: datetime | None
    variance: int | None
    outstanding: int | None
    evidence: int | None
    adjusted: int
    consignment: str | None

    def as_row(self) -> dict[str, object]:
        """The bin as it stands in JSON output."""
        items = [{k: v for k, v in msgspec.to_builtins(item).items() if v is not None} for item in self.items]
        return _row(self) | {"items": items}


@dataclass(frozen=True, slots=True)
class Totals:
    """The book in numbers. ``units`` and ``value``: what the records add up to; ``outstanding``: bins with a variance
    that is not adjusted, and ``outstanding_units`` what these make, never netted."""

    bins: int
    records: int
    units: int
    value: float
    counted: int
    open: int
    stale: int
    recounted: int
    outstanding: int
    outstanding_units: int
    below_zero: int

    def as_row(self) -> dict[str, object]:
        """The totals as one JSON object."""
        return _row(self)


@dataclass(frozen=True, slots=True)
class Due:
    """A bin that is to be recounted, and no more than its blind recount may know."""

    bin: str
    photo: str
    at: datetime
    consignment: str | None

    def as_row(self) -> dict[str, object]:
        """The bin as it stands in JSON output."""
        return _row(self)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many, as a share with the Wilson interval that holds 95 %; None where nothing was counted."""

    counted: int
    right: int

    @property
    def share(self) -> float | None:
        """The share that is right, 0..1."""
        return self.right / self.counted if self.counted else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which shares it lies (Wilson 1927)."""
        if not self.counted:
            return None
        n, share = self.counted, self.right / self.counted
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_row(self) -> dict[str, object]:
        """The rate as one JSON object."""
        return {"counted": self.counted, "right": self.right, "share": self.share, "interval": self.interval}

    def cells(self) -> tuple[object, ...]:
        """The rate as people read it."""
        share, between = self.share, self.interval
        told = "" if share is None or between is None else f"{share:.1%} ({between[0]:.1%} to {between[1]:.1%})"
        return self.counted, self.right, told


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How right the records are (IRA), by each bin's latest recount at the bin, as it stands to the record of its time.

    ``bins``: by total, those without variance among them; ``lines``: by item line, from line-wise recounts alone.
    ``net`` and ``gross``: the sum of the variances and of their sizes, in items. ``photos``: bins whose latest count
    has a P(right), whose mean is ``expected``; ``passed``: how many of these passed. Who recounts what does not pass
    sees worse records than there are on the whole.
    """

    bins: Rate
    lines: Rate
    net: int
    gross: int
    photos: int
    expected: float | None
    passed: int

    def as_row(self) -> dict[str, object]:
        """The accuracy as one JSON object."""
        rates = {"bins": self.bins.as_row(), "lines": self.lines.as_row(), "net": self.net, "gross": self.gross}
        return rates | {"photos": self.photos, "expected": self.expected, "passed": self.passed}

    def rows(self) -> list[tuple[object, ...]]:
        """What it is of, how many were counted, how many right, and the share, as people read them."""
        expected = "" if self.expected is None else f"{self.expected:.1%} expected, {self.passed} passed"
        return [
            ("bins, recounted", *self.bins.cells()),
            ("item lines, recounted", *self.lines.cells()),
            ("bins, photographed", self.photos, "", expected),
        ]


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A bin whose latest recount at it leaves ``outstanding`` items to adjust, and what that waits for."""

    bin: str
    outstanding: int
    recounted: int
    who: str
    waits_for: str

    def as_row(self) -> dict[str, object]:
        """The bin as it stands in JSON output."""
        return _row(self)


def stock(ledger: Ledger, *, bins: Sequence[str] = (), after: str = "", most: int | None = None) -> list[Stock]:
    """Bins in the order of their names, at most ``most``, from behind ``after``; only ``bins`` where some are named."""
    wanted = select(states).where(states.c.bin > after).order_by(states.c.bin).limit(most)
    if bins:
        wanted = wanted.where(states.c.bin.in_(bins))
    with ledger.reading() as connection:
        return [_stock(bin, state_of(state)) for bin, state in connection.execute(wanted)]


def totals(ledger: Ledger) -> Totals:
    """The book in numbers."""
    table = _bins()
    wanted = select(
        func.count(), func.count(table.quantity), _sum(table.quantity), func.coalesce(func.sum(table.value), 0.0),
        func.count(table.counted), _sum(table.open), _sum(table.stale), func.count(table.recounted),
        _number(table.outstanding != 0), _sum(func.abs(table.outstanding)), _number(table.quantity < 0),
    )  # fmt: skip
    with ledger.reading() as connection:
        bins, records, units, value, *rest = connection.execute(wanted).one()
        return Totals(bins, records, int(units), float(value), *map(int, rest))


def queue(ledger: Ledger, most: int) -> list[Due]:
    """The bins that a person is to recount: what saves most a minute first, then what is least likely right."""
    table = _bins()
    first = (
        select(table.bin, table.worth, table.p_right)
        .where(table.open == 1)
        .order_by(table.worth.desc().nulls_last(), table.p_right.asc().nulls_first(), table.bin)
        .limit(most)
        .subquery()
    )
    order = (first.c.worth.desc().nulls_last(), first.c.p_right.asc().nulls_first(), first.c.bin)
    wanted = select(states).join(first, first.c.bin == states.c.bin).order_by(*order)
    with ledger.reading() as connection:
        found = [(bin, state_of(state)) for bin, state in connection.execute(wanted)]
    return [
        Due(bin, state.count.photo, state.count.at, state.count.consignment or state.consignment)
        for bin, state in found
        if state.count is not None
    ]


def accuracy(ledger: Ledger, since: datetime | None = None) -> Accuracy:
    """How right the records are, by recounts and counts since a time."""
    table = _bins()
    begin = None if since is None else micros(since)
    found = select(
        func.count(), _number(table.variance == 0), _sum(table.variance), _sum(func.abs(table.variance)),
        _sum(table.lines), _sum(table.lines_right),
    ).where(table.variance.is_not(None), *([] if begin is None else [table.recounted >= begin]))  # fmt: skip
    seen = select(func.count(), func.avg(table.p_right), _sum(table.passes)).where(
        table.p_right.is_not(None), *([] if begin is None else [table.counted >= begin])
    )  # fmt: skip
    with ledger.reading() as connection:
        counted, right, net, gross, lines, lines_right = map(int, connection.execute(found).one())
        photos, expected, passed = connection.execute(seen).one()
    return Accuracy(Rate(counted, right), Rate(lines, lines_right), net, gross, photos,
                    None if expected is None else float(expected), int(passed))  # fmt: skip


def unsettled(ledger: Ledger, policy: Policy, most: int) -> list[Unsettled]:
    """The bins with a variance, in all or in a line, that nobody has adjusted yet, the largest first."""
    table = _bins()
    by_line = func.coalesce(table.lines, 0) > func.coalesce(table.lines_right, 0)
    wanted = (
        select(states)
        .join(bins, table.bin == states.c.bin)
        .where((table.outstanding != 0) | (table.outstanding.is_not(None) & by_line))
        .order_by(func.abs(table.outstanding).desc(), table.bin)
    )
    with ledger.reading() as connection:
        recounts = ((bin, state_of(state).recount) for bin, state in connection.execute(wanted))
        found = [(bin, one) for bin, one in recounts if one and (one.outstanding or one.outstanding_lines)]
        found.sort(key=lambda one: -one[1].apart)
        return [
            Unsettled(bin, one.outstanding or 0, one.quantity, one.who,
                      "another person's approval" if one.needs_approval(policy.variance_limit) else "an adjustment")
            for bin, one in found[:most]
        ]  # fmt: skip


def like(ledger: Ledger, bin: str) -> str | None:
    """The bin that one who typed ``bin`` may have meant: called so but for case, or for what stands before it."""
    table = _bins()
    near = (func.lower(table.bin) == bin.lower()) | table.bin.endswith(bin, autoescape=True)
    with ledger.reading() as connection:
        found: list[str] = list(connection.scalars(select(table.bin).where(near).limit(2)))
    return found[0] if len(found) == 1 else None


def history(ledger: Ledger, bin: str) -> Iterator[Entry]:
    """Every entry of a bin, by when it was true."""
    wanted = select(entries).where(entries.c.bin == bin).order_by(entries.c.at, entries.c.seq)
    with ledger.reading() as connection:
        found = [entry_of(row) for row in connection.execute(wanted)]
    return iter(found)


def _stock(bin: str, state: State) -> Stock:
    record, seen, found, standing = state.record, state.count, state.recount, state.standing
    superseded = found is not None and found.superseded
    flags = (*(record.flags if record else ()), *(("record set anew since the recount",) if superseded else ()))
    return Stock(
        bin=bin,
        quantity=None if record is None else record.quantity,
        items=() if record is None else record.items,
        flags=flags,
        count=seen.count.count if seen else None,
        interval=seen.count.interval if seen else None,
        counted_at=seen.at if seen else None,
        verdict=standing.verdict if standing else None,
        p_right=standing.p_right if standing else None,
        stale=state.stale,
        open=state.open,
        recounted=found.quantity if found else None,
        recounted_at=found.at if found else None,
        variance=found.variance if found else None,
        outstanding=found.outstanding if found else None,
        evidence=state.evidence.quantity if state.evidence else None,
        adjusted=state.adjusted,
        consignment=state.consignment,
    )


def _row(value: Stock | Totals | Due | Unsettled) -> dict[str, object]:
    def shown(value: object) -> object:
        return stamped(value) if isinstance(value, datetime) else round(value, 6) if isinstance(value, float) else value

    return {name: shown(getattr(value, name)) for name in type(value).__slots__}


def _bins() -> Any:
    return bins.c


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


def _number(condition: Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(cast("Any", case((condition, 1), else_=0))), 0)
