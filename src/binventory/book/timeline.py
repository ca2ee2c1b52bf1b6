"""What a bin's entries add up to: its record, its latest count and recounts, and what is left to adjust. Pure.

A bin's state is the fold over its entries in the order of ``(at, seq)``: by when they were true, and where two were
true at once by when they were entered. What arrives late takes its place in the past, and whatever was held against
the record from there on is held against the new one.

A snapshot (``expectation``) sets the record, movements and adjustments add to it, counts and recounts leave it alone.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from binventory.book.entries import (
    Adjusted,
    Approved,
    Counted,
    Declared,
    Entry,
    Expected,
    Judged,
    Line,
    Moved,
    Recounted,
    Where,
)
from binventory.records import BinRecord, Count, Item

FOLDED = frozenset(
    {"count", "expectation", "movement", "consignment", "verdict", "recount", "approval", "adjustment"}
)  # fmt: skip
"""The kinds of entry that a bin's state follows from."""

BELOW_ZERO = "quantity below zero"
LINES_DIFFER = "quantities do not add up"
NO_SNAPSHOT = "movements alone"


@dataclass(frozen=True, slots=True)
class Seen:
    """A bin's latest count, with the record as of its time. A count that came before the first record is held against
    that one, if nothing is known to have moved in between (None: there is none yet)."""

    key: str
    at: datetime
    seq: int
    who: str
    photo: str
    bundle: str
    count: Count
    record: BinRecord | None
    consignment: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """Another person's yes to an adjustment of ``delta`` items, and of these lines."""

    who: str
    delta: int
    lines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A bin's latest recount of one kind, with the record as of its time and what was adjusted to it since.

    ``superseded``: the record has been set by a later snapshot, so that adjusting would no longer reach it.
    """

    key: str
    at: datetime
    seq: int
    who: str
    where: Where
    quantity: int
    lines: tuple[Line, ...]
    photo: str
    record: BinRecord | None
    consignment: str | None = None
    adjusted: int = 0
    adjusted_lines: tuple[tuple[str, int], ...] = ()
    adjustments: int = 0
    approvals: tuple[Approval, ...] = ()
    superseded: bool = False

    @property
    def expected(self) -> int | None:
        """What the record said at the time of the recount, as far as the book knows by now."""
        return None if self.record is None else self.record.quantity

    @property
    def variance(self) -> int | None:
        """Found less expected. What was adjusted to this recount does not count."""
        return None if self.expected is None else self.quantity - self.expected

    @property
    def outstanding(self) -> int | None:
        """The variance that is not adjusted yet; None where there is no record, or a later snapshot set it anew."""
        return None if self.variance is None or self.superseded else self.variance - self.adjusted

    @property
    def line_variances(self) -> tuple[tuple[str, int], ...]:
        """Found less expected by SKU, for all that were found or expected; nothing unless counted by line, and where
        the record names no lines. A line whose quantity the record does not tell has no variance."""
        if not self.lines or self.record is None or (self.record.quantity and not self.record.items):
            return ()
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.sku] = found.get(line.sku, 0) + line.quantity
        for item in self.record.items:
            found[item.sku] = found.get(item.sku, 0) - (item.quantity or 0)
        untold = {item.sku for item in self.record.items if item.quantity is None}
        return tuple((sku, delta) for sku, delta in found.items() if sku not in untold)

    @property
    def outstanding_lines(self) -> tuple[tuple[str, int], ...]:
        """What is left to adjust by SKU, where the recount was by line."""
        done: dict[str, int] = {}
        for sku, delta in self.adjusted_lines:
            done[sku] = done.get(sku, 0) + delta
        left = ((sku, delta - done.get(sku, 0)) for sku, delta in self.line_variances)
        return tuple((sku, delta) for sku, delta in left if delta)

    @property
    def apart(self) -> int:
        """How many items are left to adjust, each line's counted."""
        return max(abs(self.outstanding or 0), sum(abs(delta) for _, delta in self.outstanding_lines))

    def needs_approval(self, limit: int) -> bool:
        """Whether adjusting more than ``limit`` items, each line's counted, wants another person's yes to just that
        many of just these lines, and there is none."""
        left, lines = self.outstanding or 0, sorted(self.outstanding_lines)
        seen = (one for one in self.approvals if (one.delta, sorted(one.lines)) == (left, lines))
        return self.apart > limit and all(self.by(one.who) for one in seen)

    def by(self, who: str) -> bool:
        """Whether this is who recounted, however the name is written: blanks, case and Unicode's forms aside."""
        return _name(who) == _name(self.who)


@dataclass(frozen=True, slots=True)
class State:
    """A bin as its entries have it.

    ``quantity`` and ``items``: the record (None: nobody has said anything); the quantity may go below zero, and lines
    that were emptied stay in ``items`` with a quantity of zero. ``snapshot``: when another system last set it.
    ``movements``: how many there were; ``adjusted``: the sum of all adjustments. ``verdict``: on the latest count,
    against the bin's own record; ``held``: the same against what a consignment declares. ``recount``: the latest at
    the bin; ``evidence``: the latest from a photo. ``consignment``: which last declared the bin. ``at``: of the latest
    entry.
    """

    at: datetime | None = None
    quantity: int | None = None
    items: tuple[Item, ...] = ()
    snapshot: datetime | None = None
    movements: int = 0
    adjusted: int = 0
    count: Seen | None = None
    verdict: Judged | None = None
    held: Judged | None = None
    recount: Found | None = None
    evidence: Found | None = None
    consignment: str | None = None

    @property
    def record(self) -> BinRecord | None:
        """The bin's record: its total, the lines that are not empty, and what is odd about it."""
        if self.quantity is None:
            return None
        lines = tuple(item for item in self.items if item.quantity != 0)
        negative = self.quantity < 0 or any((item.quantity or 0) < 0 for item in lines)
        told = all(item.quantity is not None for item in lines)
        differ = bool(self.items) and told and sum(item.quantity or 0 for item in lines) != self.quantity
        odd = ((BELOW_ZERO, negative), (LINES_DIFFER, differ), (NO_SNAPSHOT, self.snapshot is None))
        return BinRecord(self.quantity, lines, tuple(flag for flag, holds in odd if holds))

    @property
    def value(self) -> float | None:
        """The worth of what the record names, in the site's money; None where no line has a value."""
        worth = [item.value * (item.quantity or 0) for item in self.items if item.value is not None]
        return sum(worth) if worth else None

    @property
    def stale(self) -> bool:
        """Whether the latest count was never judged, or against another record than the one as of its time."""
        if self.count is None or (self.verdict is None and self.held is not None):
            return False
        if self.verdict is None:
            return True
        record = self.count.record
        if self.verdict.against:
            return self.verdict.against != digest(record)
        return self.verdict.expected != (None if record is None else record.quantity)

    @property
    def standing(self) -> Judged | None:
        """The verdict that counts: against the bin's own record or a consignment's, that which does not pass first."""
        own = [one for one in (self.verdict,) if one is not None and one.expected is not None]
        held = [self.held] if self.held is not None else []
        return next((one for one in own + held if one.verdict != "match"), next(iter(own + held), self.verdict))

    @property
    def open(self) -> bool:
        """Whether a person is to recount the bin: its latest count does not pass, and nobody has been there since."""
        if self.count is None or (self.recount is not None and self.recount.at >= self.count.at):
            return False
        return self.stale or self.standing is None or self.standing.verdict != "match"


def _name(who: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", who).casefold().split())


def digest(record: BinRecord | None) -> str:
    """A record in 32 hex digits, the same for the same total and lines; ``none`` for no record."""
    if record is None:
        return "none"
    lines = sorted(record.items, key=lambda item: item.sku)
    return hashlib.sha256(msgspec.json.encode((record.quantity, lines))).hexdigest()[:32]


def in_order(state: State, entry: Entry) -> bool:
    """Whether an entry that is new to the book advances the state; one that is late wants the bin folded anew."""
    return state.at is None or entry.at >= state.at


def folded(entries: Iterable[Entry]) -> State:
    """The state of a bin whose entries are given in the order of ``(at, seq)``."""
    state = State()
    for entry in entries:
        state = advance(state, entry)
    return state


def advance(state: State, entry: Entry) -> State:
    """The state of a bin after one more of its entries, which is the latest by ``(at, seq)``."""
    state = replace(state, at=entry.at)
    body = entry.body
    if isinstance(body, Counted):
        seen = Seen(entry.key, entry.at, entry.seq or 0, entry.who, body.photo, body.bundle, body.count, state.record,
                    entry.consignment)  # fmt: skip
        return replace(state, count=seen, verdict=None, held=None)
    if isinstance(body, Judged):
        if state.count is None or body.of != state.count.key:
            return state
        return replace(state, verdict=body) if entry.consignment is None else replace(state, held=body)
    if isinstance(body, Expected):
        recount = state.recount and replace(state.recount, superseded=True)
        fresh = replace(state, quantity=body.quantity, items=body.items, snapshot=entry.at, recount=recount)
        first = state.count is not None and state.count.record is None and state.quantity is None
        return replace(fresh, count=replace(state.count, record=fresh.record)) if first and state.count else fresh
    if isinstance(body, Moved):
        # Where the record has a total without lines, the rest of it is not this line.
        known = body.sku is not None and (state.items or not state.quantity)
        items = _added(state.items, body.sku or "", body.delta, body.gtin) if known else state.items
        return replace(
            state, quantity=(state.quantity or 0) + body.delta, items=items, movements=state.movements + 1
        )  # fmt: skip
    if isinstance(body, Recounted):
        found = Found(entry.key, entry.at, entry.seq or 0, entry.who, body.where, body.quantity, body.lines, body.photo,
                      state.record, entry.consignment)  # fmt: skip
        return replace(state, recount=found) if body.where == "bin" else replace(state, evidence=found)
    if isinstance(body, Adjusted):
        return _adjusted(state, body)
    if isinstance(body, Approved):
        if state.recount is None or body.of != state.recount.key:
            return state
        approvals = (*state.recount.approvals, Approval(entry.who, body.delta, body.lines))
        return replace(state, recount=replace(state.recount, approvals=approvals))
    if isinstance(body, Declared):
        return replace(state, consignment=entry.consignment)
    return state


def _adjusted(state: State, body: Adjusted) -> State:
    items = state.items
    for sku, delta in body.lines:
        items = _added(items, sku, delta, None)
    recount = state.recount
    if recount is not None and recount.key == body.of:
        recount = replace(
            recount,
            adjusted=recount.adjusted + body.delta,
            adjusted_lines=recount.adjusted_lines + body.lines,
            adjustments=recount.adjustments + 1,
        )
    quantity = (state.quantity or 0) + body.delta
    return replace(state, quantity=quantity, items=items, recount=recount, adjusted=state.adjusted + body.delta)


def _added(items: tuple[Item, ...], sku: str, delta: int, gtin: str | None) -> tuple[Item, ...]:
    """The lines with ``delta`` more of a SKU; a line whose quantity the record does not tell stays so."""
    for place, item in enumerate(items):
        if item.sku == sku:
            quantity = None if item.quantity is None else item.quantity + delta
            return (*items[:place], replace(item, quantity=quantity), *items[place + 1 :])
    return (*items, Item(sku, None, None, delta, None, None, None, None, gtin=gtin))
