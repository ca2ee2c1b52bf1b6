"""What people and cameras do: each act once, its answer what stands, and nothing adjusts by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from binventory.book import acts, upkeep
from binventory.book.acts import Shot
from binventory.book.entries import Bundled, Entry, Expected, Line, Moved, Where
from binventory.book.store import Ledger, opened
from binventory.deciding.policy import Policy
from binventory.errors import InputError, RecordError
from binventory.records import Count, Item

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(variance_limit=3)
BUNDLE = Bundled("d" * 64, "a bundle", "")
FOUR = Count((0.0, 0.0, 0.0, 0.05, 0.9, 0.05, *[0.0] * 16), 30.0, (3, 5))


def hour(n: float) -> datetime:
    return BEGIN + timedelta(hours=n)


def shot(at: float = 2, data: bytes = b"a photo", bin: str = "A-1") -> Shot:
    return Shot(bin, hour(at), "p.jpg", data, "exif", "path", "camera")


def expected(ledger: Ledger, quantity: int, at: float = 0, bin: str = "A-1") -> None:
    ledger.append([Entry(f"expect-{bin}-{at}", bin, hour(at), "wms", Expected(quantity))])


def moved(ledger: Ledger, delta: int, at: float, bin: str = "A-1") -> None:
    ledger.append([Entry(f"move-{bin}-{at}", bin, hour(at), "scanner", Moved(delta))])


def kinds(ledger: Ledger) -> list[str]:
    return [entry.kind for entry in ledger.entries()]


def test_a_photo_is_kept_counted_and_judged_once_against_the_record_of_its_time(ledger: Ledger) -> None:
    expected(ledger, 9)
    moved(ledger, -5, at=1)
    moved(ledger, 7, at=3)
    verdict = acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY)
    assert (verdict.expected, verdict.count, verdict.interval) == (4, 4, (3, 5))
    assert kinds(ledger)[3:] == ["bundle", "photo", "count", "verdict"]
    assert acts.counted(ledger, replace(shot(), at=hour(5), name="again.jpg"), FOUR, BUNDLE, POLICY) == verdict
    assert len(kinds(ledger)) == 7
    seen = ledger.state("A-1").count
    assert seen
    assert seen.count == FOUR
    assert ledger.photos.read(seen.photo) == b"a photo"


def test_a_photo_that_comes_late_is_judged_as_of_its_time_and_the_later_one_stands(ledger: Ledger) -> None:
    expected(ledger, 4)
    moved(ledger, 5, at=3)
    later = acts.counted(ledger, shot(4, b"later"), FOUR, BUNDLE, POLICY)
    late = acts.counted(ledger, shot(2, b"late"), FOUR, BUNDLE, POLICY)
    assert (later.expected, late.expected) == (9, 4)
    assert acts.counted(ledger, shot(2, b"late"), FOUR, BUNDLE, POLICY) == late
    state = ledger.state("A-1")
    assert state.verdict
    assert state.verdict.expected == 9
    assert not state.stale


def test_another_bundles_count_of_a_photo_is_another_count(ledger: Ledger) -> None:
    acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY)
    acts.counted(ledger, shot(), FOUR, Bundled("e" * 64, "another", ""), POLICY)
    acts.counted(ledger, shot(bin="B-2"), FOUR, BUNDLE, POLICY)
    assert kinds(ledger).count("count") == 3
    assert kinds(ledger).count("photo") == 2
    assert len(list(ledger.photos.all())) == 1


@pytest.mark.parametrize("record", [-2, None])
def test_a_photo_of_a_bin_without_a_record_that_can_be_is_for_a_person(ledger: Ledger, record: int | None) -> None:
    if record is not None:
        moved(ledger, record, at=1)
    verdict = acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY)
    assert (verdict.verdict, verdict.expected) == ("recount", record)


def test_a_line_below_zero_does_not_keep_a_bin_from_being_judged(ledger: Ledger) -> None:
    items = (Item("S", None, None, 2, 1.0, 1.0, 1.0, 1.0), Item("T", None, None, 2, 1.0, 1.0, 1.0, 1.0))
    ledger.append([Entry("e", "A-1", BEGIN, "wms", Expected(4, items)), Entry("m", "A-1", BEGIN, "x", Moved(-3, "S"))])
    assert acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY).expected == 1


def test_verdicts_are_given_anew_where_the_record_of_their_time_has_changed_and_nowhere_else(ledger: Ledger) -> None:
    for bin in ("A-1", "B-2", "C-3"):
        expected(ledger, 9, bin=bin)
        acts.counted(ledger, shot(bin=bin), FOUR, BUNDLE, POLICY)
    moved(ledger, -5, at=1)
    moved(ledger, -5, at=3, bin="B-2")
    assert acts.reverified(ledger, POLICY) == 1
    assert acts.reverified(ledger, POLICY) == 0
    assert acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY).expected == 4
    moved(ledger, 5, at=1.5)  # back to what it was first judged against
    assert acts.reverified(ledger, POLICY) == 1
    assert not ledger.state("A-1").stale
    assert acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY).expected == 9


def test_a_recount_tells_its_variance_and_changes_no_record(ledger: Ledger) -> None:
    expected(ledger, 9)
    found = acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY)
    assert (found.expected, found.variance, found.needs_approval) == (9, -2, False)
    assert acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY) == found
    assert ledger.state("A-1").quantity == 9
    assert kinds(ledger).count("recount") == 1
    with pytest.raises(RecordError, match="other content"):
        acts.recounted(ledger, "A-1", 8, "bin", "ann", hour(3), POLICY)
    with pytest.raises(RecordError, match="add up"):
        acts.recounted(ledger, "A-1", 8, "bin", "ann", hour(4), POLICY, lines=[Line("S", 7)])
    late = acts.recounted(ledger, "A-1", 9, "bin", "bob", hour(2), POLICY)
    assert late.variance == 0
    unknown = acts.recounted(ledger, "Z-9", 3, "bin", "ann", hour(3), POLICY)
    assert (unknown.expected, unknown.variance) == (None, None)


@pytest.mark.parametrize(
    ("snapshots", "found", "where", "why"),
    [
        ([0], None, "bin", "nobody has recounted it"),
        ([0], 7, "photo", "from a photo alone"),
        ([], 7, "bin", "no record"),
        ([0], 9, "bin", "nothing to adjust"),
        ([0, 4], 7, "bin", "set anew"),
    ],
)
def test_where_there_is_nothing_to_adjust_to_nothing_is_adjusted(
    ledger: Ledger, snapshots: list[int], found: int | None, where: Where, why: str
) -> None:
    for at in snapshots:
        expected(ledger, 9, at)
    if found is not None:
        acts.recounted(ledger, "A-1", found, where, "ann", hour(3), POLICY)
    with pytest.raises(InputError, match=f"(?i){why}"):
        acts.adjusted(ledger, "A-1", "bob", "", POLICY)
    with pytest.raises(InputError):
        acts.approved(ledger, "A-1", "bob", "")
    assert not {"adjustment", "approval"} & set(kinds(ledger))


def test_an_adjustment_is_a_delta_at_the_recounts_time_and_is_made_once(ledger: Ledger) -> None:
    expected(ledger, 9)
    acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY)
    moved(ledger, 4, at=5)
    entry = acts.adjusted(ledger, "A-1", "bob", "two were broken", POLICY)
    assert (entry.at, entry.who, entry.as_row()["delta"]) == (hour(3), "bob", -2)
    assert acts.adjusted(ledger, "A-1", "bob", "again", POLICY) == entry
    assert ledger.state("A-1").quantity == 11
    moved(ledger, -2, at=1)  # explains the two after all
    assert acts.adjusted(ledger, "A-1", "bob", "they were booked late", POLICY).as_row()["delta"] == 2
    assert ledger.state("A-1").quantity == 11


def test_a_line_wise_recount_adjusts_the_lines(ledger: Ledger) -> None:
    items = (Item("S", None, None, 2, 1.0, 1.0, 1.0, 1.0), Item("T", None, None, 2, 1.0, 1.0, 1.0, 1.0))
    ledger.append([Entry("e", "A-1", BEGIN, "wms", Expected(4, items))])
    acts.recounted(ledger, "A-1", 4, "bin", "ann", hour(3), POLICY, lines=[Line("S", 3), Line("U", 1)])
    with pytest.raises(InputError, match="above the limit"):  # four items in the wrong lines, though none in all
        acts.adjusted(ledger, "A-1", "ann", "", POLICY)
    acts.adjusted(ledger, "A-1", "ann", "", Policy(variance_limit=4))
    record = ledger.state("A-1").record
    assert record
    assert (record.quantity, {item.sku: item.quantity for item in record.items}) == (4, {"S": 3, "U": 1})


def test_above_the_limit_another_person_says_yes_to_just_that_many(ledger: Ledger) -> None:
    expected(ledger, 9)
    assert acts.recounted(ledger, "A-1", 4, "bin", "ann", hour(3), POLICY).needs_approval
    with pytest.raises(InputError, match="another person"):
        acts.approved(ledger, "A-1", "Ann", "")
    acts.approved(ledger, "A-1", "bob", "seen")
    assert acts.approved(ledger, "A-1", "bob", "seen") == acts.approved(ledger, "A-1", "bob", "seen")
    moved(ledger, -1, at=1)  # a variance of four now, to which nobody has said yes
    with pytest.raises(InputError, match=r"-4 is above the limit"):
        acts.adjusted(ledger, "A-1", "ann", "", POLICY)
    acts.approved(ledger, "A-1", "bob", "seen")
    acts.adjusted(ledger, "A-1", "ann", "", POLICY)
    assert ledger.state("A-1").quantity == 4


def test_people_who_adjust_at_once_adjust_once(book: str, tmp_path: Path) -> None:
    with opened(book, str(tmp_path)) as ledger:
        expected(ledger, 9)
        acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY)

        def adjust(place: int) -> int | None:
            with opened(book, str(tmp_path)) as mine:
                return acts.adjusted(mine, "A-1", f"person {place}", "", POLICY).seq

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(adjust, range(6)))) == 1
        assert ledger.state("A-1").quantity == 7
        assert list(upkeep.check(ledger)) == []


def test_what_is_imported_again_is_known_whatever_else_it_says_and_the_rest_is_entered(ledger: Ledger) -> None:
    first = [Entry(f"e-{n}", "A-1", hour(n), "wms", Expected(n, source="mon.csv")) for n in range(700)]
    assert acts.imported(ledger, first) == 700
    again = [replace(one, at=hour(0), body=Expected(9, source="tue.csv")) for one in first]
    new = Entry("new", "A-1", hour(3), "wms", Moved(1))
    assert acts.imported(ledger, [*again, new, replace(new, body=Moved(2))]) == 1
    assert [one.body for one in ledger.entries(after=699)] == [Expected(699, source="mon.csv"), Moved(1)]
    with pytest.raises(RecordError):
        acts.imported(ledger, [replace(new, key="good"), replace(new, key="bad", who="")])
    assert ledger.entry("good") is None


def test_an_approval_is_for_the_lines_that_were_seen_and_no_others(ledger: Ledger) -> None:
    def line(sku: str, quantity: int) -> Item:
        return Item(sku, None, None, quantity, 1.0, 1.0, 1.0, 1.0)

    ledger.append([Entry("e", "A-1", BEGIN, "wms", Expected(12, (line("S", 6), line("T", 6))))])
    found = [Line("S", 12), Line("T", 0)]
    assert acts.recounted(ledger, "A-1", 12, "bin", "ann", hour(3), POLICY, lines=found).needs_approval
    acts.approved(ledger, "A-1", "bob", "seen")
    late = (("S", 1000), ("T", -1000))
    ledger.append([Entry(f"late-{sku}", "A-1", hour(1), "x", Moved(delta, sku)) for sku, delta in late])
    with pytest.raises(InputError, match="above the limit"):
        acts.adjusted(ledger, "A-1", "ann", "", POLICY)
    acts.approved(ledger, "A-1", "bob", "seen")
    assert acts.adjusted(ledger, "A-1", "ann", "", POLICY).as_row()["lines"] == (("S", -994), ("T", 994))


def test_a_photo_that_comes_again_is_judged_anew_where_its_verdict_is_old(ledger: Ledger) -> None:
    expected(ledger, 9)
    assert acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY).expected == 9
    moved(ledger, -5, at=1)
    assert acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY).expected == 4
    assert not ledger.state("A-1").stale
    assert acts.counted(ledger, shot(1.5, b"earlier"), FOUR, BUNDLE, POLICY).expected == 4
    moved(ledger, 1, at=0.5)
    assert (
        acts.counted(ledger, shot(1.5, b"earlier"), FOUR, BUNDLE, POLICY).expected == 5
    )  # though it is not the latest


def test_a_photo_from_before_the_first_record_is_held_against_that_unless_something_moved(ledger: Ledger) -> None:
    assert acts.counted(ledger, shot(1), FOUR, BUNDLE, POLICY).expected is None
    ledger.append(
        [Entry("first", "A-1", hour(3), "wms", Expected(4)), Entry("next", "A-1", hour(4), "wms", Expected(9))]
    )
    assert acts.reverified(ledger, POLICY) == 1
    assert acts.counted(ledger, shot(1), FOUR, BUNDLE, POLICY).expected == 4
    assert acts.counted(ledger, shot(0.5, b"earlier"), FOUR, BUNDLE, POLICY).expected == 4
    moved(ledger, -1, at=2)
    assert acts.counted(ledger, shot(1), FOUR, BUNDLE, POLICY).expected is None


def test_verdicts_are_given_anew_under_another_policy_as_often_as_it_changes(ledger: Ledger) -> None:
    for bin in ("A-1", "B-2"):
        expected(ledger, 9, bin=bin)
        acts.counted(ledger, shot(bin=bin), FOUR, BUNDLE, POLICY)
    others = [replace(POLICY, wrong_rate=rate) for rate in (0.01, 0.5, 0.9)]
    right = set()
    for policy in (*others, *others):
        assert acts.reverified(ledger, policy) == 2
        assert acts.reverified(ledger, policy) == 0
        assert acts.counted(ledger, shot(), FOUR, BUNDLE, replace(policy, variance_limit=9)).p_right is not None
        right.add(ledger.state("A-1").verdict.p_right)  # type: ignore[union-attr]
    assert kinds(ledger).count("verdict") == 2 * 7
    assert len(right) == 3
    acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY)
    assert acts.reverified(ledger, POLICY) == 1
    assert list(upkeep.check(ledger)) == []


def test_a_recount_is_of_what_the_latest_photo_shows_unless_something_has_moved_since(ledger: Ledger) -> None:
    expected(ledger, 9)
    acts.counted(ledger, shot(), FOUR, BUNDLE, POLICY)
    acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY)
    moved(ledger, 2, at=4)
    acts.recounted(ledger, "A-1", 9, "bin", "ann", hour(5), POLICY)
    acts.recounted(ledger, "A-1", 7, "bin", "ann", hour(3), POLICY)
    first, second = (entry.as_row()["photo"] for entry in ledger.entries(kinds=["recount"]))
    assert first
    assert ledger.photos.read(str(first)) == b"a photo"
    assert second == ""
