"""Today's cycle count: which bins a person is to count, by class, doubt and age. It reads, and changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from binventory.book.schema import bins, micros
from binventory.book.store import Ledger
from binventory.deciding.policy import Policy

_BINS: Any = bins.c
_DAY = timedelta(days=1) // timedelta(microseconds=1)

Abc = Literal["A", "B", "C"]
_CLASSES: tuple[Abc, ...] = ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Planned:
    """A bin to be counted today. ``days``: since it was last counted (None: never); ``reason`` in words."""

    bin: str
    abc: Abc
    days: float | None
    reason: str

    def as_row(self) -> dict[str, object]:
        """The bin as it stands in JSON output."""
        days = None if self.days is None else round(self.days, 6)
        return {"bin": self.bin, "abc": self.abc, "days": days, "reason": self.reason}


def plan(
    ledger: Ledger, policy: Policy, now: datetime, *, bins: int | None = None, minutes: float | None = None
) -> list[Planned]:
    """Which bins with a record are to be counted today: at most ``bins``, and what a person does in ``minutes``.

    A bin is of class A, B or C by the value of what its record names (by movements, where no record names a value),
    and due when its last count or recount at the bin is older than its class allows, when its photo leaves doubt and
    nobody has been there since, or when its record no longer fits the recount that it was adjusted to. Those never
    counted come first; then by class, by doubt, by age.
    """
    fit = None if minutes is None else math.floor(min(minutes / policy.bin_minutes, 1e9))
    most = min((limit for limit in (bins, fit) if limit is not None), default=None)
    table = _BINS
    with ledger.reading() as connection:
        named = (func.coalesce(func.sum(case((table.value > 0, table.value))), 0), func.sum(table.movements))
        value, movements = connection.execute(select(*named).where(table.quantity.is_not(None))).one()
        weight, whole = (table.value, value) if value else (table.movements * 1.0, movements or 0)
        rows = connection.execute(_due(weight, float(whole), policy, micros(now)).limit(most)).all()
    planned: list[Planned] = []
    spent = 0.0
    for row in rows:
        spent += policy.minutes(max(row.quantity, 0))
        if minutes is not None and spent > minutes:
            break
        planned.append(_planned(row.bin, _CLASSES[row.abc], row.days, bool(row.open), bool(row.again), policy))
    return planned


def _due(weight: ColumnElement[Any], whole: float, policy: Policy, now: int) -> Select[Any]:
    """The bins that are due, the first to be counted first: ``bin``, ``quantity``, ``abc`` (0, 1, 2), ``days``,
    ``open`` and ``again`` (0, 1).

    ``weight``: what a bin counts for its class; ``whole``: what all of them do.
    """
    table = _BINS
    weighed = (
        select(table.bin, table.quantity, case((weight > 0, weight), else_=0.0).label("weight"),
               ((now - _seen()) * 1.0 / _DAY).label("days"), _doubt().label("doubt"),
               table.open, _again().label("again"))
        .where(table.quantity.is_not(None))
        .subquery()
    ).c  # fmt: skip
    heavier = func.sum(weighed.weight).over(order_by=(weighed.weight.desc(), weighed.bin), rows=(None, -1))
    behind = select(*weighed, func.coalesce(heavier, 0.0).label("before")).subquery().c
    first, second = (share * whole for share in policy.value_shares)
    abc = case((behind.before < first, 0), (behind.before < second, 1), else_=2)
    kept = (behind.bin, behind.quantity, behind.days, behind.doubt, behind.open, behind.again)
    classed = select(*kept, abc.label("abc")).subquery().c
    a, b, c = policy.every_days
    late = classed.days / case((classed.abc == 0, a), (classed.abc == 1, b), else_=c)
    return (
        select(classed.bin, classed.quantity, classed.abc, classed.days, classed.open, classed.again)
        .where(classed.days.is_(None) | (late >= 1) | (classed.open == 1) | (classed.again == 1))
        .order_by(classed.days.is_not(None), classed.abc, classed.doubt.desc(), late.desc(), classed.bin)
    )


def _seen() -> ColumnElement[Any]:
    """When a bin was last counted, by a photo or a person at it."""
    table = _BINS
    latest = case((table.counted > table.recounted, table.counted), else_=table.recounted)
    return case((table.counted.is_(None), table.recounted), (table.recounted.is_(None), table.counted), else_=latest)


def _doubt() -> ColumnElement[Any]:
    """How unlikely it is that a bin's record is right, 0..1; 0 where a person has been there since."""
    table = _BINS
    settled = and_(table.recounted.is_not(None), table.recounted >= func.coalesce(table.counted, 0))
    return case((settled, 0.0), else_=1.0 - func.coalesce(table.p_right, 1.0))


def _again() -> ColumnElement[Any]:
    """Whether a bin was adjusted to its last recount, and what came late has moved its record away from it."""
    table = _BINS
    return case(((table.adjustments > 0) & (table.outstanding != 0), 1), else_=0)


def _planned(bin: str, abc: Abc, days: float | None, open: bool, again: bool, policy: Policy) -> Planned:
    every = policy.every_days[_CLASSES.index(abc)]
    if days is None:
        return Planned(bin, abc, None, f"class {abc}, never counted")
    if again:
        return Planned(bin, abc, float(days), f"class {abc}, its record has moved since it was adjusted to a recount")
    if open:
        return Planned(bin, abc, float(days), f"class {abc}, its photo leaves doubt")
    return Planned(bin, abc, float(days), f"class {abc}, counted {days:.0f} days ago and due every {every:g}")
