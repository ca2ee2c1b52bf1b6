"""What other systems export becomes entries: right or told, row by row, and the same each time."""

from __future__ import annotations

import io
import json
import os
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.book.entries import Declared, Expected, Moved
from binventory.book.exchange import gs1, imports, tables
from binventory.book.exchange.cells import Cell, Line
from binventory.book.exchange.imports import Origin, Read
from binventory.errors import InputError, MissingError, RecordError

NOW = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


def lines(*rows: dict[str, Cell]) -> list[Line]:
    return list(enumerate(rows, 2))


def origin(name: str, digest: str = "0" * 64, at: datetime = NOW) -> Origin:
    return Origin(name, at, NOW, digest)


def expected(*rows: dict[str, Cell]) -> Read:
    return imports.expectations(lines(*rows), origin("stock.csv"))


def moved(*rows: dict[str, Cell], digest: str = "0" * 64) -> Read:
    return imports.movements(lines(*rows), origin("moves.csv", digest))


def keys(read: Read) -> list[str]:
    return [entry.key for entry in read.entries]


def told(read: Read) -> list[tuple[int, str]]:
    return [(bad.line, str(bad.error)) for bad in read.bad]


def test_an_export_with_semicolons_and_a_mark_reads(tmp_path: Path) -> None:
    path = tmp_path / "lagerbestand.csv"
    path.write_bytes(
        "\ufeffStorage Bin;Material;Item Description;On-Hand;EAN;Weight (lb);Weight;Zone;Snapshot Time\r\n"
        'A-01-03;00112;"Tasse; blau";3,00;4006381333931;;0,5;Z1;2026-11-30 08:15:00Z\r\n'
        "A-01-03;00113;;2;;;1,25;Z1;2026-11-30 08:15:00Z\r\n"
        "B-02-01;;;0;;;;Z1;2026-11-30T09:15:00+01:00\r\n".encode()
    )
    read = imports.read_expectations(str(path), NOW)
    assert read.bad == ()
    first, second = read.entries
    assert (first.bin, first.at, first.who, first.kind) == ("A-01-03", NOW, "import", "expectation")
    assert isinstance(first.body, Expected)
    assert (first.body.quantity, first.body.source) == (5, "lagerbestand.csv")
    mug, other = first.body.items
    assert (mug.sku, mug.name, mug.quantity, mug.gtin, mug.weight) == ("00112", "Tasse; blau", 3, "4006381333931", 0.5)
    assert (other.sku, other.name, other.weight) == ("00113", None, 1.25)
    assert (second.bin, second.at, second.body) == ("B-02-01", NOW, Expected(0, (), "lagerbestand.csv"))


def test_a_bin_without_lines_has_a_total() -> None:
    read = expected({"bin": "A", "quantity": 4}, {"bin": "B", "quantity": "12.0"}, {"bin": 7, "quantity": 3.0})
    assert [(entry.bin, entry.body) for entry in read.entries] == [
        ("A", Expected(4, (), "stock.csv")),
        ("B", Expected(12, (), "stock.csv")),
        ("7", Expected(3, (), "stock.csv")),
    ]


def test_lots_of_one_sku_are_one_line() -> None:
    (entry,) = expected({"bin": "A", "sku": "X", "quantity": 2}, {"bin": "A", "sku": "X", "quantity": 3}).entries
    assert isinstance(entry.body, Expected)
    assert [(item.sku, item.quantity) for item in entry.body.items] == [("X", 5)]


def test_a_total_may_stand_beside_lines_and_fill_what_they_leave_open() -> None:
    (entry,) = expected(
        {"bin": "A", "sku": "X", "quantity": 2}, {"bin": "A", "quantity": 5}, {"bin": "A", "sku": "Y", "quantity": None}
    ).entries
    assert isinstance(entry.body, Expected)
    assert (entry.body.quantity, [item.quantity for item in entry.body.items]) == (5, [2, None])


def test_an_asin_stands_in_for_a_sku() -> None:
    (entry,) = expected({"bin": "A", "asin": "B00X", "quantity": 2}).entries
    assert isinstance(entry.body, Expected)
    assert (entry.body.items[0].sku, entry.body.items[0].asin) == ("B00X", "B00X")


@pytest.mark.parametrize(
    ("quantity", "kept"),
    [
        (0, 0),
        ("0", 0),
        (100_000, 100_000),
        ("12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        ("12,00", 12),
        (12.0, 12),
        ("+3", 3),
    ],
)
def test_quantities_read(quantity: Cell, kept: int) -> None:
    (entry,) = expected({"bin": "A", "quantity": quantity}).entries
    assert isinstance(entry.body, Expected)
    assert entry.body.quantity == kept


@pytest.mark.parametrize(
    "quantity",
    [
        "1,200",
        "1.200",
        "12.000",
        "1 200",
        "12.5",
        12.5,
        -1,
        "-1",
        100_001,
        "1e2",
        "x",
        None,
        "",
        True,
        "٣",
        float("inf"),
    ],
)
def test_doubtful_quantities_are_told_and_never_guessed(quantity: Cell) -> None:
    read = expected({"bin": "A", "quantity": quantity}, {"bin": "B", "quantity": 1})
    assert [entry.bin for entry in read.entries] == ["B"]
    ((line, text),) = told(read)
    assert line == 2
    assert text.startswith("Line 2 of stock.csv cannot be used. The quantity ")


def test_bad_rows_are_told_one_by_one_and_their_bins_left_out() -> None:
    read = expected(
        {"bin": "A", "sku": "X", "quantity": 2},
        {"bin": "B", "quantity": 1},
        {"bin": "A", "sku": "Y", "quantity": "?"},
        {"bin": None, "quantity": 1},
        {"bin": "C", "quantity": 1, "at": "30.11.2026"},
        {"bin": "D", "sku": "Z", "gtin": "4006381333932", "quantity": 1},
        {"bin": "a\x00b", "quantity": 1},
        {"bin": "E", "quantity": 2, "weight": "1,234"},
    )
    assert [entry.bin for entry in read.entries] == ["B", "E"], "a total has no weight to read"
    lines = [
        (2, "Bin A is left out"), (4, "quantity '?'"), (5, "bin is missing"), (6, "ISO 8601"),
        (7, "check digit is 2 and would be 1"), (8, "do not print"),
    ]  # fmt: skip
    assert [line for line, _ in told(read)] == [line for line, _ in lines]
    for (_, text), (_, part) in zip(told(read), lines, strict=True):
        assert part.lower() in text.lower()


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{"bin": "A", "sku": "X", "quantity": 2}, {"bin": "A", "quantity": 3}], "its total is 3, its lines sum to 2"),
        ([{"bin": "A", "quantity": 2}, {"bin": "A", "quantity": 2}], "said twice"),
        ([{"bin": "A", "sku": "X", "quantity": None}, {"bin": "A", "sku": "Y", "quantity": 2}], "without a quantity"),
        ([{"bin": "A", "sku": s, "quantity": 60_000} for s in "XY"], "100,000"),
        ([{"bin": "A", "sku": "X", "quantity": 1, "weight": "1,234"}], "weight"),
    ],
)
def test_a_bin_that_contradicts_itself_is_told(rows: list[dict[str, Cell]], part: str) -> None:
    read = expected(*rows, {"bin": "B", "quantity": 1})
    assert [entry.bin for entry in read.entries] == ["B"]
    assert any(part in text for _, text in told(read))


def test_one_bin_at_two_times_is_two_records() -> None:
    earlier = "2026-11-29T08:15:00+00:00"
    read = expected({"bin": "A", "quantity": 4, "at": earlier}, {"bin": "A", "quantity": 3})
    assert [entry.at for entry in read.entries] == [NOW - timedelta(days=1), NOW]


def test_times_without_a_zone_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        read = expected(
            {"bin": "A", "quantity": 1, "at": "2026-11-30T03:15"}, {"bin": "B", "quantity": 1, "at": "2026-11-30"}
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [entry.at for entry in read.entries] == [NOW, datetime(2026, 11, 30, 5, tzinfo=UTC)]


def test_missing_and_doubled_columns_are_refused_with_those_that_are_there() -> None:
    with pytest.raises(InputError, match=r"stock\.csv names no quantity\. Its columns are bin, kiste"):
        expected({"bin": "A", "kiste": 3})
    with pytest.raises(InputError, match="names no bin"):
        expected({"qty": 3})
    with pytest.raises(InputError, match=r"names the quantity twice\. In its columns qty and on hand"):
        expected({"bin": "A", "qty": 3, "on hand": 4})
    with pytest.raises(InputError, match="names no delta or direction"):
        moved({"bin": "A", "quantity": 4})
    assert expected({"bin": "A", "quantity": 3, "qty": 4, "colour": "red"}).entries[0].body == Expected(
        3, (), "stock.csv"
    )
    assert expected() == Read((), ())


def test_movements_have_a_sign_or_a_direction() -> None:
    read = moved(
        {"bin": "A", "delta": -2, "sku": "X", "reference": "PO-1", "reason": "picked"},
        {"bin": "A", "delta": "+3"},
        {"bin": "B", "quantity": 4, "direction": "OUT", "ean": "4006381333931"},
        {"bin": "B", "quantity": 4, "direction": "in"},
        {"bin": "B", "quantity": 4, "direction": "sideways"},
        {"bin": "B", "quantity": 4, "direction": None},
    )
    assert [entry.body for entry in read.entries] == [
        Moved(-2, "X", None, "PO-1", "picked"), Moved(3), Moved(-4, None, "4006381333931"), Moved(4),
    ]  # fmt: skip
    assert [line for line, _ in told(read)] == [6, 7]
    assert {entry.at for entry in read.entries} == {NOW}


def test_equal_movements_are_several_unless_a_reference_makes_them_one() -> None:
    row: dict[str, Cell] = {"bin": "A", "delta": 1, "at": "2026-11-30T08:15Z"}
    assert len(set(keys(moved(row, row)))) == 2
    assert keys(moved({"bin": "Z", "delta": 1}, row, row))[1:] == keys(moved(row, row))
    referred = moved({"bin": "A", "delta": 1, "reference": "PO-1"}, {"bin": "A", "delta": 1, "reference": "PO-1"})
    assert len(referred.entries) == 1
    assert [(line, "line 2 says the same" in text) for line, text in told(referred)] == [(3, True)]


def test_a_log_that_grew_by_a_row_brings_one_movement_more() -> None:
    row: dict[str, Cell] = {"bin": "A", "sku": "X", "delta": -1}
    told_by: list[dict[str, Cell]] = [
        {"at": "2026-11-29T08:15Z"}, {"reference": "P-1"}, {"at": "2026-11-29T08:15Z", "reference": "P-1"},
    ]  # fmt: skip
    for own in told_by:
        before = moved(row | own, row | own | {"bin": "B"}, digest="1" * 64)
        after = moved({"bin": "C", "delta": 1, "at": "2026-11-28"}, *[row | own | {"bin": bin} for bin in "AB"],
                      digest="2" * 64)  # fmt: skip
        assert keys(after)[1:] == keys(before)
        assert before.notes == ()


def test_a_movement_of_another_article_is_another() -> None:
    rows: list[dict[str, Cell]] = [
        {"bin": "A", "delta": -1, "at": "2026-11-29T08:15Z", "gtin": gtin} for gtin in ("96385074", "036000291452")
    ]
    assert not set(keys(moved(rows[0]))) & set(keys(moved(rows[1])))


def test_movements_that_nothing_tells_apart_are_known_by_their_files_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"bin,delta\nA,1\nA,1\nB,2\n"
    for name in ("log.csv", "copy.csv"):
        (tmp_path / name).write_bytes(text)
    first = imports.read_movements(f"{tmp_path}/log.csv", NOW)
    assert len(set(keys(first))) == 3
    assert first.notes == ("3 rows have neither a time nor a reference: in another file they count again",)
    os.utime(tmp_path / "log.csv", (0, NOW.timestamp() - 1000))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    for address in ("log.csv", "copy.csv", "-"):
        again = imports.read_movements(address if address == "-" else f"{tmp_path}/{address}", NOW)
        assert keys(again) == keys(first)
    (tmp_path / "grown.csv").write_bytes(text + b"C,1\n")
    assert not set(keys(imports.read_movements(f"{tmp_path}/grown.csv", NOW))) & set(keys(first))
    assert moved({"bin": "A", "delta": 1}).notes == (
        "1 row has neither a time nor a reference: in another file it counts again",
    )


def test_a_declaration_on_another_day_is_another_and_on_the_same_day_the_same() -> None:
    days = [NOW - timedelta(days=ago) for ago in (3, 2, 1)]
    read = [
        imports.consignment(lines({"tote": "T1", "qty": quantity}), origin("asn.csv", at=day), "asn")
        for day, quantity in zip(days, (5, 6, 5), strict=True)
    ]
    assert len({key for one in read for key in keys(one)}) == 3
    again = imports.consignment(lines({"tote": "T1", "qty": 5}), origin("asn (1).csv", "2" * 64, days[0]), "asn")
    assert keys(again) == keys(read[0])


def test_a_label_that_was_told_late_is_a_declaration_of_its_own() -> None:
    rows: list[dict[str, Cell]] = [{"tote": "T1", "qty": 5, "sscc": sscc} for sscc in (None, "340123450000000000")]
    plain, labelled = (imports.consignment(lines(row), origin("asn.csv"), "asn") for row in rows)
    assert keys(plain) != keys(labelled)


def test_a_consignment_that_is_piped_in_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(text: bytes, name: str | None = None) -> Read:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        return imports.read_consignment("-", NOW, name=name)

    with pytest.raises(InputError, match="standard input names no consignment"):
        piped(b"bin,quantity\nT1,3\n")
    assert piped(b"bin,quantity\nT1,3\n", "C-1").entries[0].consignment == "C-1"
    read = piped(b"bin,quantity,shipment\nT1,3,C-2\nT2,3,\n")
    assert [entry.consignment for entry in read.entries] == ["C-2"]
    assert [(line, "consignment is missing" in text) for line, text in told(read)] == [(3, True)]


def test_a_consignment_is_called_by_its_file(tmp_path: Path) -> None:
    name = "Büro 7"
    path = tmp_path / f"{unicodedata.normalize('NFD', name)}.csv"
    path.write_text("bin,quantity\nT1,3\n")
    assert imports.read_consignment(str(path), NOW).entries[0].consignment == name


def test_names_that_look_alike_are_one() -> None:
    composed, apart = (unicodedata.normalize(form, "Büro-Ä") for form in ("NFC", "NFD"))
    rows: list[dict[str, Cell]] = [
        {"bin": f" {name} ", "sku": name, "quantity": 1, "delta": 1, "reference": name, "at": "2026-11-29"}
        for name in (composed, apart)
    ]
    (entry,) = expected(*rows).entries
    assert isinstance(entry.body, Expected)
    assert (entry.bin, [(item.sku, item.quantity) for item in entry.body.items]) == (composed, [(composed, 2)])
    (first,), (second,) = (moved(row).entries for row in rows)
    assert first == second
    spoilt = expected({"bin": composed, "sku": "X", "quantity": 1}, {"bin": apart, "sku": "Y", "quantity": "x"})
    assert spoilt.entries == ()


def test_a_bin_no_photo_could_name_is_told() -> None:
    read = expected({"bin": "A" * 101, "quantity": 1}, {"bin": "A" * 100, "quantity": 1})
    assert [entry.bin for entry in read.entries] == ["A" * 100]
    assert [(line, "it has 101 characters" in text) for line, text in told(read)] == [(2, True)]
    assert len(told(moved({"bin": "A" * 101, "delta": 1}))) == 1
    tote = imports.consignment(lines({"tote": "A" * 101, "quantity": 1}), origin("asn.csv"), "asn")
    assert len(told(tote)) == 1


@pytest.mark.parametrize(
    ("at", "why"),
    [("2062-11-30", "more than a day ahead"), ("1989-12-31T23:00:00Z", "before 1990"), ("1970-01-01", "before 1990")],
)
def test_a_time_that_cannot_be_blocks_no_bin(at: str, why: str) -> None:
    rows: list[dict[str, Cell]] = [{"bin": "A", "quantity": 1, "delta": 1, "at": at}]
    tote = imports.consignment(lines(*rows), origin("asn.csv"), "asn")
    for read in (expected(*rows), moved({"bin": "A", "delta": 1, "at": at}), tote):
        assert read.entries == ()
        ((line, text),) = told(read)
        assert line == 2
        assert f"time '{at}' cannot be: it is {why}" in text


def test_a_clock_may_go_a_day_ahead() -> None:
    ahead = (NOW + timedelta(hours=23)).isoformat()
    assert len(expected({"bin": "A", "quantity": 1, "at": ahead}).entries) == 1


@pytest.mark.parametrize("seconds", [0, 4_000_000_000])
def test_a_file_whose_own_time_cannot_be_is_of_now(seconds: int, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text("bin,quantity\nA,3\n")
    os.utime(path, (seconds, seconds))
    assert imports.read_expectations(str(path), NOW).entries[0].at == NOW


@pytest.mark.parametrize("column", ["height", "length", "width", "weight", "value"])
@pytest.mark.parametrize("cell", [1e308, 1_000_000_001, "1000000001", "9e300", 10**400, -1, float("nan")])
def test_a_size_weight_or_value_that_no_sum_could_hold_is_told(column: str, cell: Cell) -> None:
    read = expected({"bin": "A", "sku": "X", "quantity": 1, column: cell})
    assert read.entries == ()
    assert f"The {column}".lower() in told(read)[0][1].lower()
    assert len(expected({"bin": "A", "sku": "X", "quantity": 1, column: 1_000_000_000}).entries) == 1


def test_a_consignment_has_totes_by_bin_or_sscc() -> None:
    sscc = "340123450000000000"
    rows = lines(
        {"lpn": "T1", "sku": "X", "qty": 2, "sscc": f"(00){sscc}"},
        {"lpn": "T1", "sku": "Y", "qty": 1, "sscc": sscc},
        {"lpn": None, "sku": "X", "qty": 2, "sscc": "00340123450000000017"},
        {"lpn": "T3", "sku": "X", "qty": 2, "sscc": "340123450000000001"},
        {"lpn": "T4", "sku": "X", "qty": 2, "sscc": None},
    )
    read = imports.consignment(rows, origin("asn-17.csv"), "asn-17")
    assert [(entry.bin, entry.consignment, entry.kind) for entry in read.entries] == [
        ("T1", "asn-17", "consignment"), ("340123450000000017", "asn-17", "consignment"),
        ("T4", "asn-17", "consignment"),
    ]  # fmt: skip
    body = read.entries[0].body
    assert isinstance(body, Declared)
    assert (body.quantity, body.sscc, len(body.items)) == (3, sscc, 2)
    assert [(line, "would be 0" in text) for line, text in told(read)] == [(5, True)]
    assert imports.consignment(rows, origin("asn.csv"), "C-1").entries[0].consignment == "C-1"


def test_a_file_may_hold_several_consignments() -> None:
    rows = lines({"shipment": "S1", "tote": "T1", "qty": 2}, {"shipment": "S2", "tote": "T1", "qty": 3})
    read = imports.consignment(rows, origin("asn.csv"), "asn")
    assert [(entry.consignment, entry.bin) for entry in read.entries] == [("S1", "T1"), ("S2", "T1")]


def test_a_tote_with_two_labels_is_told() -> None:
    rows = lines(
        {"tote": "T1", "sku": "X", "qty": 2, "sscc": None},
        {"tote": "T1", "sku": "Y", "qty": 3, "sscc": "340123450000000000"},
    )
    read = imports.consignment(rows, origin("asn.csv"), "asn")
    assert read.entries == ()
    assert len(read.bad) == 2


ROW = st.fixed_dictionaries({
    "bin": st.sampled_from(["A", "B", "7", ""]), "quantity": st.sampled_from([0, 3, "4", "x", None]),
    "sku": st.sampled_from(["X", "Y", None]), "delta": st.sampled_from([1, -1, "x"]),
    "reference": st.sampled_from(["R", "", None]), "at": st.sampled_from(["2026-11-30T08:15Z", "2026-11-29", "x"]),
})  # fmt: skip


@settings(max_examples=60)
@given(st.lists(ROW, max_size=12))
def test_every_row_is_kept_or_told_and_the_same_file_is_the_same_entries(rows: list[dict[str, Cell]]) -> None:
    def declared(rows: list[Line], origin: Origin) -> Read:
        return imports.consignment(rows, origin, "f")

    for read in (imports.expectations, imports.movements, declared):
        first = read(lines(*rows), origin("f.csv"))
        again = read(lines(*rows), origin("f.csv"))
        assert (first.entries, told(first)) == (again.entries, told(again))
        assert len(keys(first)) == len(set(keys(first)))
        kept = {entry.bin for entry in first.entries}
        lost = {row["bin"] for row in rows if row["bin"] and row["bin"] not in kept}
        assert all(any(row["bin"] == bin for line, row in lines(*rows) if line in dict(told(first))) for bin in lost)


def test_a_file_keeps_its_own_time_so_that_importing_it_again_is_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text("bin,quantity\nA,3\n")
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    first = imports.read_expectations(str(path), datetime.now(UTC))
    assert first.entries[0].at == NOW
    assert first == imports.read_expectations(str(path), datetime.now(UTC) + timedelta(hours=1))


RECORD = {
    "BIN_FCSKU_DATA": {
        "B00A": {"asin": "B00A", "name": "Mug", "quantity": 2, "height": {"unit": "IN", "value": 3.5}, "length": None},
        "B00B": {"asin": "B00B", "name": None, "quantity": 1, "weight": {"unit": "pounds", "value": 0}},
    },
    "EXPECTED_QUANTITY": 3,
}


def test_metadata_of_bins_is_expected_too(tmp_path: Path) -> None:
    (tmp_path / "00112.json").write_text(json.dumps(RECORD, indent=2))
    (tmp_path / "00113.json").write_text(json.dumps(RECORD | {"EXPECTED_QUANTITY": 4}))
    (tmp_path / "00114.json").write_text("{")
    (tmp_path / "00115.json").write_text(json.dumps({"BIN_FCSKU_DATA": {}, "EXPECTED_QUANTITY": 0}))
    (tmp_path / "00116.json").write_text(json.dumps({"BIN_FCSKU_DATA": {}}))
    (one,) = imports.read_expectations(f"{tmp_path}/00112.json", NOW).entries
    read = imports.read_expectations(str(tmp_path), NOW)
    assert read.entries[0] == one
    assert (one.bin, one.at) == ("00112", tables.modified(f"{tmp_path}/00112.json", NOW))
    assert isinstance(one.body, Expected)
    assert (one.body.quantity, one.body.items[0].height, one.body.items[1].weight) == (3, 3.5, None)
    assert [(entry.bin, entry.body.quantity) for entry in read.entries if isinstance(entry.body, Expected)] == [
        ("00112", 3), ("00115", 0),
    ]  # fmt: skip
    assert [text.partition(" cannot")[0] for _, text in told(read)] == [f"Line 1 of 0011{n}.json" for n in (3, 4, 6)]
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingError, match="holds no records"):
        imports.read_expectations(f"{tmp_path}/none", NOW)


def test_a_json_table_is_no_metadata(tmp_path: Path) -> None:
    (tmp_path / "stock.json").write_text('[{"bin": "A", "quantity": 3}]')
    assert [entry.bin for entry in imports.read_expectations(f"{tmp_path}/stock.json", NOW).entries] == ["A"]


def test_a_workbook_of_numbers_and_dates_is_expected(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (
        ["Location", "GTIN", "SKU", "Qty", "As of"],
        ["A", 4006381333931, 112, 3, datetime(2026, 11, 30, 8, 15)],
    ):
        book.worksheets[0].append(row)
    book.save(tmp_path / "stock.xlsx")
    (entry,) = imports.read_expectations(f"{tmp_path}/stock.xlsx", NOW).entries
    assert isinstance(entry.body, Expected)
    assert (entry.body.items[0].sku, entry.body.items[0].gtin) == ("112", "4006381333931")
    assert entry.at == datetime(2026, 11, 30, 8, 15).astimezone(UTC)


@pytest.mark.parametrize("text", ["96385074", "036000291452", "4006381333931", "14006381333938", " 4006381-333931 "])
def test_gtins_with_the_right_check_digit_pass(text: str) -> None:
    assert gs1.gtin(text) == text.strip().replace("-", "")


@pytest.mark.parametrize(
    "digits", ["96385074", "036000291452", "4006381333931", "14006381333938", "340123450000000000"]
)
def test_every_other_check_digit_is_told_with_the_right_one(digits: str) -> None:
    check = gs1.sscc if len(digits) == 18 else gs1.gtin
    assert check(digits) == digits
    for other in "0123456789".replace(digits[-1], ""):
        with pytest.raises(RecordError, match=f"check digit is {other} and would be {digits[-1]}"):
            check(digits[:-1] + other)


@pytest.mark.parametrize(
    "text", ["", "4", "123456789", "400638133393x", "４００６３８１３３３９３１", "340123450000000000"]
)
def test_what_is_no_gtin_is_told(text: str) -> None:
    with pytest.raises(RecordError, match="leading zeros"):
        gs1.gtin(text)


def test_an_sscc_is_told_from_other_bins() -> None:
    assert gs1.is_sscc("340123450000000000")
    assert not gs1.is_sscc("(00)340123450000000000")
    assert not gs1.is_sscc("A-01")


@pytest.mark.parametrize(("written", "hour"), [("2026-11-30 08:00", 7), ("2026-11-30T08:00:00Z", 8)])
def test_a_time_without_a_zone_is_of_the_sites(written: str, hour: int, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.write_text(f"Lagerplatz;Menge;at\nA-1;3;{written}\n")
    (entry,) = imports.read_expectations(str(path), NOW, ZoneInfo("Europe/Berlin")).entries
    assert (entry.bin, entry.at.hour) == ("A-1", hour)
