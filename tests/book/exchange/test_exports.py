"""Whatever stands in the book leaves it in every format and comes back equal."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.book.entries import (
    KINDS,
    Adjusted,
    Approved,
    Body,
    Bundled,
    Counted,
    Declared,
    Entry,
    Expected,
    Forgotten,
    Judged,
    Line,
    Moved,
    Pictured,
    Recounted,
    SetAside,
)  # fmt: skip
from binventory.book.exchange import exports, imports, tables
from binventory.errors import RecordError
from binventory.records import LEVELS, Item

ENDINGS = [".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet"]
NOW = datetime(2026, 11, 30, 8, 15, 0, 123456, tzinfo=UTC)

NASTY = st.sampled_from(
    ["", "'", "=1+1", "-1", "00112", "1E5", "null", "[1]", "a\r\nb", "\u2028\x85", "\x00", "_x0041_", "😀"]
)
TEXT = NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBER = st.floats(0, 1e6)
WHOLE = st.integers(0, 100_000)
SHARE = st.floats(0, 1)
GTIN = st.none() | st.sampled_from(["4006381333931", "036000291452"])
ITEM = st.builds(Item, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | WHOLE, *[st.none() | NUMBER] * 4, GTIN,
                 st.none() | NUMBER)  # fmt: skip
ITEMS = st.lists(ITEM, max_size=3).map(tuple)
INTERVAL = st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20))
DELTA = st.integers(-100_000, 100_000)
BODIES: list[st.SearchStrategy[Body]] = [
    st.builds(Bundled, TEXT, TEXT, TEXT),
    st.builds(Pictured, TEXT, TEXT, st.integers(0, 2**40), TEXT, TEXT),
    st.builds(Counted, TEXT, TEXT, st.lists(SHARE, min_size=LEVELS, max_size=LEVELS).map(tuple), NUMBER, INTERVAL),
    st.builds(Expected, WHOLE, ITEMS, TEXT),
    st.builds(Moved, DELTA, st.none() | TEXT, GTIN, TEXT, TEXT),
    st.builds(Declared, WHOLE, ITEMS, st.none() | TEXT, TEXT),
    st.builds(Judged, TEXT, st.sampled_from(["match", "short", "over", "recount"]), st.none() | SHARE,
              st.none() | WHOLE, st.integers(0, 21), INTERVAL, TEXT, TEXT, st.none() | SHARE, NUMBER),
    st.builds(Recounted, WHOLE, st.sampled_from(["bin", "photo"]),
              st.lists(st.builds(Line, TEXT, WHOLE), max_size=2).map(tuple), TEXT, TEXT),
    st.builds(Approved, TEXT, DELTA, TEXT),
    st.builds(Adjusted, TEXT, DELTA, st.lists(st.tuples(TEXT, DELTA), max_size=2).map(tuple), TEXT),
    st.builds(SetAside, TEXT, TEXT, TEXT, TEXT, TEXT),
    st.builds(Forgotten, TEXT, TEXT),
]  # fmt: skip
TIME = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
ENTRY = st.builds(Entry, TEXT.map("k{}".format), st.none() | TEXT, TIME, TEXT, st.one_of(BODIES), st.none() | TEXT,
                  st.none() | st.integers(1, 2**50), st.none() | TIME)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=40)
@given(st.lists(ENTRY, max_size=8))
def test_every_entry_comes_back_equal(ending: str, entries: list[Entry]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/book{ending}"
        assert exports.write(address, entries) == len(entries)
        assert list(exports.read(address)) == entries


def test_every_kind_is_tried() -> None:
    assert len(BODIES) == len(KINDS)


def test_a_table_of_one_kind_has_its_columns_alone() -> None:
    assert exports.columns(["movement"]) == (
        "seq", "kind", "key", "bin", "at", "entered", "who", "consignment", "delta", "sku", "gtin", "reference",
        "reason",
    )  # fmt: skip


NAME = st.sampled_from(["A-01", "00112", "=A", "'x", "-7", "B 2", "日本"])
LINES = st.lists(
    st.builds(Item, NAME, st.none() | NAME, st.none() | NAME, st.none() | st.integers(0, 900),
              *[st.none() | NUMBER] * 4, GTIN, st.none() | NUMBER),
    max_size=3, unique_by=lambda item: item.sku,
)  # fmt: skip


def records(kind: str, bins: dict[str, tuple[int, list[Item]]]) -> list[Entry]:
    """Entries as an import makes them, from bins with a total that is needed only where lines leave it open."""
    rows: list[Any] = []
    for bin, (total, items) in bins.items():
        own = {"bin": bin, "at": "2026-11-30T08:15:00.123456Z"}
        known = sum(item.quantity or 0 for item in items)
        if not items or any(item.quantity is None for item in items):
            rows.append(own | {"quantity": known + total if items else total})
        rows += [own | {name: getattr(item, name) for name in ("quantity", *imports.ITEM)} for item in items]
    lines = list(enumerate(rows, 2))
    if kind == "expectation":
        return list(imports.expectations(lines, imports.Origin("stock.csv", NOW, NOW, "")).entries)
    return list(imports.consignment(lines, imports.Origin("asn.csv", NOW, NOW, ""), "C 1").entries)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["expectation", "consignment"])
@settings(max_examples=15)
@given(st.dictionaries(NAME, st.tuples(st.integers(0, 9), LINES), max_size=4))
def test_records_leave_as_they_are_imported(kind: str, ending: str, bins: dict[str, tuple[int, list[Item]]]) -> None:
    entries = records(kind, bins)
    assert len(entries) == len(bins)
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/other{ending}"
        exports.write_imported(address, kind, entries)
        read = imports.read_expectations if kind == "expectation" else imports.read_consignment
        again = read(address, NOW)
    assert again.bad == ()
    assert list(again.entries) == entries


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15)
@given(st.lists(st.tuples(NAME, DELTA, st.none() | NAME, GTIN, st.none() | NAME), max_size=5, unique=True))
def test_movements_leave_as_they_are_imported(
    ending: str, moves: list[tuple[str, int, str | None, str | None, str | None]]
) -> None:
    names = ("bin", "delta", "sku", "gtin", "reference")
    rows: list[Any] = [dict(zip(names, move, strict=True)) for move in moves]
    entries = imports.movements(enumerate(rows, 2), imports.Origin("m.csv", NOW, NOW, "0" * 64)).entries
    with tempfile.TemporaryDirectory() as folder:
        exports.write_imported(f"{folder}/m{ending}", "movement", entries)
        assert imports.read_movements(f"{folder}/m{ending}", NOW).entries == entries


@dataclass(frozen=True, slots=True)
class Shelf:
    bin: str
    quantity: int | None
    counted: datetime
    lines: tuple[Line, ...]


@pytest.mark.parametrize("ending", ENDINGS)
def test_stock_is_a_table_too(ending: str, tmp_path: Path) -> None:
    address = f"{tmp_path}/stock{ending}"
    assert exports.write_records(address, Shelf, [Shelf("=A", 3, NOW, (Line("X", 3),)), Shelf("B", None, NOW, ())]) == 2
    first, second = (row for _, row in tables.read(address))
    assert (first["bin"], first["lines"]) == ("=A", '[{"sku":"X","quantity":3}]')
    assert datetime.fromisoformat(str(first["counted"])) == NOW
    assert second["quantity"] is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kind": "count"}, "missing required field"),
        ({"bin": "A"}, "it lacks 'kind'"),
        ({"kind": "sale"}, "no kind of entry"),
        ({"kind": "movement", "key": "k", "at": "2026-11-30T08:15:00", "who": "x", "delta": 1}, "has a zone"),
        ({"kind": "movement", "key": "k", "at": "yesterday", "who": "x", "delta": 1}, "isoformat"),
        ({"kind": "movement", "key": "k", "at": "2026-11-30T08:15:00Z", "who": "x", "delta": 100_001}, "<= 100000"),
        (
            {"kind": "movement", "key": "k", "at": "2026-11-30T08:15:00Z", "who": "x", "delta": "["},
            "malformed|truncated",
        ),
    ],
)
def test_a_row_that_is_no_entry_is_told_with_its_line(row: dict[str, Any], told: str) -> None:
    with pytest.raises(RecordError, match=rf"(?si)Line 4 of x\.csv is no entry.*({told})"):
        list(exports.entries_of([(4, row)], "x.csv"))
