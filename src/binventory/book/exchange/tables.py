"""Tables read from files and written to them: CSV, TSV, Excel, JSON, JSON lines and Parquet, by the name's ending.

What is written reads back as it was: text stays text (``00112``), no value is not empty text. Of numbers CSV keeps the
digits alone, so there they read back as text. JSON keeps lists and objects as they are; elsewhere they are JSON text,
and as such they are read everywhere. A number that is not finite is no value.
"""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from binventory import objects
from binventory.book.exchange import parquet, workbooks
from binventory.book.exchange.cells import Cell, Line, as_text, heading, plain, under, unguarded
from binventory.errors import InputError

MOST_BYTES = 1 << 31
_MOST_LINES = 10_000_000
_LONGEST_CELL = 1 << 24
_BREAKS = {"\u2028": b"\\u2028", "\u2029": b"\\u2029", "\x85": b"\\u0085"}
"""What JSON need not escape, and some readers of lines take for the end of one."""


def read(address: str) -> Iterator[Line]:
    """The rows of a table, each with the line it stands in; blank lines are left out. ``-`` is standard input.

    CSV is UTF-8 (or UTF-16 with its mark) with ``,``, ``;`` or a tab between cells, whichever the first line holds
    most of; of a workbook the first sheet is read, a formula as its last result, a date as ISO 8601.

    Raises InputError for what is missing, too large, or not what its ending says, with the line where one is to blame;
    much of it only when the rows are taken.
    """
    return rows(objects.read(address, MOST_BYTES), address)


def rows(data: bytes, address: str) -> Iterator[Line]:
    """The rows of a table whose bytes were read at an address. Raises InputError as ``read`` does."""
    name = "standard input" if address == objects.STDIN else address
    if address == objects.STDIN:
        ending = {b"[": ".json", b"{": ".jsonl"}.get(data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1], ".csv")
    else:
        ending = _ending(address, _READERS)
    return _few(_READERS[ending](_fitting(data, ending, name), name), name)


def write(address: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows as a table of these columns; how many there were. What a row does not have is no value.

    A reader sees the old file or the new one, never a half. Raises InputError for an ending of no kind of table and
    for what Excel cannot hold, OutsideError where the disk or S3 fails.
    """
    writer = _WRITERS[_ending(address, _WRITERS)]
    places = count()
    with _written(address) as path:
        writer(path, address, columns, (row for row, _ in zip(rows, places, strict=False)))
    return next(places)


def modified(address: str, otherwise: datetime) -> datetime:
    """When a local file was last written, in UTC; ``otherwise`` for what is none."""
    with suppress(OSError, ValueError):
        if address != objects.STDIN and not objects.is_remote(address):
            return datetime.fromtimestamp(os.stat(address).st_mtime, UTC)
    return otherwise


def _ending(address: str, kinds: Mapping[str, object]) -> str:
    ending = os.path.splitext(address)[1].lower()
    if ending not in kinds:
        why = f"its name ends in {ending!r}" if ending else "its name has no ending"
        raise InputError(f"{address} is no table", why, f"save it as one of {', '.join(kinds)}")
    return ending


def _fitting(data: bytes, ending: str, name: str) -> bytes:
    """The data, where it is not plainly of another kind than its ending says. Raises InputError."""
    kinds = {b"PK\x03\x04": ("an Excel workbook or archive", ".xlsx", (".xlsx", ".xlsm")),
             b"PAR1": ("Parquet", ".parquet", (".parquet",)),
             b"\xd0\xcf\x11\xe0": ("an encrypted workbook or one of Excel's old format", "", ())}  # fmt: skip
    for magic, (what, right, endings) in kinds.items():
        if data.startswith(magic) and ending not in endings:
            next = f"give it the ending {right}" if right else "save it as .xlsx without a password"
            raise InputError(f"{name} does not read as {ending}", f"it is {what}", next)
    return data


def _few(lines: Iterator[Line], name: str) -> Iterator[Line]:
    for place, line in enumerate(lines):
        if place == _MOST_LINES:
            raise InputError(f"{name} is too long", f"it has more than {_MOST_LINES:,} rows", "cut it in parts")
        yield line


@contextmanager
def _written(address: str) -> Iterator[Path]:
    """A local path whose file, once written, is what stands at the address."""
    if not objects.is_remote(address):
        with objects.replacing(Path(address)) as path:
            yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "table"
        yield path
        objects.write(address, path.read_bytes())


def _read_csv(data: bytes, name: str) -> Iterator[Line]:
    return _read_separated(data, name, ",;\t")


def _read_tsv(data: bytes, name: str) -> Iterator[Line]:
    return _read_separated(data, name, "\t")


def _read_separated(data: bytes, name: str, separators: str) -> Iterator[Line]:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    columns: list[str] | None = None
    line = skipped = 0
    try:
        first = next((text for text in lines if not text.isspace()), "")
        lines.seek(0)
        if stated := re.fullmatch(r"sep=(.)\s*", first):  # Excel's own way to name the separator
            separators = stated[1]
            lines.readline()
            skipped = 1
        outside = re.sub(r'"[^"]*"', "", first)
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        reader = csv.reader(lines, delimiter=max(separators, key=outside.count), strict=True)
        line = skipped + 1
        for cells in reader:  # strict: a quote left open swallows no lines
            if any(cells):
                if columns is None:
                    columns = heading(cells, name)
                else:
                    yield line, under(columns, [unguarded(cell) if cell else None for cell in cells], name, line)
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name} is no CSV", f"line {line}: {error}", "quote its cells anew") from None
    except UnicodeDecodeError:
        why = f"line {_first_undecoded(data)} is no UTF-8 text" if encoding == "utf-8-sig" else "it is no UTF-16 text"
        raise InputError(f"{name} cannot be read", why, "save it as UTF-8 (in Excel: CSV UTF-8)") from None
    if columns is None:
        raise InputError(f"{name} holds no table", "it is empty", "name its columns in the first line")


def _first_undecoded(data: bytes) -> int:
    for line, text in enumerate(io.BytesIO(data), 1):
        try:
            text.decode()
        except UnicodeDecodeError:
            return line
    return 1


def _read_json(data: bytes, name: str) -> Iterator[Line]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.lstrip().startswith(b"["):  # one object a line, which many programs call JSON, too
        yield from _read_json_lines(data, name)
        return
    for place, row in enumerate(_decoded(data, list[msgspec.Raw], f"{name} is no JSON"), 1):
        yield place, _object(row, f"Row {place} of {name}")


def _read_json_lines(data: bytes, name: str) -> Iterator[Line]:
    lines = io.BytesIO(data.removeprefix(b"\xef\xbb\xbf"))  # of bytes: they end at \n alone, not at U+2028
    for place, line in enumerate(lines, 1):
        if not line.isspace():
            yield place, _object(line, f"Line {place} of {name}")


def _object(text: bytes | msgspec.Raw, where: str) -> dict[str, Cell]:
    value = _decoded(text, dict[str, Any], f"{where} is no row")
    columns = heading(value, where) if value else []
    row = dict(zip(columns, map(plain, value.values()), strict=True))
    row.pop("", None)
    return row


def _decoded(text: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InputError(what, f"it does not read ({error})", 'write objects such as {"bin": "A-01"}') from None


def _separated(separator: str) -> Writer:
    def write(path: Path, _: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, delimiter=separator, lineterminator="\r\n")
            table.writerow([as_text(column) for column in columns])
            table.writerows([as_text(plain(row.get(column))) for column in columns] for row in rows)

    return write


def _write_json(path: Path, _: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    between = b"[\n"
    with path.open("wb") as file:
        for row in rows:
            file.write(between + _encoded(row, columns))
            between = b",\n"
        file.write(b"\n]\n" if between == b",\n" else b"[]\n")


def _write_json_lines(path: Path, _: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("wb") as file:
        file.writelines(_encoded(row, columns) + b"\n" for row in rows)


def _encoded(row: Mapping[str, object], columns: Sequence[str]) -> bytes:
    """A row as one line of JSON, without the columns that it does not have."""
    text = msgspec.json.encode({column: row[column] for column in columns if column in row}, enc_hook=str)
    for sign, escaped in _BREAKS.items():
        text = text.replace(sign.encode(), escaped)
    return text


T = TypeVar("T")
Reader = Callable[[bytes, str], Iterator[Line]]
Writer = Callable[[Path, str, Sequence[str], Iterable[Mapping[str, object]]], None]

_READERS: dict[str, Reader] = {
    ".csv": _read_csv, ".tsv": _read_tsv, ".txt": _read_csv, ".xlsx": workbooks.read, ".xlsm": workbooks.read,
    ".json": _read_json, ".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".parquet": parquet.read,
}  # fmt: skip
_WRITERS: dict[str, Writer] = {
    ".csv": _separated(","), ".tsv": _separated("\t"), ".xlsx": workbooks.write, ".json": _write_json,
    ".jsonl": _write_json_lines, ".ndjson": _write_json_lines, ".parquet": parquet.write,
}  # fmt: skip
