"""What of a consignment may leave, as the book sees its totes: on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from binventory.book import acts, consigning
from binventory.book.acts import Shot
from binventory.book.entries import Bundled, Declared, Entry, Expected, Moved, keyed
from binventory.book.store import Ledger
from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule
from binventory.errors import MissingError
from binventory.records import LEVELS, TAIL, Count, Item

POLICY = Policy()
NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def rule() -> Rule:
    """What the shipped bundle learnt about passing."""
    from binventory.counting import bundle

    return Rule.from_bytes(bundle.load("open").deciding or b"")


def seen(sure: int, share: float = 0.999) -> Count:
    """A count that is ``share`` sure."""
    rest = (1 - share) / (LEVELS - 1)
    return Count(
        tuple(share if k == sure else rest for k in range(LEVELS)), 30.0, (sure, sure if sure < TAIL else None)
    )


def declare(ledger: Ledger, name: str, totes: dict[str, int], at: datetime = NOON) -> None:
    items = (Item("S", None, None, None, None, None, None, None),)
    ledger.append(
        Entry(keyed("consignment", name, bin, quantity), bin, at, "wms", Declared(quantity, items), name)
        for bin, quantity in totes.items()
    )


@pytest.fixture
def shot(rule: Rule) -> Callable[..., None]:
    """Photographs a tote that shows so many items for sure."""
    bundle = Bundled("b" * 64, "open", rule.to_bytes().decode())

    def photograph(ledger: Ledger, bin: str, sure: int, at: datetime = NOON + HOUR, share: float = 0.999) -> None:
        one = Shot(bin, at, "p.jpg", f"{bin} {sure} {at}".encode(), "exif", "path", "cam")
        acts.counted(ledger, one, seen(sure, share), bundle, POLICY)

    return photograph


def recount(ledger: Ledger, bin: str, quantity: int, at: datetime, consignment: str | None = None) -> None:
    acts.recounted(ledger, bin, quantity, "bin", "ana", at, POLICY, consignment=consignment)


def weighed(ledger: Ledger, name: str = "OUT-1") -> consigning.Consigned:
    return consigning.weighed(ledger, name, POLICY, 0.05, "lead")


def test_a_sure_photo_lets_a_tote_go_and_an_unseen_one_waits(ledger: Ledger, shot: Callable[..., None]) -> None:
    declare(ledger, "OUT-1", {"T1": 2, "T2": 2})
    shot(ledger, "T1", 2)
    found = weighed(ledger)
    assert found.release.release == ("T1",)
    assert found.release.recount == ("T2",)
    assert 0 < found.release.p_all_right < 1


def test_its_verdicts_are_entered_once_and_settle_the_queue(ledger: Ledger, shot: Callable[..., None]) -> None:
    declare(ledger, "OUT-1", {"T1": 2})
    shot(ledger, "T1", 2)
    assert ledger.state("T1").open  # no record of its own, so nothing passes until the consignment is weighed
    for _ in range(3):
        weighed(ledger)
    assert [one.consignment for one in ledger.entries(bin="T1", kinds=("verdict",))] == [None, "OUT-1"]
    assert not ledger.state("T1").open


def test_a_tote_that_is_used_again_is_not_known_by_what_was_found_in_it_before(
    ledger: Ledger, shot: Callable[..., None]
) -> None:
    declare(ledger, "OUT-1", {"T1": 2})
    recount(ledger, "T1", 2, NOON + HOUR)
    shot(ledger, "T1", 2)
    declare(ledger, "OUT-2", {"T1": 2}, NOON + 24 * HOUR)
    assert weighed(ledger, "OUT-1").release.release == ("T1",)
    assert weighed(ledger, "OUT-2").release.recount == ("T1",)
    recount(ledger, "T1", 3, NOON + 25 * HOUR)
    assert weighed(ledger, "OUT-2").release.wrong == ("T1",)
    assert weighed(ledger, "OUT-1").release.release == ("T1",)


def test_what_was_moved_until_it_was_declared_counts(ledger: Ledger, shot: Callable[..., None]) -> None:
    recount(ledger, "T1", 3, NOON + HOUR)
    shot(ledger, "T2", 3)
    for bin in ("T1", "T2"):
        ledger.append([Entry(f"m {bin}", bin, NOON + 2 * HOUR, "wms", Moved(-1))])
    declare(ledger, "OUT-1", {"T1": 2, "T2": 2}, NOON + 3 * HOUR)
    found = weighed(ledger)
    assert found.release.wrong == ()
    assert found.verdicts["T2"].expected == 3
    assert set(found.release.release) == {"T1", "T2"}


def test_what_is_put_away_after_it_was_declared_is_not_missing(ledger: Ledger) -> None:
    declare(ledger, "OUT-1", {"T1": 5})
    recount(ledger, "T1", 5, NOON + HOUR)
    ledger.append([Entry("put away", "T1", NOON + 2 * HOUR, "wms", Moved(-5))])
    assert weighed(ledger).release.release == ("T1",)
    assert weighed(ledger).discrepancies == ()


@pytest.mark.parametrize(("said", "goes"), [(5, ("T1",)), (2, ())])
def test_a_recount_holds_until_a_record_says_that_something_else_happened(
    said: int, goes: tuple[str, ...], ledger: Ledger
) -> None:
    recount(ledger, "T1", 5, NOON)
    ledger.append([Entry("e", "T1", NOON + HOUR, "wms", Expected(said))])
    declare(ledger, "OUT-1", {"T1": 5}, NOON + 2 * HOUR)
    assert weighed(ledger).release.release == goes


def test_a_recount_for_a_consignment_is_that_ones_whenever_it_was_made(ledger: Ledger) -> None:
    declare(ledger, "OUT-1", {"T1": 5})
    declare(ledger, "OUT-2", {"T1": 7}, NOON + HOUR)
    recount(ledger, "T1", 5, NOON + 2 * HOUR, "OUT-1")
    assert weighed(ledger, "OUT-1").release.release == ("T1",)
    assert weighed(ledger, "OUT-2").release.recount == ("T1",)


def test_a_verdict_that_comes_back_stands_again(ledger: Ledger, shot: Callable[..., None]) -> None:
    declare(ledger, "OUT-1", {"T1": 2})
    shot(ledger, "T1", 2)
    for policy in (POLICY, Policy(bound=0.01), POLICY):
        consigning.weighed(ledger, "OUT-1", policy, 0.05, "lead")
    held = ledger.state("T1").held
    assert held is not None
    assert held.verdict == "match"


def test_a_later_photo_that_shows_otherwise_asks_for_another_recount(ledger: Ledger, shot: Callable[..., None]) -> None:
    declare(ledger, "OUT-1", {"T1": 30})
    recount(ledger, "T1", 30, NOON + HOUR)
    shot(ledger, "T1", TAIL, NOON + 2 * HOUR, 0.5)
    assert weighed(ledger).release.release == ("T1",)
    shot(ledger, "T1", 1, NOON + 3 * HOUR)
    found = weighed(ledger)
    assert found.verdicts["T1"].verdict == "short"
    assert found.release.recount == ("T1",)


def test_what_people_found_is_told_in_a_receivers_words(ledger: Ledger) -> None:
    declare(ledger, "OUT-1", {"T1": 2, "T2": 2, "T3": 2, "T4": 2})
    for bin, quantity in (("T1", 2), ("T2", 3), ("T3", 1), ("T4", 0), ("T9", 4)):
        recount(ledger, bin, quantity, NOON + HOUR, "OUT-1")
    assert [(one.bin, one.word) for one in weighed(ledger).discrepancies] == [
        ("T2", "over-shipped"), ("T3", "short-shipped"), ("T4", "missing"), ("T9", "not advised"),
    ]  # fmt: skip


def test_totes_that_share_an_article_are_of_one_run_and_those_without_lines_too() -> None:
    def item(sku: str) -> Item:
        return Item(sku, None, None, 1, None, None, None, None)

    runs = consigning.together({"1": [item("A")], "2": [item("A"), item("B")], "3": [item("B")], "4": [item("C")],
                                "5": [], "6": []})  # fmt: skip
    assert runs["1"] == runs["2"] == runs["3"]
    assert runs["5"] == runs["6"]
    assert len(set(runs.values())) == 3


def test_a_consignment_that_the_book_does_not_know_is_told(ledger: Ledger) -> None:
    with pytest.raises(MissingError, match="OUT-9"):
        weighed(ledger, "OUT-9")


def test_what_cannot_be_there_is_never_let_go(ledger: Ledger, shot: Callable[..., None]) -> None:
    shot(ledger, "T1", 0, NOON)
    ledger.append([Entry("in", "T1", NOON + HOUR, "wms", Moved(9))])
    declare(ledger, "OUT-1", {"T1": 5}, NOON + 2 * HOUR)
    found = weighed(ledger)
    assert found.verdicts["T1"].p_right == 0
    assert found.release.release == ()


def test_two_consignments_of_one_time_share_no_recount(ledger: Ledger) -> None:
    for name in ("OUT-1", "OUT-2"):
        declare(ledger, name, {"T1": 7})
    recount(ledger, "T1", 7, NOON + HOUR)
    assert [weighed(ledger, name).release.release for name in ("OUT-1", "OUT-2")] == [(), ()]
    recount(ledger, "T1", 7, NOON + 2 * HOUR, "OUT-1")
    assert weighed(ledger, "OUT-1").release.release == ("T1",)
    assert weighed(ledger, "OUT-2").release.release == ()
