"""Random histories, with late arrivals and repeated keys, on both databases against a plain book: a list, and loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Literal

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from binventory.book import acts, upkeep, views
from binventory.book.entries import Counted, Entry, Expected, Judged, Line, Moved
from binventory.book.store import Ledger, opened
from binventory.book.timeline import digest
from binventory.deciding.policy import Policy
from binventory.errors import InputError
from binventory.records import Item

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(variance_limit=3)
OTHER = Policy(variance_limit=3, tell=0.8)
BINS, SKUS, PEOPLE = ("B-1", "B-2", "ä"), ("S", "T"), ("ann", "bob")

Lines = dict[str, int]
Step = tuple[object, ...]

bins, people, hours = st.sampled_from(BINS), st.sampled_from(PEOPLE), st.integers(0, 12)
no_lines: Lines = {}
lines = st.one_of(st.just(no_lines), st.dictionaries(st.sampled_from(SKUS), st.integers(0, 6), max_size=2))
expects = st.tuples(st.just("expect"), bins, hours, st.integers(0, 8), lines)
recounts = st.tuples(
    st.just("recount"), bins, hours, st.integers(0, 9), st.sampled_from(["bin", "bin", "photo"]), people, lines
)  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("move"), bins, hours, st.integers(-6, 6), st.sampled_from([None, *SKUS])),
    st.tuples(st.just("count"), bins, hours, st.booleans()),
    recounts,
    st.tuples(st.just("adjust"), bins, people),
    st.tuples(st.just("approve"), bins, people),
    st.tuples(st.just("adjust"), bins, people),
    expects,
    st.tuples(st.just("reverify"), st.sampled_from([POLICY, POLICY, OTHER])),
    st.tuples(st.just("again"), st.integers(0, 30)),
)
# Most bins have a record before anything happens there, and a recount is often followed up: else little comes of them.
known = st.tuples(*(st.tuples(st.just("expect"), st.just(bin), st.just(0), st.integers(0, 8), lines) for bin in BINS))
settled = st.tuples(recounts, people, people).map(
    lambda told: [told[0], ("approve", told[0][1], told[1]), ("adjust", told[0][1], told[2])]
)
histories = st.tuples(known, st.lists(st.one_of(steps.map(lambda one: [one]), settled), min_size=4, max_size=20)).map(
    lambda told: [*told[0][1:], *chain(*told[1])]
)


def hour(n: int) -> datetime:
    return BEGIN + timedelta(hours=n)


@dataclass
class Told:
    """A line of the plain book. ``against``: what the verdict on a count was given against."""

    kind: Literal["expect", "move", "count", "recount", "adjust", "approve"]
    bin: str
    at: int
    number: int
    quantity: int = 0
    lines: Lines = field(default_factory=dict)
    sku: str | None = None
    where: str = ""
    who: str = ""
    passes: bool = False
    policy: Policy = POLICY
    against: tuple[int | None, Lines] | None = None
    of: Told | None = None


@dataclass
class Plain:
    """The book as a list. Every answer is worked out from the whole of it."""

    told: list[Told] = field(default_factory=list)

    def add(self, kind: str, bin: str, at: int, **what: object) -> Told:
        self.told.append(Told(kind, bin, at, len(self.told), **what))  # type: ignore[arg-type]
        return self.told[-1]

    def of(self, bin: str) -> list[Told]:
        return sorted((one for one in self.told if one.bin == bin), key=lambda one: (one.at, one.number))

    def record(self, bin: str, before: Told | None = None) -> tuple[int | None, Lines]:
        total: int | None = None
        by_sku: Lines = {}
        for one in self.of(bin):
            if one is before:
                break
            if one.kind == "expect":
                total, by_sku = one.quantity, dict(one.lines)
            elif one.kind == "move":
                if one.sku and (by_sku or not total):
                    by_sku[one.sku] = by_sku.get(one.sku, 0) + one.quantity
                total = (total or 0) + one.quantity
            elif one.kind == "adjust":
                for sku, delta in one.lines.items():
                    by_sku[sku] = by_sku.get(sku, 0) + delta
                total = (total or 0) + one.quantity
        return total, by_sku

    def shown(self, bin: str, before: Told | None = None) -> tuple[int | None, Lines]:
        total, by_sku = self.record(bin, before)
        return total, {sku: n for sku, n in by_sku.items() if n}

    def held(self, bin: str, count: Told) -> tuple[int | None, Lines]:
        """What a count is held against: the record of its time, or the first one, if that is what came next."""
        then = self.shown(bin, count)
        entries = self.of(bin)
        later = [one for one in entries[entries.index(count) :] if one.kind in ("expect", "move")]
        if then[0] is None and later and later[0].kind == "expect":
            return later[0].quantity, {sku: n for sku, n in later[0].lines.items() if n}
        return then

    def last(self, bin: str, kind: str, where: str = "") -> Told | None:
        found = [one for one in self.of(bin) if one.kind == kind and one.where == where]
        return found[-1] if found else None

    def variance(self, found: Told) -> int | None:
        expected, _ = self.record(found.bin, found)
        return None if expected is None else found.quantity - expected

    def line_variances(self, found: Told) -> Lines:
        total, by_sku = self.shown(found.bin, found)
        if not found.lines or total is None or (total and not by_sku):
            return {}
        return {sku: found.lines.get(sku, 0) - by_sku.get(sku, 0) for sku in {*found.lines, *by_sku}}

    def outstanding(self, found: Told) -> int | None:
        variance = self.variance(found)
        entries = self.of(found.bin)
        reset = any(one.kind == "expect" for one in entries[entries.index(found) :])
        if variance is None or reset:
            return None
        return variance - sum(one.quantity for one in self.told if one.kind == "adjust" and one.of is found)

    def outstanding_lines(self, found: Told) -> Lines:
        left = self.line_variances(found)
        for one in self.told:
            if one.kind == "adjust" and one.of is found:
                left = {sku: n - one.lines.get(sku, 0) for sku, n in left.items()}
        return {sku: n for sku, n in left.items() if n}

    def stale(self, bin: str) -> bool:
        count = self.last(bin, "count")
        return count is not None and count.against != self.held(bin, count)

    def under_another(self, bin: str, policy: Policy) -> bool:
        count = self.last(bin, "count")
        return count is not None and count.policy != policy

    def open(self, bin: str) -> bool:
        count, found = self.last(bin, "count"), self.last(bin, "recount", "bin")
        if count is None or (found is not None and found.at >= count.at):
            return False
        return self.stale(bin) or not count.passes

    def may_adjust(self, found: Told) -> bool:
        left, by_sku = self.outstanding(found), self.outstanding_lines(found)
        said = [(one.quantity, one.lines) for one in self.told if one.kind == "approve" and one.of is found]
        return (left, by_sku) in said or max(abs(left or 0), sum(map(abs, by_sku.values()))) <= POLICY.variance_limit


def items(by_sku: Lines) -> tuple[Item, ...]:
    return tuple(Item(sku, None, None, n, None, None, None, None) for sku, n in by_sku.items())


def do(ledger: Ledger, plain: Plain, sent: list[Entry], step: Step) -> None:
    """Take a step in the book and in the plain one, and see that both answer alike."""
    key = f"step-{len(sent)}-{len(plain.told)}"
    match step:
        case ("expect", str(bin), int(at), int(quantity), dict(by_sku)):
            quantity = sum(by_sku.values()) if by_sku else quantity
            sent.append(Entry(key, bin, hour(at), "wms", Expected(quantity, items(by_sku))))
            assert ledger.append([sent[-1]]) == (True,)
            plain.add("expect", bin, at, quantity=quantity, lines=by_sku)
        case ("move", str(bin), int(at), int(delta), None | str() as sku):
            sent.append(Entry(key, bin, hour(at), "wms", Moved(delta, sku)))
            assert ledger.append([sent[-1]]) == (True,)
            plain.add("move", bin, at, quantity=delta, sku=sku)
        case ("count", str(bin), int(at), bool(passes)):
            count(ledger, plain, key, bin, at, passes)
        case ("recount", str(bin), int(at), int(quantity), "bin" | "photo" as where, str(who), dict(by_sku)):
            quantity = sum(by_sku.values()) if by_sku else quantity
            found = plain.add("recount", bin, at, quantity=quantity, where=where, who=who, lines=by_sku)
            for _ in range(2):
                told = acts.recounted(
                    ledger, bin, quantity, where, who, hour(at), POLICY, key=key,
                    lines=[Line(sku, n) for sku, n in by_sku.items()],
                )  # fmt: skip
                assert told.variance == plain.variance(found)
        case ("adjust", str(bin), str(who)):
            adjust(ledger, plain, bin, who)
        case ("approve", str(bin), str(who)):
            approve(ledger, plain, bin, who)
        case ("reverify", Policy() as policy):
            old = [bin for bin in BINS if plain.stale(bin) or plain.under_another(bin, policy)]
            assert acts.reverified(ledger, policy) == len(old)
            assert acts.reverified(ledger, policy) == 0
            for bin in old:
                last = plain.last(bin, "count")
                assert last is not None
                last.policy = policy
                last.against, last.passes = plain.held(bin, last), False  # without a rule nothing passes
        case ("again", int(which)) if sent:
            one = sent[which % len(sent)]
            assert ledger.append([one, replace(one, who="somebody else")]) == (False, False)


def count(ledger: Ledger, plain: Plain, key: str, bin: str, at: int, passes: bool) -> None:
    told = plain.add("count", bin, at, passes=passes)
    ledger.append([Entry(key, bin, hour(at), "camera", Counted("f" * 64, "bundle", (1.0, *[0.0] * 21), 30.0, (0, 0)))])
    seen = ledger.state(bin).count
    assert seen is not None
    if seen.key != key:  # a later one is known: nobody asks what this one was judged
        return
    record = seen.record
    expected = None if record is None else record.quantity
    verdict = Judged(key, "match" if passes else "short", 0.5, expected, 0, (0, 0), "", "", None, 1.0, digest(record),
                     POLICY.deciding)  # fmt: skip
    ledger.append([Entry(f"{key}-verdict", bin, hour(at), "camera", verdict)])
    told.against = plain.held(bin, told)


def adjust(ledger: Ledger, plain: Plain, bin: str, who: str) -> None:
    found = plain.last(bin, "recount", "bin")
    left = None if found is None else plain.outstanding(found)
    by_sku = {} if found is None else plain.outstanding_lines(found)
    done = any(one.kind == "adjust" and one.of is found for one in plain.told)
    if found is None or left is None or (not left and not by_sku and not done) or not plain.may_adjust(found):
        try:
            acts.adjusted(ledger, bin, who, "", POLICY)
        except InputError:
            return
        raise AssertionError("adjusted what may not be")
    entry = acts.adjusted(ledger, bin, who, "", POLICY)
    if left or by_sku:
        event("adjusted")
        assert entry.as_row()["delta"] == left
        plain.add("adjust", bin, found.at, quantity=left, lines=by_sku, of=found)
    assert acts.adjusted(ledger, bin, who, "", POLICY).seq == entry.seq


def approve(ledger: Ledger, plain: Plain, bin: str, who: str) -> None:
    found = plain.last(bin, "recount", "bin")
    left = None if found is None else plain.outstanding(found)
    if found is None or left is None or not (left or plain.outstanding_lines(found)) or who == found.who:
        try:
            acts.approved(ledger, bin, who, "")
        except InputError:
            return
        raise AssertionError("approved what may not be")
    assert acts.approved(ledger, bin, who, "").seq == acts.approved(ledger, bin, who, "").seq
    plain.add("approve", bin, found.at, quantity=left, lines=plain.outstanding_lines(found), of=found)


def agree(ledger: Ledger, plain: Plain) -> None:
    """The book's answers are those of the plain one."""
    there = {one.bin: one for one in views.stock(ledger)}
    assert set(there) == {one.bin for one in plain.told}
    assert list(there) == sorted(there, key=lambda name: name.encode())
    recounts = []
    for bin, row in there.items():
        total, by_sku = plain.shown(bin)
        found = plain.last(bin, "recount", "bin")
        recounts += [found] if found else []
        evidence = plain.last(bin, "recount", "photo")
        assert (row.quantity, {item.sku: item.quantity for item in row.items}) == (total, by_sku)
        assert row.recounted == (found.quantity if found else None)
        assert row.variance == (plain.variance(found) if found else None)
        assert row.outstanding == (plain.outstanding(found) if found else None)
        assert row.evidence == (evidence.quantity if evidence else None)
        assert row.adjusted == sum(one.quantity for one in plain.of(bin) if one.kind == "adjust")
        assert (row.stale, row.open) == (plain.stale(bin), plain.open(bin))
        for at in (0, 6, 12):
            later = next((one for one in plain.of(bin) if one.at > at), None)
            record = ledger.record_at(bin, hour(at))
            assert (record.quantity if record else None) == plain.record(bin, later)[0]
    assert {one.bin for one in views.queue(ledger, 10)} == {bin for bin in there if plain.open(bin)}
    variances = [v for one in recounts if (v := plain.variance(one)) is not None]
    by_line = [delta for one in recounts for delta in plain.line_variances(one).values()]
    found_accuracy = views.accuracy(ledger)
    assert (found_accuracy.bins.counted, found_accuracy.bins.right) == (len(variances), variances.count(0))
    assert (found_accuracy.lines.counted, found_accuracy.lines.right) == (len(by_line), by_line.count(0))
    assert (found_accuracy.net, found_accuracy.gross) == (sum(variances), sum(map(abs, variances)))
    totals = views.totals(ledger)
    assert totals.units == sum(plain.record(bin)[0] or 0 for bin in there)
    assert totals.open == sum(map(plain.open, there))
    assert list(upkeep.check(ledger)) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=histories)
def test_a_book_says_what_a_plain_list_of_all_that_happened_says(
    history: list[Step], fresh_book: Callable[[], str]
) -> None:
    plain, sent = Plain(), list[Entry]()
    with opened(fresh_book()) as ledger:
        for step in history:
            do(ledger, plain, sent, step)
        agree(ledger, plain)
