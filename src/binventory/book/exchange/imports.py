"""Rows of other systems' tables as entries: what they expect in a bin, what they moved, what a consignment declares.

Bad rows are told one by one and good ones kept; whether to enter the good ones alone is the caller's choice. A bin with
a bad row is left out whole, since a part of its lines would be a wrong total. The same file makes the same entries,
and so do rows that stand in two files at the same time and place.

Columns (other names of them: ``fields.COLUMNS``; case, blanks and unknown columns are ignored):

- expectations: ``bin``, ``quantity``, and optionally ``sku``, ``asin``, ``name``, ``gtin``, ``height``, ``length``,
  ``width`` (inches), ``weight`` (pounds), ``value`` (of one), ``at``, ``source``. Rows of one bin and time are one
  record; the row without a SKU is its total, without such a row it is the lines' sum. A SKU that comes twice is one
  line of their sum.
- movements: ``bin``, ``delta`` (or ``quantity`` and ``direction``: in or out), ``sku``, ``gtin``, ``reference``,
  ``reason``, ``at``. Movements of the same reference, bin, SKU, time and delta are one:
  a second one in the same table is a bad row.
- consignments: ``bin`` (or ``sscc``: the tote), ``quantity``, and optionally those of expectations, ``consignment``.

``at`` is ISO 8601, without a zone local time; where it is missing, what the caller gives as ``now``: the file's own
time, so that the same file, imported again, is the same entries.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from binventory import objects
from binventory.book.entries import Declared, Entry, Expected, Moved, keyed
from binventory.book.exchange import fields, tables
from binventory.book.exchange.cells import Cell, Line, Row
from binventory.errors import InputError, MissingError, RecordError
from binventory.records import Item

WHO = "import"

ITEM = ("sku", "asin", "name", "gtin", "height", "length", "width", "weight", "value")
EXPECTATION = ("bin", "quantity", *ITEM, "at", "source")
MOVEMENT = ("bin", "delta", "sku", "gtin", "reference", "reason", "at")
CONSIGNMENT = ("consignment", "bin", "sscc", "quantity", *ITEM, "at", "source")
"""The columns of each kind of table, as they are exported."""

_EXPECTATION = {column: fields.COLUMNS[column] for column in EXPECTATION}
_MOVEMENT = {column: fields.COLUMNS[column] for column in (*MOVEMENT, "asin", "quantity", "direction")}
_CONSIGNMENT = {column: fields.COLUMNS[column] for column in CONSIGNMENT} | {"bin": fields.TOTES}

_MOST_RECORD = 1 << 24


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that makes no entry: the line it stands in, and why."""

    line: int
    error: RecordError


@dataclass(frozen=True, slots=True)
class Read:
    """What a table's rows make: entries in the rows' order, and the rows that make none."""

    entries: tuple[Entry, ...]
    bad: tuple[Bad, ...]


@dataclass(slots=True)
class _Group:
    """The rows of one record while they are gathered: of one bin and time, or of one tote."""

    bin: str
    at: datetime
    lines: list[int] = field(default_factory=list)
    total: int | None = None
    items: dict[str, Item] = field(default_factory=dict)
    source: str = ""
    sscc: str | None = None
    consignment: str | None = None


def read_expectations(address: str, now: datetime) -> Read:
    """The expectations of a table, of a file of ABID's metadata (``<bin>.json``) or of a folder of these.

    ``now``: for rows without a time, where the address is no local file; those of a local file are of its own time.
    Raises InputError, OutsideError.
    """
    if os.path.isdir(address) or (objects.is_remote(address) and not os.path.splitext(address)[1]):
        try:
            addresses = list(objects.find(address, frozenset({".json"})))
        except MissingError:
            raise MissingError(f"{address} holds no records", "nothing there ends in .json", "check the path") from None
        reads = [_abid(one, now) for one in addresses]
        return Read(
            tuple(one for read in reads for one in read.entries), tuple(one for read in reads for one in read.bad)
        )
    if address.lower().endswith(".json"):
        data = objects.read(address, tables.MOST_BYTES)
        if data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" and b'"BIN_FCSKU_DATA"' in data:
            return _abid(address, now)
    return expectations(tables.read(address), _called(address), tables.modified(address, now))


def read_movements(address: str, now: datetime) -> Read:
    """The movements of a table, ``now`` as for expectations. Raises InputError, OutsideError."""
    return movements(tables.read(address), _called(address), tables.modified(address, now))


def read_consignment(address: str, now: datetime, name: str | None = None) -> Read:
    """The consignment of a table, ``now`` as for expectations. Raises InputError, OutsideError."""
    return consignment(tables.read(address), _called(address), tables.modified(address, now), name)


def expectations(rows: Iterable[Line], source: str, now: datetime) -> Read:
    """What a table says is in its bins, one entry a bin and time. ``source``: what the table is called.

    Raises InputError where it lacks a column that is needed, or names one twice.
    """
    return _grouped(rows, source, now, None)


def consignment(rows: Iterable[Line], source: str, now: datetime, name: str | None = None) -> Read:
    """What a consignment's sender says is in its totes, one entry a tote.

    ``name``: of the consignment, where no column says it; by default the source's name without its ending. A tote
    without a bin is called by its SSCC. Raises InputError as ``expectations`` does.
    """
    return _grouped(rows, source, now, name or os.path.splitext(os.path.basename(source))[0] or source)


def movements(rows: Iterable[Line], source: str, now: datetime) -> Read:
    """What a table says was put into bins (``delta`` > 0) or taken out, one entry a row.

    Raises InputError where it lacks a column that is needed, or names one twice.
    """
    lines = fields.named(rows, _MOVEMENT, [("bin",), ("delta", "direction")], source)
    entries: dict[str, tuple[int, Entry]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    bad: list[Bad] = []
    for line, row in lines:
        try:
            entry = _movement(row, now, seen)
            if twice := entries.get(entry.key):
                raise RecordError("The movement is told twice", f"line {twice[0]} says the same of this reference",
                                  "give a second one its own reference or time")  # fmt: skip
            entries[entry.key] = (line, entry)
        except RecordError as error:
            bad.append(_bad(line, source, error))
    return Read(tuple(entry for _, entry in entries.values()), tuple(bad))


def _movement(row: Row, now: datetime, seen: Counter[tuple[object, ...]]) -> Entry:
    bin = fields.needed(fields.identity(row, "bin"), "bin")
    delta = fields.whole(row, "delta", -fields.MOST)
    if delta is None and row.get("direction") is not None:
        delta = fields.sign(row) * fields.needed(fields.whole(row, "quantity"), "quantity")
    delta = fields.needed(delta, "delta")
    at = fields.moment(row, "at", now)
    sku = fields.identity(row, "sku") or fields.identity(row, "asin")
    body = Moved(delta, sku, fields.code(row, "gtin"),
                 fields.identity(row, "reference") or "", fields.text(row, "reason") or "")  # fmt: skip
    if body.reference:
        return Entry(keyed("movement", bin, body.reference, sku or "", at, delta), bin, at, WHO, body)
    same = (bin, at, sku or "", delta)
    seen[same] += 1
    return Entry(keyed("movement", *same, seen[same] - 1), bin, at, WHO, body)


def _grouped(rows: Iterable[Line], source: str, now: datetime, name: str | None) -> Read:
    """Rows gathered to records: of a bin and time, or, where a name is given, of a consignment's tote."""
    columns, bins = (_EXPECTATION, ("bin",)) if name is None else (_CONSIGNMENT, ("bin", "sscc"))
    groups: dict[tuple[object, ...], _Group] = {}
    spoilt: dict[str, int] = {}
    bad: list[Bad] = []
    for line, row in fields.named(rows, columns, [bins, ("quantity",)], source):
        bin = fields.text(row, "bin") or fields.text(row, "sscc")
        try:
            sscc = fields.code(row, "sscc")
            bin = fields.needed(fields.identity(row, "bin") or sscc, "bin")
            at = fields.moment(row, "at", now)
            whose = fields.identity(row, "consignment") or name
            made = _Group(bin, at, source=fields.text(row, "source") or source, sscc=sscc, consignment=whose)
            group = groups.setdefault((bin, at) if name is None else (bin, whose), made)
            if (group.sscc, group.at) != (sscc, at):
                raise RecordError(f"Tote {bin} contradicts an earlier line", "its SSCC or time is another",
                                  "give each tote one")  # fmt: skip
            _add(group, row)
            group.lines.append(line)
        except RecordError as error:
            bad.append(_bad(line, source, error))
            if bin is not None:
                spoilt.setdefault(bin, line)
    entries = []
    for group in groups.values():
        try:
            if group.bin not in spoilt:
                entries.append(_entry(group))
            elif group.lines:
                raise RecordError(f"Bin {group.bin} is left out", f"line {spoilt[group.bin]} of it cannot be used",
                                  "mend that line and import it again")  # fmt: skip
        except RecordError as error:
            bad.append(_bad(group.lines[0], source, error))
    return Read(tuple(entries), tuple(sorted(bad, key=lambda one: one.line)))


def _add(group: _Group, row: Row) -> None:
    """Add a row to its record: a line of it, or its total. Raises RecordError."""
    quantity = fields.whole(row, "quantity")
    asin = fields.identity(row, "asin")
    sku = fields.identity(row, "sku") or asin
    if sku is None:
        if group.total is not None:
            raise RecordError(f"The total of {group.bin} is said twice", "two of its rows have no SKU",
                              "keep one of them, or name their SKUs")  # fmt: skip
        group.total = fields.needed(quantity, "quantity")
        return
    sizes = {column: fields.measure(row, column) for column in ("height", "length", "width", "weight", "value")}
    item = Item(sku, asin, fields.text(row, "name"), quantity, gtin=fields.code(row, "gtin"), **sizes)
    had = group.items.get(sku)
    if had is None:
        group.items[sku] = item
    else:  # as by lot or pallet: one SKU, several rows
        parts = [had.quantity, item.quantity]
        total = None if None in parts else sum(part for part in parts if part is not None)
        group.items[sku] = replace(had, quantity=total)


def _entry(group: _Group) -> Entry:
    """The entry of a record whose rows are all there. Raises RecordError where they contradict each other."""
    items = tuple(group.items.values())
    known = [item.quantity for item in items if item.quantity is not None]
    total = group.total
    if total is None:
        if len(known) < len(items):
            raise RecordError(f"Bin {group.bin} has a line without a quantity", "and no row says its total",
                              "give the quantity, or a row without a SKU as the total")  # fmt: skip
        total = sum(known)
    if (items and len(known) == len(items) and sum(known) != total) or sum(known) > total:
        raise RecordError(f"Bin {group.bin} contradicts itself", f"its total is {total}, its lines sum to {sum(known)}",
                          "find out which is right")  # fmt: skip
    if total > fields.MOST:
        raise RecordError(f"Bin {group.bin} is too full", f"its lines sum to {total:,}", f"{fields.MOST:,} at most")
    content = msgspec.json.encode((total, items)).decode()
    if group.consignment is None:
        key = keyed("expectation", group.bin, group.at, content)
        return Entry(key, group.bin, group.at, WHO, Expected(total, items, group.source))
    key = keyed("consignment", group.consignment, group.bin, content)
    body = Declared(total, items, group.sscc, group.source)
    return Entry(key, group.bin, group.at, WHO, body, group.consignment)


def _abid(address: str, now: datetime) -> Read:
    """A bin's metadata as ABID has it. What it does not know of an article's sizes is left open."""
    source = _called(address)
    try:
        raw = msgspec.json.decode(objects.read(address, _MOST_RECORD))
        lines = raw.get("BIN_FCSKU_DATA") or {}
        rows = [_abid_row(sku, line) for sku, line in lines.items()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError) as error:
        told = RecordError("It is no record", f"it does not read as one ({error})", "export it again")
        return Read((), (_bad(1, source, told),))
    except InputError as error:
        return Read((), (Bad(1, RecordError(error.what, error.why, error.next)),))
    stated = _cell(raw.get("EXPECTED_QUANTITY"))
    if stated is not None or not rows:
        rows.insert(0, {"quantity": stated})
    bin = os.path.splitext(source)[0]
    return expectations([(1, row | {"bin": bin}) for row in rows], source, tables.modified(address, now))


def _abid_row(sku: str, line: dict[str, object]) -> dict[str, Cell]:
    row: dict[str, Cell] = {column: _cell(line.get(column)) for column in ("quantity", "asin", "name")}
    for column in ("height", "length", "width", "weight"):
        size = line.get(column)
        number = size.get("value") if isinstance(size, dict) else None
        row[column] = number if isinstance(number, int | float) and number > 0 else None
    return row | {"sku": sku}


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | int | float) else None


def _called(address: str) -> str:
    return "standard input" if address == objects.STDIN else os.path.basename(address.rstrip("/")) or address


def _bad(line: int, source: str, error: RecordError) -> Bad:
    what = error.what[:1].lower() + error.what[1:]
    return Bad(line, RecordError(f"Line {line} of {source} cannot be used", f"{what}: {error.why}", error.next))
