"""Excel workbooks as tables. Text is written as text, never as a formula, and in the format that keeps it text when a
person edits it. What XML cannot hold is escaped as Excel does (``_x000D_``). Empty text is written as an apostrophe,
and text of apostrophes alone gets one more, so that no value and empty text stay two things."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from binventory.book.exchange.cells import Cell, Line, heading, plain, under
from binventory.errors import BinventoryError, InputError

MOST_ROWS = 1_048_576
"""What an Excel sheet holds, the header among them."""

_LONGEST_TEXT = 32_767
_MOST_CELLS = 1_000
_MOST_UNPACKED = 4 << 30
_MOST_STRINGS = 256 << 20
_WHOLE = 2**53
"""Excel's numbers are doubles, and it shows 15 digits; larger ones than this are written as text."""

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


def read(data: bytes, name: str) -> Iterator[Line]:
    """The rows of the first sheet. Raises InputError for what is no workbook, too large once unpacked, or encrypted."""
    import openpyxl  # slow to import, and seldom needed

    _refuse_bombs(data, name)
    try:
        with _unwarned():
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            sheets = book.worksheets
            if not sheets:
                raise InputError(f"{name} holds no table", "it has no sheet of cells", "put the table on a sheet")
            sheets[0].reset_dimensions()  # some programs write them wrong, and cells outside would be left out
            rows = sheets[0].iter_rows()
        columns: list[str] | None = None
        line = 0
        while batch := _some(rows):
            for cells in batch:
                line += 1
                if line > MOST_ROWS or len(cells) > _MOST_CELLS:
                    raise InputError(f"{name} is too large", f"a sheet may have {MOST_ROWS:,} rows of {_MOST_CELLS:,}"
                                     " cells", "export it as CSV")  # fmt: skip
                values = [_value(cell) for cell in cells]
                while values and values[-1] is None:
                    values.pop()
                if values and columns is None:
                    columns = heading(values, name)
                elif values and columns is not None:
                    yield line, under(columns, values, name, line)
    except BinventoryError:
        raise
    except Exception as error:  # openpyxl raises whatever a broken part of a workbook leads it to
        why = f"a part of it is broken ({type(error).__name__}: {error})"[:200]
        raise InputError(f"{name} is no Excel workbook", why, "open it in Excel and save it anew") from None
    if columns is None:
        raise InputError(f"{name} holds no table", "its first sheet is empty", "put the table on the first sheet")


def write(path: Path, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write the rows to one sheet. Raises InputError for more of them, or longer text, than it holds."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("binventory")
    sheet.freeze_panes = "A2"

    def cell(value: Cell) -> object:
        if value is None or isinstance(value, bool):
            return value
        made: Any = WriteOnlyCell(sheet)  # its own setter takes "=…" for a formula, and cuts text and digits short
        if not isinstance(value, str) and abs(value) <= _WHOLE:
            made._value, made.data_type = repr(value), "n"
            return made
        text = value if isinstance(value, str) else repr(value)
        text = _UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", text if text.strip("'") else text + "'")
        if len(text) > _LONGEST_TEXT:
            why = f"a cell would have {len(text):,} characters, and Excel takes {_LONGEST_TEXT:,}"
            raise InputError(f"{name} cannot be written", why, "write .csv, .jsonl or .parquet")
        made._value, made.data_type, made.number_format, made.quotePrefix = text, "s", "@", True
        return made

    try:
        sheet.append([cell(column) for column in columns])
        for line, row in enumerate(rows, 2):
            if line > MOST_ROWS:
                why = f"a sheet holds {MOST_ROWS - 1:,} rows under its header, and there are more"
                raise InputError(f"{name} cannot be written", why, "write .csv or .parquet, or one kind at a time")
            sheet.append([cell(plain(row.get(column))) for column in columns])
    finally:
        sheet.close()
    book.save(path)


def _value(cell: Any) -> Cell:
    value = cell.value
    if isinstance(value, str):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
        return text if text.strip("'") else text[:-1] if text else None
    if isinstance(value, int) and not isinstance(value, bool) and re.fullmatch("00+", cell.number_format):
        return f"{value:0{len(cell.number_format)}d}"  # an id that Excel shows as 00112
    return plain(value)


def _some(rows: Iterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    with _unwarned():
        return list(islice(rows, 1_000))


def _unwarned() -> warnings.catch_warnings[None]:
    """What openpyxl warns of (styles, dates that are none) says nothing to who reads a table."""
    return warnings.catch_warnings(action="ignore")


def _refuse_bombs(data: bytes, name: str) -> None:
    try:
        parts = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        why = f"it does not unpack ({error})"
        raise InputError(f"{name} is no Excel workbook", why, "open it in Excel and save it anew") from None
    if any(part.flag_bits & 1 for part in parts):
        raise InputError(f"{name} cannot be read", "it is encrypted", "save it without a password")
    strings = sum(part.file_size for part in parts if not part.filename.startswith("xl/worksheets/"))
    if strings > _MOST_STRINGS or sum(part.file_size for part in parts) > _MOST_UNPACKED:
        raise InputError(f"{name} is too large", "unpacked it would fill the memory", "export it as CSV")
