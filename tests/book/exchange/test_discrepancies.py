"""What differs from a consignment is told in the receiver's words."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.book.entries import Declared, Entry
from binventory.book.exchange.discrepancies import Discrepancy, discrepancies

NOW = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)
SSCC = "340123450000000000"


def declared(bin: str, quantity: int, sscc: str | None = None) -> Entry:
    return Entry(f"consignment:{bin}:{quantity}", bin, NOW, "import", Declared(quantity, (), sscc), "C-1")


def test_each_difference_has_its_word_and_code() -> None:
    entries = [declared("T1", 3), declared("T2", 3, SSCC), declared("T3", 3), declared("T4", 3), declared("T5", 3)]
    found = {"T3": 0, "T1": 5, "T2": 2, "T4": 3, "T9": 1, SSCC: 2, "T8": 0}
    assert discrepancies(entries, found) == [
        Discrepancy("T1", None, 3, 5, 2, "over-shipped", "AC"),
        Discrepancy("T2", SSCC, 3, 2, -1, "short-shipped", "CP"),
        Discrepancy("T3", None, 3, 0, -3, "missing", "CP"),
        Discrepancy("T9", None, None, 1, 1, "not advised", "AE"),
        Discrepancy(SSCC, SSCC, None, 2, 2, "not advised", "AE"),
    ]


def test_the_last_declaration_of_a_tote_counts() -> None:
    assert discrepancies([declared("T1", 3), declared("T1", 4)], {"T1": 4}) == []


BINS = st.sampled_from(["A", "B", "C"])


@settings(max_examples=50)
@given(st.dictionaries(BINS, st.integers(0, 5)), st.dictionaries(BINS, st.integers(0, 5)))
def test_what_is_told_makes_the_declared_the_found(said: dict[str, int], found: dict[str, int]) -> None:
    told = discrepancies([declared(bin, quantity) for bin, quantity in said.items()], found)
    changed = dict(said)
    for one in told:
        assert one.difference != 0
        changed[one.bin] = changed.get(one.bin, 0) + one.difference
    assert all(changed.get(bin, 0) == quantity for bin, quantity in found.items())
    assert {one.bin for one in told} <= set(found)
