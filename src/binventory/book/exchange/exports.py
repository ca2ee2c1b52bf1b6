"""Entries as rows of tables, and back; and any other records of the book's as rows.

A row has an entry's own columns and those of its kind; where a table has a cell for one thing, lists and objects stand
in it as JSON text. What is read back is equal to what was written, in every format that ``tables`` knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec

from binventory.book.entries import KINDS, Declared, Entry, Expected, Moved, stamped
from binventory.book.exchange import tables
from binventory.book.exchange.cells import Line, Row
from binventory.book.exchange.imports import CONSIGNMENT, EXPECTATION, ITEM, MOVEMENT
from binventory.errors import RecordError

_OWN = ("seq", "kind", "key", "bin", "at", "entered", "who", "consignment")


def columns(kinds: Iterable[str] = KINDS) -> tuple[str, ...]:
    """The columns of a table of entries of these kinds: an entry's own, then those of each kind."""
    bodies = [field.name for kind in kinds for field in dataclasses.fields(KINDS[kind])]
    return tuple(dict.fromkeys((*_OWN, *bodies)))


def write(address: str, entries: Iterable[Entry], kinds: Iterable[str] = KINDS) -> int:
    """Write entries of these kinds as a table, one row an entry; how many there were.

    Raises as ``tables.write`` does.
    """
    return tables.write(address, columns(kinds), (entry.as_row() for entry in entries))


def read(address: str) -> Iterator[Entry]:
    """The entries of a table that ``write`` made. Raises InputError where it is none, RecordError for a row."""
    return entries_of(tables.read(address), address)


def entries_of(rows: Iterable[Line], source: str) -> Iterator[Entry]:
    """The entries of a table's rows, equal to those it was written from. Raises RecordError for a row that is none."""
    for line, row in rows:
        try:
            yield _entry(row)
        except (KeyError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            told = RecordError(f"Line {line} of {source} is no entry", why, "export it from the book again")
            raise told from None


def expectations(entries: Iterable[Entry]) -> Iterator[dict[str, object]]:
    """Expectations as the import's rows (``imports.EXPECTATION``), one a line of a bin; its total where it has none."""
    for entry in entries:
        if isinstance(entry.body, Expected):
            yield from _records(entry, entry.body, {})


def consignments(entries: Iterable[Entry]) -> Iterator[dict[str, object]]:
    """Consignments as the import's rows (``imports.CONSIGNMENT``)."""
    for entry in entries:
        if isinstance(entry.body, Declared):
            yield from _records(entry, entry.body, {"consignment": entry.consignment, "sscc": entry.body.sscc})


def movements(entries: Iterable[Entry]) -> Iterator[dict[str, object]]:
    """Movements as the import's rows (``imports.MOVEMENT``)."""
    for entry in entries:
        if isinstance(entry.body, Moved):
            yield {"bin": entry.bin, "at": stamped(entry.at), "key": entry.key} | dataclasses.asdict(entry.body)


IMPORTED = {"expectation": (EXPECTATION, expectations), "movement": (MOVEMENT, movements),
            "consignment": (CONSIGNMENT, consignments)}  # fmt: skip
"""Columns and rows, by kind, of what another book or system can import."""


def write_imported(address: str, kind: str, entries: Iterable[Entry]) -> int:
    """Write the entries of a kind of ``IMPORTED`` as the import takes them; how many rows. Raises as ``write``."""
    names, rows = IMPORTED[kind]
    return tables.write(address, names, rows(entries))


def write_records(address: str, kind: type, records: Iterable[Any]) -> int:
    """Write frozen records of one class (stock, plan …) as a table, a column a field. Raises as ``tables.write``."""
    names = [field.name for field in dataclasses.fields(kind)]
    return tables.write(address, names, ({name: getattr(one, name) for name in names} for one in records))


def _records(entry: Entry, body: Expected | Declared, own: Mapping[str, object]) -> Iterator[dict[str, object]]:
    own = {"bin": entry.bin, "at": stamped(entry.at), "source": body.source, **own}
    quantities = [item.quantity for item in body.items]
    if not quantities or None in quantities:
        yield {**own, "quantity": body.quantity}
    for item in body.items:
        yield {**own, "quantity": item.quantity} | {name: getattr(item, name) for name in ITEM}


def _entry(row: Row) -> Entry:
    kind = str(row["kind"])
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of entry")
    body: Any = msgspec.convert(_values(row, KINDS[kind]), KINDS[kind])
    own = msgspec.convert(_values(row, _Own), _Own)
    entered = None if own.entered is None else datetime.fromisoformat(own.entered)
    at = datetime.fromisoformat(own.at)
    return Entry(own.key, own.bin, at, own.who, body, own.consignment, own.seq, entered)


@dataclasses.dataclass(frozen=True, slots=True)
class _Own:
    """An entry's own columns as they are written."""

    key: str
    at: str
    who: str
    bin: str | None = None
    consignment: str | None = None
    seq: int | None = None
    entered: str | None = None


def _values(row: Row, kind: type) -> dict[str, object]:
    """The cells of a class's fields: text as it is, anything else decoded where it stands as text."""
    values: dict[str, object] = {}
    for name, is_text, may_lack in _fields(kind):
        cell = row.get(name)
        if cell is None:
            values |= {name: None} if may_lack else {}
        elif is_text:
            values[name] = str(cell)
        else:
            values[name] = msgspec.json.decode(cell) if isinstance(cell, str) else cell
    return values


@cache
def _fields(kind: type) -> tuple[tuple[str, bool, bool], ...]:
    """Of each field of a class its name, whether it is text, and whether it may be None."""
    found = []
    for name, hint in get_type_hints(kind).items():
        parts = set(get_args(hint)) or {hint}
        texts = parts - {type(None)}
        is_text = all(part is str or isinstance(part, str) for part in texts)  # also of Literal, whose parts are text
        found.append((name, is_text, type(None) in parts))
    return tuple(found)
