"""What stands in a table's cells, whatever the file's kind: text, numbers, nothing. Pure.

A spreadsheet takes text that begins with ``= + - @`` for a formula. Such text is written with an apostrophe before it
(the sign by which spreadsheets themselves mark text) and read back without. The same apostrophe tells empty text,
written ``'``, from no value, written as nothing. Text that itself begins with an apostrophe gets one more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal

import msgspec

from binventory.errors import InputError

Cell = str | int | float | None
Row = Mapping[str, Cell]
"""Cells by lower-cased column name."""
Line = tuple[int, Row]
"""A row and where it stands, as a person finds it: the line of a text file or workbook, the place from 1 elsewhere."""

_FORMULA = tuple("=+-@\t\r\n＝＋－＠'")


def plain(value: object) -> Cell:
    """A value as a cell: times as ISO 8601, lists and objects as JSON text, what is no finite number as nothing."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return plain(int(value) if value == value.to_integral_value() else float(value)) if value.is_finite() else None
    return msgspec.json.encode(value, enc_hook=str).decode()


def as_text(cell: Cell) -> str:
    """A cell as CSV has it: no value as nothing, text guarded against formulas."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return guarded(cell) if isinstance(cell, str) else repr(cell)


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) or not text else text


def unguarded(text: str) -> str:
    """What ``guarded`` was given."""
    return text[1:] if text == "'" or (text.startswith("'") and text[1:].startswith(_FORMULA)) else text


def heading(names: Iterable[Cell], name: str) -> list[str]:
    """The columns that a header names, lower case; "" where it names none. Raises InputError where two are one."""
    columns = ["" if cell is None else unguarded(str(cell)).strip().lower() for cell in names]
    named = [column for column in columns if column]
    if twice := next((column for column in named if named.count(column) > 1), None):
        raise InputError(f"{name} has two columns {twice!r}", "their cells cannot be told apart", "rename one of them")
    if not named:
        raise InputError(f"{name} holds no table", "its first line names no columns", "name them in the first line")
    return columns


def under(columns: Sequence[str], cells: Sequence[Cell], name: str, line: int) -> dict[str, Cell]:
    """A line's cells by the columns that they stand under; cells that are not there have no value.

    Raises InputError where a cell stands under no column.
    """
    if any(cell is not None for cell in cells[len(columns) :]):
        why = f"it has {len(cells)} cells, and the first line names {len(columns)} columns"
        raise InputError(f"Line {line} of {name} does not fit its columns", why,
                         "quote cells that hold the separator")  # fmt: skip
    row = dict.fromkeys(filter(None, columns), None) | dict(zip(columns, cells, strict=False))
    row.pop("", None)
    return row
