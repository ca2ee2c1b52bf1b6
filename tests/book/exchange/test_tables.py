"""Tables in every format: what is written reads back, what is broken is said, and nothing runs as a formula."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from binventory.book.exchange import tables
from binventory.book.exchange.cells import Cell
from binventory.errors import InputError, OutsideError
from s3server import S3Server

COLUMNS = ("id", "text", "number", "amount")
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "'", "''", "'=1+1", "=1+1", "+1", "-2", "@SUM(A1)", "\tx", "\rx", "\nx", "00112", "04006381333931", "1,5",
     "null", "NaN", "true", "#N/A", "_x0041_", "_x005F_", "a\rb", "a\r\nb", "\u2028", "\u2029", "\x85", "\ufffe",
     "\x00", ' "x" ', "1E5", "\ufeff", "[1, 2]", "2026-11-30"]
)  # fmt: skip
ROW = st.fixed_dictionaries({
    "id": st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8),
    "text": st.none() | TEXT,
    "number": st.none() | st.integers(-(2**62), 2**62),
    "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False),
})  # fmt: skip
ROWS = st.lists(ROW, max_size=6)
ENDINGS = [".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet"]


def there_and_back(rows: list[dict[str, Cell]], ending: str) -> list[dict[str, Cell]]:
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/table{ending}"
        assert tables.write(address, COLUMNS, rows) == len(rows)
        return [dict(row) for _, row in tables.read(address)]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=40)
@given(ROWS)
@example([{"id": "a", "text": text, "number": None, "amount": None} for text in ("", None, "=1", "'=1", "\u2028")])
@example([{"id": "a", "text": "\x00", "number": 2**62, "amount": 5e-324}])
def test_what_is_written_reads_back(ending: str, rows: list[dict[str, Cell]]) -> None:
    found = there_and_back(rows, ending)
    assert [row["text"] for row in found] == [row["text"] for row in rows]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    for column, number in (("number", int), ("amount", float)):
        read = [None if row[column] is None else number(row[column]) for row in found]  # type: ignore[arg-type]
        assert read == [row[column] for row in rows]


@pytest.mark.parametrize("ending", [".xlsx", ".json", ".jsonl", ".parquet"])
def test_numbers_stay_numbers_and_ids_text(ending: str) -> None:
    rows: list[dict[str, Cell]] = [{"id": "00112", "text": "12", "number": 7, "amount": 0.1 + 0.2}]
    assert there_and_back(rows, ending) == rows


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_without_rows_is_one(ending: str) -> None:
    assert there_and_back([], ending) == []


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "=cmd|'/C calc'!A0", "＝1"])
def test_no_text_opens_as_a_formula_in_a_spreadsheet(text: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"book{ending}"
    tables.write(str(path), ["sku", "n"], [{"sku": text, "n": -1}])
    cell = path.read_bytes().decode().partition("\n")[2].lstrip('"')
    assert cell.startswith("'" + text[:1])
    assert cell.rstrip().endswith("-1"), "a number needs no guard"


def test_a_workbook_holds_text_and_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    tables.write(str(path), ["=1", "n"], [{"=1": text, "n": 3} for text in ("=1+1", "+1", "@A1", "=A1&B1", "#REF!")])
    sheet = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert "<f" not in sheet.replace("<font", "")
    assert 't="e"' not in sheet
    assert sheet.count('t="inlineStr"') == 7
    assert 'quotePrefix="1"' in zipfile.ZipFile(path).read("xl/styles.xml").decode()
    assert openpyxl.load_workbook(path).worksheets[0]["A2"].value == "=1+1"
    assert openpyxl.load_workbook(path).worksheets[0]["A2"].number_format == "@"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_names_its_separator_itself(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    first, second = ["Bin", '"Name, or; so"', "Qty"], ["A", '"x\ny"', "1"]
    path.write_text(f"{separator.join(first)}\n\n{separator.join(second)}\nB\n")
    assert list(tables.read(str(path))) == [
        (3, {"bin": "A", "name, or; so": "x\ny", "qty": "1"}),
        (5, {"bin": "B", "name, or; so": None, "qty": None}),
    ]


@pytest.mark.parametrize("text", ["\ufeffbin;qty\r\nÄ-1;3\r\n", "sep=;\r\nbin;qty\r\nÄ-1;3\r\n", "bin;qty;\rÄ-1;3;\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_excel_saves_as_csv_reads(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_bytes(text.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    assert [row for _, row in tables.read(f"{tmp_path}/stock.csv")] == [{"bin": "Ä-1", "qty": "3"}]


def test_a_workbook_reads_as_a_person_sees_it(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append([None])
    sheet.append(["Bin ", "SKU", "When", "Qty", "Part"])
    sheet.append(["A", 112, datetime(2026, 11, 30, 8, 15), 12.0, 4006381333931])
    sheet.append([])
    sheet.append(["B"])
    sheet["B3"].number_format = "00000"
    book.save(tmp_path / "stock.xlsx")
    blank = dict.fromkeys(["bin", "sku", "when", "qty", "part"])
    assert list(tables.read(f"{tmp_path}/stock.xlsx")) == [
        (3, {"bin": "A", "sku": "00112", "when": "2026-11-30T08:15:00", "qty": 12, "part": 4006381333931}),
        (5, blank | {"bin": "B"}),
    ]


def test_a_workbook_with_wrong_dimensions_reads_whole(tmp_path: Path) -> None:
    tables.write(f"{tmp_path}/a.xlsx", ["bin", "qty"], [{"bin": "A", "qty": 1}])
    changed(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", b"<sheetViews>", b'<dimension ref="A1"/><sheetViews>')
    assert [row for _, row in tables.read(f"{tmp_path}/a.xlsx")] == [{"bin": "A", "qty": 1}]


def changed(path: Path, part: str, old: bytes, new: bytes) -> None:
    parts = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data.replace(old, new) if name == part else data)


def test_json_is_a_list_or_one_object_a_line_and_keeps_what_is_nested(tmp_path: Path) -> None:
    rows = '{"Bin": "A", "lines": [1, {"x": null}]}, {"bin": "B", "big": 12345678901234567890}'
    (tmp_path / "a.json").write_text(f"[{rows}]")
    assert list(tables.read(f"{tmp_path}/a.json")) == [
        (1, {"bin": "A", "lines": '[1,{"x":null}]'}),
        (2, {"bin": "B", "big": 12345678901234567890}),
    ]
    (tmp_path / "b.json").write_text('{"bin": "A\u2028"}\n\n{"bin": "B\x85"}\n')
    assert list(tables.read(f"{tmp_path}/b.json")) == [(1, {"bin": "A\u2028"}), (3, {"bin": "B\x85"})]


def test_json_lines_hold_no_other_line_ends(tmp_path: Path) -> None:
    tables.write(
        f"{tmp_path}/a.jsonl", ["bin", "n"], [{"bin": "a\u2028\u2029\x85\x0b\x1cb", "n": [1, 2]}, {"bin": "c"}]
    )
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "a.jsonl").read_text().splitlines()[1] == '{"bin":"c"}'


def test_parquet_of_other_programs_reads(tmp_path: Path) -> None:
    import duckdb

    duckdb.sql(
        f"""copy (select 'A' as "Bin", 3::hugeint as qty, 1.50::decimal(8, 2) as price, 'nan'::double as gap,
        timestamptz '2026-11-30 08:15:00+01' as at, date '2026-11-30' as day) to '{tmp_path}/a.parquet'"""
    )
    assert list(tables.read(f"{tmp_path}/a.parquet")) == [
        (1, {"bin": "A", "qty": 3, "price": 1.5, "gap": None, "at": "2026-11-30T07:15:00.000000Z", "day": "2026-11-30"})
    ]


def workbook(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("__", "/"), data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n \n", "no columns"),
        ("a.csv", b"bin,qty,BIN\n1,2,3\n", "two columns 'bin'"),
        ("a.csv", b"bin,qty\nA,1\nB,2,3\n", "Line 3 of .*a.csv"),
        ("a.csv", b'bin,qty\nA,1\nB,"2\nC,3\n', "line 3"),
        ("a.csv", b"bin,qty\nA,1\n\xff\xfe\x80,2\n", "line 3 is no UTF-8"),
        ("a.csv", b"PK\x03\x04rest", "an Excel workbook"),
        ("a.csv", b"PAR1rest", "it is Parquet"),
        ("a.txt", b"\xd0\xcf\x11\xe0rest", "an encrypted workbook"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0rest", "an encrypted workbook"),
        ("a.xlsx", b"bin,qty\nA,1\n", "no Excel workbook"),
        ("a.xlsx", b"PK\x03\x04" + b"\x00" * 60, "no Excel workbook"),
        ("a.xlsx", workbook(x=b"y"), "no Excel workbook"),
        ("a.xls", b"", "one of .csv"),
        ("a", b"bin,qty\nA,1\n", "no ending"),
        ("a.json", b"[1]", "Row 1 of .* is no row"),
        ("a.json", b'[{"bin": 1}', "no JSON.*truncated"),
        ("a.json", b"[" * 100_000, "no JSON"),
        ("a.json", b'[{"bin": 1, "Bin ": 2}]', "two columns 'bin'"),
        ("a.jsonl", b'{"bin": 1}\n{"bin": }\n', "line 2"),
        ("a.jsonl", b'{"bin": NaN}\n', "line 1"),
        ("a.jsonl", b'{"bin": "\xff"}\n', "line 1"),
        ("a.json", b'[{"bin": 1}, {"bin": "\xff"}]', "a.json is no"),
        ("a.csv", "bin,qty\nA,1\n".encode("utf-16")[:-1], "UTF-16"),
        ("a.parquet", b"bin,qty\nA,1\n", "no Parquet"),
        ("a.parquet", b"PAR1" + b"\x00" * 30 + b"PAR1", "no Parquet"),
        ("a.parquet", b"", "no Parquet"),
    ],
)
def test_what_is_no_table_is_said_in_one_sentence(name: str, data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"(?i){told}") as error:
        list(tables.read(f"{tmp_path}/{name}"))
    assert "\n" not in str(error.value)


@settings(max_examples=150)
@given(ending=st.sampled_from(ENDINGS), data=st.binary(max_size=300), at=st.floats(0, 1))
def test_damaged_files_are_told_or_read_and_never_break(ending: str, data: bytes, at: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{ending}"
        tables.write(str(path), ["bin", "qty"], [{"bin": f"A{n}", "qty": n} for n in range(20)])
        whole = path.read_bytes()
        cut = int(at * len(whole))
        path.write_bytes(whole[:cut] + data + whole[cut + len(data) :])
        try:
            list(tables.read(str(path)))
        except InputError as error:
            assert "\n" not in str(error)


def test_a_workbook_that_unpacks_to_a_flood_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    path.write_bytes(workbook(xl__sharedStrings_xml=b"<"))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24  # the size that the directory names
    data[place : place + 4] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(InputError, match="fill the memory"):
        list(tables.read(str(path)))


def test_a_workbook_of_endless_rows_or_cells_is_refused(tmp_path: Path) -> None:
    for cell in (b'<row r="4000000"><c r="A4000000"', b'<row r="2"><c r="ZZZ2"'):
        tables.write(f"{tmp_path}/a.xlsx", ["bin"], [{"bin": "A"}])
        changed(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", b'<row r="2"><c r="A2"', cell)
        with pytest.raises(InputError, match="too large"):
            list(tables.read(f"{tmp_path}/a.xlsx"))


def test_an_encrypted_part_is_said(tmp_path: Path) -> None:
    tables.write(f"{tmp_path}/a.xlsx", ["bin"], [{"bin": "A"}])
    data = bytearray((tmp_path / "a.xlsx").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(InputError, match="without a password"):
        list(tables.read(f"{tmp_path}/a.xlsx"))


def test_a_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    for ending in ENDINGS:
        path = tmp_path / f"table{ending}"
        path.write_text("old")

        def rows() -> object:
            yield {"bin": "A"}
            raise InputError("The book cannot be read", "it is gone", "look")

        with pytest.raises(InputError, match="It is gone"):
            tables.write(str(path), ["bin"], rows())  # type: ignore[arg-type]
        assert path.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"table{ending}" for ending in ENDINGS)


def test_what_excel_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="32,767"):
        tables.write(f"{tmp_path}/a.xlsx", ["rule"], [{"rule": "x" * 32_768}])
    monkeypatch.setattr("binventory.book.exchange.workbooks.MOST_ROWS", 3)
    row: Mapping[str, object] = {"bin": "A"}
    assert tables.write(f"{tmp_path}/a.xlsx", ["bin"], [row] * 2) == 2
    with pytest.raises(InputError, match=r"\.parquet"):
        tables.write(f"{tmp_path}/b.xlsx", ["bin"], [row] * 3)
    assert not (tmp_path / "b.xlsx").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for ending in ENDINGS:
        with pytest.raises(OutsideError, match="cannot be written"):
            tables.write(f"{tmp_path}/file/a{ending}", ["bin"], [{"bin": "A"}])


@pytest.mark.parametrize("text", ["bin;qty\nA;1\n", '{"bin": "A", "qty": "1"}\n', '[{"bin": "A", "qty": "1"}]'])
def test_standard_input_may_be_csv_or_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert [row for _, row in tables.read("-")] == [{"bin": "A", "qty": "1"}]


def test_tables_lie_in_a_bucket_as_on_the_disk(signed: S3Server) -> None:
    for ending in (".csv", ".xlsx", ".parquet"):
        address = f"s3://private/tables/table{ending}"
        tables.write(address, ["bin"], [{"bin": "=A"}])
        assert [row for _, row in tables.read(address)] == [{"bin": "=A"}]
