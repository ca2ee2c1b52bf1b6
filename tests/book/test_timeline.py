"""What a bin's entries add up to: the record as of any time, and what is held against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from binventory.book.entries import (
    Adjusted,
    Approved,
    Body,
    Counted,
    Declared,
    Entry,
    Expected,
    Judged,
    Line,
    Moved,
    Recounted,
)
from binventory.book.timeline import BELOW_ZERO, LINES_DIFFER, NO_SNAPSHOT, State, digest, folded
from binventory.records import Item

Step = tuple[int, Body] | tuple[int, Body, str]

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PROBS = (0.0, 0.0, 0.0, 0.0, 0.9, 0.1, *[0.0] * 16)


def line(sku: str, quantity: int) -> Item:
    return Item(sku, None, None, quantity, 1.0, 2.0, 3.0, None, value=2.0)


def told(*what: Step) -> State:
    """A bin's state after (hour, body, consignment) were entered in this order; the keys are 0, 1, 2 …"""
    entries = [
        Entry(str(seq), "A-1", BEGIN + timedelta(hours=at), "ann", body, next(iter(rest), None), seq)
        for seq, (at, body, *rest) in enumerate(what)
    ]
    return folded(sorted(entries, key=lambda one: (one.at, one.seq)))


def seen() -> Counted:
    return Counted("f" * 64, "bundle", PROBS, 30.0, (4, 5))


def judged(of: str, expected: int | None, against: str = "") -> Judged:
    return Judged(of, "match", 0.99, expected, 4, (4, 5), "", "", 0.1, 0.0, against)


def test_a_snapshot_sets_the_record_and_movements_and_adjustments_carry_it_on() -> None:
    state = told((0, Expected(9)), (2, Expected(5, (line("S", 3), line("T", 2)))), (3, Moved(2, "S")), (1, Moved(50)),
                 (4, Moved(-2, "T")), (5, Moved(1, "U", gtin="4006381333931")))  # fmt: skip
    record = state.record
    assert record is not None
    assert record.quantity == 6
    assert [(item.sku, item.quantity) for item in record.items] == [("S", 5), ("U", 1)]
    assert record.items[0].height == 1.0
    assert record.items[1].gtin == "4006381333931"
    assert record.flags == ()
    assert state.value == 10.0


@pytest.mark.parametrize(
    ("entries", "flag"),
    [
        ([(0, Expected(1)), (1, Moved(-3))], BELOW_ZERO),
        ([(0, Expected(2, (line("S", 2),))), (1, Moved(1, "T")), (2, Moved(-3, "S")), (2, Moved(1, "T"))], BELOW_ZERO),
        ([(0, Expected(2, (line("S", 2),))), (1, Moved(1))], LINES_DIFFER),
        ([(0, Moved(3, "S"))], NO_SNAPSHOT),
    ],
)
def test_what_is_odd_about_a_record_is_kept_and_told(entries: list[Step], flag: str) -> None:
    record = told(*entries).record
    assert record is not None
    assert record.flags == (flag,)


def test_a_total_without_lines_is_not_taken_for_the_one_line_that_moved() -> None:
    record = told((0, Expected(5)), (1, Moved(2, "S"))).record
    assert record is not None
    assert (record.quantity, record.items) == (7, ())


def test_variance_is_against_the_record_of_the_recounts_time_with_what_the_book_knows_by_now() -> None:
    before: list[Step] = [(0, Expected(5)), (2, Recounted(4, "bin"))]
    assert (found := told(*before).recount) and found.variance == -1
    assert (found := told(*before, (3, Moved(7))).recount) and found.variance == -1
    assert (found := told(*before, (1, Moved(-1))).recount) and found.variance == 0
    assert (found := told(*before, (1, Expected(2))).recount) and found.variance == 2


def test_an_adjustment_moves_the_record_and_no_variance_that_was_found() -> None:
    state = told((0, Expected(5)), (2, Recounted(4, "bin")), (3, Moved(2)), (2, Adjusted("1", -1)))
    assert state.quantity == 6
    assert state.adjusted == -1
    assert state.recount
    assert (state.recount.variance, state.recount.outstanding) == (-1, 0)


def test_a_late_movement_that_explains_what_was_adjusted_leaves_a_new_variance_outstanding() -> None:
    state = told((0, Expected(5)), (2, Recounted(4, "bin")), (2, Adjusted("1", -1)), (1, Moved(-1)))
    assert state.quantity == 3
    assert state.recount
    assert (state.recount.variance, state.recount.outstanding) == (0, 1)


def test_a_snapshot_after_a_recount_leaves_nothing_to_adjust_to() -> None:
    state = told((0, Expected(5)), (2, Recounted(4, "bin")), (3, Expected(5)))
    assert state.recount
    assert (state.recount.variance, state.recount.outstanding) == (-1, None)


def test_a_recount_from_the_photo_is_evidence_beside_the_one_at_the_bin() -> None:
    state = told((0, Expected(5)), (2, seen()), (3, Recounted(4, "bin")), (4, Recounted(6, "photo")))
    assert state.recount
    assert state.evidence
    assert (state.recount.quantity, state.evidence.quantity, state.quantity) == (4, 6, 5)


def test_lines_are_compared_by_sku_and_what_nobody_found_counts_too() -> None:
    expected = Expected(5, (line("S", 3), line("T", 2)))
    found = told((0, expected), (1, Recounted(5, "bin", (Line("S", 2), Line("U", 3))))).recount
    assert found
    assert dict(found.line_variances) == {"S": -1, "T": -2, "U": 3}
    assert found.needs_approval(5)
    assert not found.needs_approval(6)


def test_a_line_whose_quantity_the_record_does_not_tell_has_no_variance() -> None:
    untold = replace(line("T", 0), quantity=None)
    lines = (Line("S", 2), Line("T", 5))
    found = told((0, Expected(5, (line("S", 3), untold))), (1, Recounted(7, "bin", lines))).recount
    assert found
    assert found.line_variances == (("S", -1),)
    assert found.variance == 2


def test_lines_that_were_found_as_expected_leave_nothing_to_adjust() -> None:
    found = told((0, Expected(3, (line("S", 3),))), (1, Recounted(3, "bin", (Line("S", 3),)))).recount
    assert found
    assert found.line_variances == (("S", 0),)
    assert found.outstanding_lines == ()


def test_a_new_count_does_not_inherit_the_verdict_on_the_one_before() -> None:
    state = told((0, Expected(5)), (1, seen()), (1, judged("1", 5)), (2, seen()))
    assert state.verdict is None
    assert state.stale


def test_a_verdict_is_stale_once_the_record_of_its_count_is_another() -> None:
    expected = Expected(5, (line("S", 3), line("T", 2)))
    base: list[Step] = [(0, expected), (2, seen())]
    record = told(*base).record
    given: Step = (2, judged("1", 5, digest(record)))
    assert told(*base).stale
    assert not told(*base, given).stale
    assert not told(*base, given, (3, Moved(1))).stale
    assert told(*base, given, (1, Moved(1))).stale
    exchanged: list[Step] = [(1, Moved(1, "S")), (1, Moved(-1, "T"))]
    assert told(*base, given, *exchanged).stale  # the same total, of other lines
    assert not told(*base, given, *exchanged, (1, Moved(-1, "S")), (1, Moved(1, "T"))).stale


@pytest.mark.parametrize(("hour", "open"), [(1, True), (2, False), (3, False)])
def test_a_bin_waits_until_somebody_has_been_there_at_or_after_its_count(hour: int, open: bool) -> None:
    short = replace(judged("1", 5), verdict="short")
    assert told((0, Expected(5)), (2, seen()), (2, short), (hour, Recounted(5, "bin"))).open == open
    assert told((0, Expected(5)), (2, seen()), (2, short), (hour, Recounted(5, "photo"))).open
    assert told((0, Expected(5)), (2, seen()), (2, short), (3, Recounted(5, "bin")), (4, seen())).open


def test_what_a_consignment_declares_is_no_record_and_its_verdict_stands_where_there_is_none() -> None:
    declared: Step = (0, Declared(4), "ASN-1")
    state = told(declared, (2, seen()), (2, judged("1", None)), (2, judged("1", 4), "ASN-1"))
    assert state.record is None
    assert state.consignment == "ASN-1"
    assert not state.open
    assert told(declared, (2, seen()), (2, replace(judged("1", None), verdict="recount"))).open


def test_an_approval_holds_for_its_number_of_items_and_not_from_whoever_recounted_however_written() -> None:
    bodies: tuple[Body, ...] = (Expected(5), Recounted(15, "bin"))
    yes = Entry("yes", "A-1", BEGIN + timedelta(hours=2), "Bob", Approved("1", 10), None, 9)
    start = [Entry(str(n), "A-1", yes.at, "René Le", body, None, n) for n, body in enumerate(bodies)]
    spelt = ("RENÉ LE ", "Rene\u0301 Le", "René   Le", "René\xa0Le", "Ｒené Ｌｅ")
    for who, delta, needed in (("Bob", 10, False), ("Bob", 9, True), *((one, 10, True) for one in spelt)):
        found = folded([*start, replace(yes, who=who, body=Approved("1", delta))]).recount
        assert found
        assert found.needs_approval(5) == needed


def test_a_state_is_the_same_after_it_was_written_and_read() -> None:
    state = told((0, Expected(5, (line("S", 5),))), (1, seen()), (1, judged("1", 5)), (2, Recounted(4, "bin")),
                 (2, Approved("3", -1)), (3, Recounted(4, "photo", (Line("S", 4),))))  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
