"""What people ask the book: the right bins, in the right order, and no more than a blind count may know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from binventory.book import acts, planning, views
from binventory.book.entries import Counted, Declared, Entry, Expected, Judged, Line, Moved
from binventory.book.store import Ledger
from binventory.deciding.policy import Policy
from binventory.records import Decision, Item

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy()
PROBS = (0.0, 0.0, 0.0, 0.0, 0.9, 0.1, *[0.0] * 16)


def expected(ledger: Ledger, bin: str, quantity: int, value: float | None = None) -> None:
    items = (Item(f"of-{bin}", None, None, quantity, None, None, None, None, value=value),)
    ledger.append([Entry(f"expect-{bin}", bin, BEGIN, "wms", Expected(quantity, items))])


def counted(ledger: Ledger, bin: str, day: float, verdict: Decision, p_right: float, worth: float = 1.0) -> None:
    key, at = f"count-{bin}-{day}", BEGIN + day * DAY
    record = ledger.record_at(bin, at)
    body = Judged(key, verdict, p_right, record.quantity if record else None, 4, (4, 5), "", "", None, worth)
    ledger.append([Entry(key, bin, at, "camera", Counted("f" * 64, "bundle", PROBS, 30.0, (4, 5))),
                   Entry(f"{key}-verdict", bin, at, "camera", body)])  # fmt: skip


def recounted(ledger: Ledger, bin: str, day: float, quantity: int, *lines: tuple[str, int]) -> None:
    found = [Line(sku, number) for sku, number in lines]
    acts.recounted(ledger, bin, quantity, "bin", "ann", BEGIN + day * DAY, POLICY, lines=found)


def test_an_empty_book_answers_with_nothing(ledger: Ledger) -> None:
    assert not views.stock(ledger)
    assert not views.queue(ledger, 10)
    assert not planning.plan(ledger, POLICY, BEGIN)
    assert list(views.history(ledger, "A-1")) == []
    totals = views.totals(ledger)
    assert (totals.bins, totals.units, totals.value, totals.open) == (0, 0, 0.0, 0)
    accuracy = views.accuracy(ledger)
    assert accuracy.bins.share is None
    assert accuracy.bins.interval is None
    assert accuracy.expected is None
    assert accuracy.as_row()["net"] == 0


def test_stock_comes_in_pages_in_the_same_order_on_both_databases(ledger: Ledger) -> None:
    names = ["a-1", "A-1", "B-10", "B-2", "Z", "ä", "ß"]
    for name in names:
        expected(ledger, name, 4)
    first = [one.bin for one in views.stock(ledger, most=3)]
    assert first == ["A-1", "B-10", "B-2"]
    assert [one.bin for one in views.stock(ledger, after="B-2")] == ["Z", "a-1", "ß", "ä"]
    assert [one.bin for one in views.stock(ledger, bins=["ä", "A-1", "nowhere"])] == ["A-1", "ä"]


def test_stock_tells_record_count_verdict_recount_and_variance(ledger: Ledger) -> None:
    expected(ledger, "A-1", 6, value=2.5)
    counted(ledger, "A-1", 1, "short", 0.1234567)
    recounted(ledger, "A-1", 2, 5)
    acts.recounted(ledger, "A-1", 4, "photo", "bob", BEGIN + 3 * DAY, POLICY)
    acts.adjusted(ledger, "A-1", "ann", "", POLICY)
    (row,) = (one.as_row() for one in views.stock(ledger))
    assert row == {
        "bin": "A-1", "quantity": 5, "items": [{"sku": "of-A-1", "quantity": 6, "value": 2.5}],
        "flags": ("quantities do not add up",), "count": 4, "interval": (4, 5), "counted_at": "2026-03-02T00:00:00Z",
        "verdict": "short", "p_right": 0.123457, "stale": False, "open": False, "recounted": 5,
        "recounted_at": "2026-03-03T00:00:00Z", "variance": -1, "outstanding": 0, "evidence": 4, "adjusted": -1,
        "consignment": None,
    }  # fmt: skip
    totals = views.totals(ledger)
    assert (totals.units, totals.value, totals.recounted, totals.outstanding_units) == (5, 15.0, 1, 0)


def test_the_queue_holds_what_does_not_pass_by_what_a_recount_saves_and_nothing_of_the_record(ledger: Ledger) -> None:
    for bin, verdict, p_right, worth in (
        ("passes", "match", 0.99, 0.1), ("last", "recount", 0.7, 0.2), ("first", "short", 0.5, 3.0),
        ("third", "over", 0.3, 1.0), ("second", "short", 0.1, 1.0), ("done", "short", 0.1, 9.0),
    ):  # fmt: skip
        expected(ledger, bin, 4)
        counted(ledger, bin, 1, verdict, p_right, worth)  # type: ignore[arg-type]
    recounted(ledger, "done", 1, 4)
    ledger.append([Entry("declared", "first", BEGIN, "wms", Declared(9), "ASN-1")])
    due = views.queue(ledger, 10)
    assert [one.bin for one in due] == ["first", "second", "third", "last"]
    assert views.queue(ledger, 2) == due[:2]
    assert due[0].as_row() == {
        "bin": "first", "photo": "f" * 64, "at": "2026-03-02T00:00:00Z", "consignment": "ASN-1"
    }  # fmt: skip
    counted(ledger, "done", 2, "short", 0.1, 9.0)
    ledger.append([Entry("late", "passes", BEGIN, "scanner", Moved(1))])
    assert {"done", "passes"} <= {one.bin for one in views.queue(ledger, 10)}


def test_accuracy_is_of_recounts_at_the_bin_never_netted_and_counts_those_without_variance(ledger: Ledger) -> None:
    for bin, found in (("A", 4), ("B", 6), ("C", 2), ("D", 4)):
        expected(ledger, bin, 4)
        recounted(ledger, bin, 2, found)
    recounted(ledger, "A", 3, 4, ("of-A", 3), ("stray", 1))
    expected(ledger, "E", 4)
    acts.recounted(ledger, "E", 9, "photo", "ann", BEGIN + 2 * DAY, POLICY)
    counted(ledger, "E", 1, "match", 0.9)
    counted(ledger, "D", 1, "recount", 0.6)
    found_accuracy = views.accuracy(ledger)
    assert (found_accuracy.bins.counted, found_accuracy.bins.right) == (4, 2)
    assert (found_accuracy.lines.counted, found_accuracy.lines.right) == (2, 0)
    assert (found_accuracy.net, found_accuracy.gross) == (0, 4)
    assert (found_accuracy.photos, found_accuracy.passed) == (2, 1)
    assert found_accuracy.expected == pytest.approx(0.75)
    assert found_accuracy.bins.interval == pytest.approx((0.15004, 0.84996), abs=1e-4)
    assert len(found_accuracy.rows()[0]) == 4
    since = views.accuracy(ledger, since=BEGIN + 2.5 * DAY)
    assert (since.bins.counted, since.photos) == (1, 0)


def test_the_plan_is_by_class_of_value_then_doubt_and_age_those_never_counted_first(ledger: Ledger) -> None:
    now = BEGIN + 100 * DAY
    for bin, value in (("dear", 80.0), ("middling", 15.0), ("cheap", 1.0), ("new", 0.5), ("fresh", 3.5)):
        expected(ledger, bin, 1, value)
    ledger.append([Entry("tote", "TOTE-1", BEGIN, "wms", Declared(9), "ASN-1")])
    for bin, day in (("dear", 69.0), ("middling", 9.0), ("cheap", 0.0), ("fresh", 99.0)):
        counted(ledger, bin, day, "match", 0.9)
    found = planning.plan(ledger, POLICY, now)
    assert [(one.bin, one.abc) for one in found] == [("new", "C"), ("dear", "A"), ("middling", "B")]
    assert found[1].reason == "class A, counted 31 days ago and due every 30"
    assert found[1].as_row()["days"] == 31.0
    recounted(ledger, "dear", 95, 1)
    assert [one.bin for one in planning.plan(ledger, POLICY, now)] == ["new", "middling"]
    counted(ledger, "cheap", 1, "short", 0.1)
    counted(ledger, "fresh", 2, "match", 0.2)
    old = [one.bin for one in planning.plan(ledger, POLICY, BEGIN + 400 * DAY)]
    assert old == ["new", "dear", "middling", "cheap", "fresh"]


def test_a_photo_that_leaves_doubt_puts_its_bin_on_todays_plan_until_somebody_was_there(ledger: Ledger) -> None:
    now = BEGIN + 10 * DAY
    for bin in ("clear", "doubtful"):
        expected(ledger, bin, 1, 1.0)
    counted(ledger, "clear", 9, "match", 0.99)
    counted(ledger, "doubtful", 9, "recount", 0.6)
    assert [(one.bin, one.reason) for one in planning.plan(ledger, POLICY, now)] == [
        ("doubtful", "class A, its photo leaves doubt")
    ]
    recounted(ledger, "doubtful", 9.5, 1)
    assert planning.plan(ledger, POLICY, now) == []


def test_a_plan_fits_the_bins_and_minutes_that_there_are_and_tells_no_quantity(ledger: Ledger) -> None:
    for n in range(6):
        expected(ledger, f"bin-{n}", 7731)
    policy = Policy(bin_minutes=2.0, item_minutes=1 / 7731)  # three minutes a bin
    assert len(planning.plan(ledger, policy, BEGIN, bins=4)) == 4
    assert len(planning.plan(ledger, policy, BEGIN, minutes=9.5)) == 3
    assert len(planning.plan(ledger, policy, BEGIN, bins=2, minutes=9.5)) == 2
    assert planning.plan(ledger, policy, BEGIN, minutes=1) == []
    assert "7731" not in str([one.as_row() for one in planning.plan(ledger, policy, BEGIN)])


def test_without_values_the_bins_that_move_most_are_of_class_a(ledger: Ledger) -> None:
    for bin, moves in (("busy", 8), ("slow", 1), ("still", 0)):
        expected(ledger, bin, 9)
        ledger.append([Entry(f"{bin}-{n}", bin, BEGIN, "scanner", Moved(1)) for n in range(moves)])
    found = {one.bin: one.abc for one in planning.plan(ledger, POLICY, BEGIN)}
    assert found == {"busy": "A", "slow": "B", "still": "C"}


def test_a_bins_history_is_told_by_when_things_were_true(ledger: Ledger) -> None:
    expected(ledger, "A-1", 4)
    counted(ledger, "A-1", 2, "match", 0.9)
    ledger.append([Entry("late", "A-1", BEGIN + DAY, "scanner", Moved(1))])
    found = [entry.kind for entry in views.history(ledger, "A-1")]
    assert found == ["expectation", "movement", "count", "verdict"]


def test_what_comes_late_after_an_adjustment_is_planned_and_listed_until_it_is_settled(ledger: Ledger) -> None:
    expected(ledger, "A-1", 4)
    recounted(ledger, "A-1", 5, 2)
    acts.adjusted(ledger, "A-1", "ana", "", POLICY)
    assert planning.plan(ledger, POLICY, BEGIN + 6 * DAY) == []
    ledger.append([Entry("late", "A-1", BEGIN + 2 * DAY, "wms", Moved(-2))])
    (due,) = planning.plan(ledger, POLICY, BEGIN + 6 * DAY)
    assert due.reason.endswith("its record has moved since it was adjusted to a recount")
    (one,) = views.unsettled(ledger, POLICY, 10)
    assert (one.bin, one.outstanding, one.waits_for) == ("A-1", 2, "an adjustment")
    acts.adjusted(ledger, "A-1", "ana", "", POLICY)
    assert planning.plan(ledger, POLICY, BEGIN + 6 * DAY) == []
    assert views.unsettled(ledger, POLICY, 10) == []


def test_large_variances_wait_for_another_person_and_so_do_lines_that_cancel_out(ledger: Ledger) -> None:
    policy = Policy(variance_limit=2)
    expected(ledger, "A-1", 9)
    recounted(ledger, "A-1", 1, 3)
    lines = tuple(Item(sku, None, None, 4, None, None, None, None) for sku in "XY")
    ledger.append([Entry("lines", "A-2", BEGIN, "wms", Expected(8, lines))])
    acts.recounted(ledger, "A-2", 8, "bin", "ana", BEGIN + DAY, policy, lines=(Line("X", 8),))
    assert [(one.bin, one.outstanding, one.waits_for) for one in views.unsettled(ledger, policy, 10)] == [
        ("A-2", 0, "another person's approval"), ("A-1", -6, "another person's approval"),
    ]  # fmt: skip


@pytest.mark.parametrize(("typed", "meant"), [("98", "00098"), ("lager-1", "Lager-1"), ("1", None), ("%", None)])
def test_a_slip_in_a_bins_name_finds_the_one_that_was_meant(typed: str, meant: str | None, ledger: Ledger) -> None:
    for bin in ("00098", "Lager-1", "00001"):
        expected(ledger, bin, 1)
    assert views.like(ledger, typed) == meant
