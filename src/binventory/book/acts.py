"""What people and cameras do to the book. Each act is one transaction: what it reads stays so until it has written.

Each is idempotent: done again, it changes nothing and answers with what stands. Nothing adjusts the record by itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy import select

from binventory.book import entries
from binventory.book.entries import (
    Adjusted,
    Approved,
    Bundled,
    Entry,
    Judged,
    Line,
    Pictured,
    Recounted,
    Where,
    keyed,
    stamped,
)
from binventory.book.schema import bins
from binventory.book.store import Ledger, Writing
from binventory.book.timeline import Found, Seen, State, advance, digest
from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule
from binventory.deciding.verify import verify
from binventory.errors import InputError, RecordError
from binventory.flow import chunks
from binventory.records import BinRecord, Count, Verdict, shown, span


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo that came in: of which bin, when it was taken, and where bin and time came from."""

    bin: str
    at: datetime
    name: str
    data: bytes
    taken_from: str
    bin_from: str
    who: str


@dataclass(frozen=True, slots=True)
class Variance:
    """What a recount found against the record as of its time; ``expected`` and ``variance`` None: there was none.

    ``needs_approval``: adjusting to it wants another person's yes. ``lines``: found less expected by SKU, where it was
    by line and the record names lines; those that agree are left out.
    """

    bin: str
    expected: int | None
    quantity: int
    variance: int | None
    needs_approval: bool
    lines: tuple[tuple[str, int], ...] = ()

    def as_row(self) -> dict[str, object]:
        """The variance as it stands in JSON output."""
        return {"bin": self.bin, "expected": self.expected, "quantity": self.quantity, "variance": self.variance,
                "needs_approval": self.needs_approval, "lines": dict(self.lines)}  # fmt: skip


def imported(ledger: Ledger, entries: Sequence[Entry]) -> int:
    """Enter what other systems tell, all of it or nothing; how many entries were new.

    What the book has of a key is known, whatever else the entry says; of a key that comes twice the first is entered.
    Raises RecordError where an entry is malformed.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.key, entry)
    with ledger.writing() as writing:
        known = writing.known(list(first))
        return len(writing.append(*(entry for key, entry in first.items() if key not in known)))


def counted(ledger: Ledger, shot: Shot, count: Count, bundle: Bundled, policy: Policy) -> Verdict:
    """Keep a photo, enter its count, and judge the bin's record as of the photo's time.

    The same photo, bin and bundle again changes nothing and gives the verdict that stands; a new one where the record
    or the policy has changed since. Raises OutsideError where
    the photo cannot be kept or the book not be written; the photo is on disk before anything of it is entered.
    """
    sha256 = ledger.photos.keep(shot.data)
    key = keyed("count", sha256, shot.bin, bundle.digest)
    pictured = Pictured(sha256, shot.name, len(shot.data), shot.taken_from, shot.bin_from)
    with ledger.writing() as writing:
        let_go = numbered(writing, "retention", sha256)
        again = (let_go,) if let_go else ()  # it is kept anew, and the book says so
        new = (
            Entry(keyed("bundle", bundle.digest), None, shot.at, shot.who, bundle),
            Entry(keyed("photo", sha256, shot.bin, *again), shot.bin, shot.at, shot.who, pictured),
            Entry(key, shot.bin, shot.at, shot.who, entries.counted(sha256, bundle.digest, count)),
        )
        known = writing.known([entry.key for entry in new])
        writing.append(*(entry for entry in new if entry.key not in known))
        if not ledger.photos.there(sha256):  # it was let go between its keeping and this
            ledger.photos.keep(shot.data)
        before = numbered(writing, "verdict", key)
        standing = writing.entry(keyed("verdict", key, before - 1)) if before else None
        if standing is not None and isinstance(standing.body, Judged):
            record = digest(_seen(writing, shot.bin, key).record)
            if standing.body.against == record and standing.body.policy == policy.deciding:
                return _verdict(standing.body)
        return _verdict(_judged(writing, shot.bin, key, before, policy))


def recounted(
    ledger: Ledger, bin: str, quantity: int, where: Where, who: str, at: datetime, policy: Policy, *,
    lines: Sequence[Line] = (), key: str | None = None, consignment: str | None = None, photo: str = "",
    note: str = "",
) -> Variance:  # fmt: skip
    """Enter what a person found, blind, and tell how it stands to the record.

    The record stays as it is. ``photo``: the one that shows the same; without it the bin's latest, where its record is
    still what it was then. Raises RecordError where the lines do not add up to the quantity, or the same person has
    found something else in the bin at the same time.
    """
    total = sum(line.quantity for line in lines)
    if lines and total != quantity:
        raise RecordError(f"The recount of {bin} does not add up", f"its lines make {total}, not {quantity}",
                          "count the lines again")  # fmt: skip
    key = key or keyed("recount", bin, where, who, stamped(at))
    with ledger.writing() as writing:
        body = Recounted(quantity, where, tuple(lines), photo or _showing(writing, bin, key, at), note)
        writing.append(Entry(key, bin, at, who, body, consignment))
        found = _found(writing, bin, key)
        needs = where == "bin" and found.needs_approval(policy.variance_limit)
        apart = tuple((sku, by) for sku, by in found.line_variances if by)
        return Variance(bin, found.expected, found.quantity, found.variance, needs, apart)


def adjusted(ledger: Ledger, bin: str, who: str, why: str, policy: Policy) -> Entry:
    """Move a bin's record by what its latest recount at the bin leaves outstanding; the entry that says so.

    Raises InputError where there is nothing to adjust to, or it wants another person's approval first.
    """
    with ledger.writing() as writing:
        found = _settling(writing.state(bin), bin)
        delta, lines = found.outstanding or 0, found.outstanding_lines
        if not delta and not lines:
            before = writing.entry(keyed("adjustment", found.key, found.adjustments - 1))
            if before is None:
                raise InputError(f"{bin} has nothing to adjust", f"its recount found the {found.quantity} on record",
                                 "leave it as it is")  # fmt: skip
            return before
        if found.needs_approval(policy.variance_limit):
            apart = sum(abs(by) for _, by in lines)
            what = (
                f"a variance of {delta:+d}" if abs(delta) > policy.variance_limit else f"{apart} items among its lines"
            )
            raise InputError(f"{bin} may not be adjusted yet", f"{what} is above the limit of "
                             f"{policy.variance_limit}, and nobody but {found.who} has seen it",
                             f"have another person approve it: binventory review approve {bin}")  # fmt: skip
        entry = Entry(keyed("adjustment", found.key, found.adjustments), bin, found.at, who,
                      Adjusted(found.key, delta, lines, why), found.consignment)  # fmt: skip
        return _entered(writing, entry)


def approved(ledger: Ledger, bin: str, who: str, why: str) -> Entry:
    """Another person's yes to what the latest recount at the bin leaves outstanding; the entry that says so.

    It holds for this many items of these lines: where a late entry changes the variance, it is asked for anew. Raises
    InputError for whoever recounted, and where there is nothing to approve.
    """
    with ledger.writing() as writing:
        found = _settling(writing.state(bin), bin)
        if found.by(who):
            raise InputError(f"{who} may not approve the variance of {bin}", f"it was {found.who} who found it",
                             "have another person approve it")  # fmt: skip
        delta, lines = found.outstanding or 0, tuple(sorted(found.outstanding_lines))
        if not delta and not lines:
            raise InputError(f"{bin} has nothing to approve", "no variance is outstanding", "leave it as it is")
        key = keyed("approval", found.key, who, delta, lines, found.adjustments)
        before = writing.entry(key)
        entry = Entry(key, bin, found.at, who, Approved(found.key, delta, why, lines), found.consignment)
        return before or _entered(writing, entry)


def reverified(ledger: Ledger, policy: Policy) -> int:
    """Judge anew the latest count of every bin whose record as of that count has changed since, or whose verdict was
    given under another policy; how many there were."""
    old = select(bins.c.bin).where((bins.c.stale == 1) | (bins.c.policy != policy.deciding)).order_by(bins.c.bin)
    with ledger.reading() as connection:
        found: list[str] = list(connection.scalars(old))
    done = 0
    for some in chunks(found, 200):
        with ledger.writing() as writing:
            for bin in some:
                state = writing.state(bin)
                if state.count is not None and _is_old(state, policy):
                    key = state.count.key
                    _judged(writing, bin, key, numbered(writing, "verdict", key), policy)
                    done += 1
    return done


def numbered(writing: Writing, kind: str, of: str) -> int:
    """How many entries of a kind the book has of something: their keys are numbered from 0 without a gap."""

    def beyond(number: int) -> bool:
        return writing.entry(keyed(kind, of, number)) is None

    end = 1
    while not beyond(end - 1):
        end *= 2
    return bisect_left(range(end - 1), True, key=beyond)


def _is_old(state: State, policy: Policy) -> bool:
    """Whether the verdict on a bin's latest count is against another record than that of its time, or under another
    policy."""
    return state.stale or (state.verdict is not None and state.verdict.policy != policy.deciding)


def _judged(writing: Writing, bin: str, key: str, before: int, policy: Policy) -> Judged:
    """Judge a count that has ``before`` verdicts already, and enter the next."""
    seen = _seen(writing, bin, key)
    bundled = writing.entry(keyed("bundle", seen.bundle))
    rule = bundled.body.rule if bundled is not None and isinstance(bundled.body, Bundled) else ""
    found = weighed(seen.count, seen.record, policy, _rule(rule) if rule else None)
    body = Judged(key, found.verdict, found.p_right, found.expected, found.count, found.interval, found.reason,
                  found.change, found.bound, found.worth, digest(seen.record), policy.deciding)  # fmt: skip
    writing.append(Entry(keyed("verdict", key, before), bin, seen.at, seen.who, body))
    return body


def weighed(count: Count, record: BinRecord | None, policy: Policy, rule: Rule | None) -> Verdict:
    """The verdict, also on a record that cannot be: below zero in all, or in a line."""
    if record is not None and record.quantity is not None and record.quantity < 0:
        reason = (f"The photo shows {shown(count.count)} ({span(count.interval)}); the record says {record.quantity}, "
                  "which cannot be.")  # fmt: skip
        change = "A movement that was not entered would explain it, or a recount at the bin."
        return Verdict("recount", 0.0, record.quantity, count.count, count.interval, reason, change,
                       worth=policy.over_cost / policy.minutes(0))  # fmt: skip
    if record is not None and any((item.quantity or 0) < 0 for item in record.items):
        record = replace(record, items=())
    return verify(count, record, policy, rule)


@lru_cache(maxsize=8)
def _rule(written: str) -> Rule:
    return Rule.from_bytes(written.encode())


def _showing(writing: Writing, bin: str, key: str, at: datetime) -> str:
    """The photo of what is recounted: the bin's latest, unless its record has changed since; "" for none."""
    before = writing.entry(key)
    if before is not None and isinstance(before.body, Recounted):
        return before.body.photo
    state = writing.state(bin)
    if state.count is None or state.at is None or state.at > at or digest(state.count.record) != digest(state.record):
        return ""
    return state.count.photo


def _verdict(body: Judged) -> Verdict:
    return Verdict(body.verdict, body.p_right, body.expected, body.count, body.interval, body.reason, body.change,
                   body.bound, body.worth)  # fmt: skip


def _seen(writing: Writing, bin: str, key: str) -> Seen:
    """A count of a bin, with the record as of then."""
    found = _of(_latest(writing, bin, key), key)
    assert isinstance(found, Seen)
    return found


def _found(writing: Writing, bin: str, key: str) -> Found:
    """A recount of a bin, with the record as of then."""
    found = _of(_latest(writing, bin, key), key)
    assert isinstance(found, Found)
    return found


def _latest(writing: Writing, bin: str, key: str) -> State:
    """The bin's state while its count or recount ``key`` was the latest of its kind."""
    state = writing.state(bin)
    if _of(state, key) is not None:
        return state
    state = State()  # it came late
    for entry in writing.timeline(bin):
        state = advance(state, entry)
        if entry.key == key:
            return _founded(writing, bin, state)
    raise InputError(f"The book has no {key} of {bin}", "no entry of the bin has that key", "take it from the book")


def _founded(writing: Writing, bin: str, state: State) -> State:
    """A state that is past, its count held against the first record where there was none by then."""
    if state.quantity is None:
        for entry in writing.timeline(bin):
            if state.at is not None and entry.at >= state.at and entry.kind in ("expectation", "movement"):
                return advance(state, entry)
    return state


def _of(state: State, key: str) -> Seen | Found | None:
    kept = (state.count, state.recount, state.evidence)
    return next((one for one in kept if one is not None and one.key == key), None)


def _settling(state: State, bin: str) -> Found:
    """The recount that a bin's record may be adjusted to. Raises InputError where there is none."""
    found = state.recount
    again = f"recount it at the bin: binventory review recount {bin} QUANTITY"
    if found is None:
        why = "it was recounted from a photo alone" if state.evidence else "nobody has recounted it"
        raise InputError(f"{bin} cannot be adjusted", why, again)
    if found.superseded:
        raise InputError(f"{bin} cannot be adjusted", "its record has been set anew since it was recounted", again)
    if found.expected is None:
        raise InputError(f"{bin} cannot be adjusted", "there was no record of it when it was recounted",
                         "enter what is expected: binventory expect FILE")  # fmt: skip
    return found


def _entered(writing: Writing, entry: Entry) -> Entry:
    writing.append(entry)
    return writing.entry(entry.key) or entry
