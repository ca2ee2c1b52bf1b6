"""Rows of other systems' tables as entries: what they expect in a bin, what they moved, what a consignment declares.

Bad rows are told one by one and good ones kept; whether to enter the good ones alone is the caller's choice. A bin with
a bad row is left out whole, since a part of its lines would be a wrong total. The same file makes the same entries,
and so do rows that stand in two files at the same time and place: an entry's key is what it tells, never where.

Columns (other names of them: ``fields.COLUMNS``; case, blanks and unknown columns are ignored):

- expectations: ``bin``, ``quantity``, and optionally ``sku``, ``asin``, ``name``, ``gtin``, ``height``, ``length``,
  ``width`` (inches), ``weight`` (pounds), ``value`` (of one), ``at``, ``source``. Rows of one bin and time are one
  record; the row without a SKU is its total, without such a row it is the lines' sum. A SKU that comes twice is one
  line of their sum.
- movements: ``bin``, ``delta`` (or ``quantity`` and ``direction``: in or out), ``sku``, ``gtin``, ``reference``,
  ``reason``, ``at``. A row with a time is known by it, one without by its reference: of these a second one in the same
  table is a bad row. One with neither is known by the bytes of its file, which may be copied or touched, not changed.
  ``key`` stands in exports alone, and says which movement it is.
- consignments: ``bin`` (or ``sscc``: the tote), ``quantity``, and optionally those of expectations, ``consignment``.

``at`` is ISO 8601, without a zone local time; where it is missing, the file's own time, and now for what has none: a
table that is piped in is a snapshot as of now.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo

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
MOVEMENT = ("bin", "delta", "sku", "gtin", "reference", "reason", "at", "key")
CONSIGNMENT = ("consignment", "bin", "sscc", "quantity", *ITEM, "at", "source")
"""The columns of each kind of table, as they are exported."""

_EXPECTATION = {column: fields.COLUMNS[column] for column in EXPECTATION}
_MOVEMENT = {column: fields.COLUMNS[column] for column in (*MOVEMENT, "asin", "quantity", "direction")}
_CONSIGNMENT = {column: fields.COLUMNS[column] for column in CONSIGNMENT} | {"bin": fields.TOTES}

_MOST_RECORD = 1 << 24
_KEY = re.compile(r"movement:[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows stand. ``name``: what their table is called. ``at``: when rows without a time were so, in UTC.
    ``now``: none may be more than a day later. ``digest``: of the file's bytes, sha256 in hex. ``clock``: the zone of
    times that name none (None: this machine's)."""

    name: str
    at: datetime
    now: datetime
    digest: str
    clock: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that makes no entry: the line it stands in, and why."""

    line: int
    error: RecordError


@dataclass(frozen=True, slots=True)
class Read:
    """What a table's rows make: entries in the rows' order, and the rows that make none. ``notes``: what to know
    before it is imported again, in sentences without a full stop."""

    entries: tuple[Entry, ...]
    bad: tuple[Bad, ...]
    notes: tuple[str, ...] = ()


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


def read_expectations(address: str, now: datetime, clock: tzinfo | None = None) -> Read:
    """The expectations of a table, of a file of ABID's metadata (``<bin>.json``) or of a folder of these.

    ``now``: of rows without a time, where the address is no local file; those of a local file are of its own time.
    ``clock``: the zone of times that name none (None: this machine's). Raises InputError, OutsideError.
    """
    if os.path.isdir(address) or (objects.is_remote(address) and not os.path.splitext(address)[1]):
        try:
            addresses = list(objects.find(address, frozenset({".json"})))
        except MissingError:
            raise MissingError(f"{address} holds no records", "nothing there ends in .json", "check the path") from None
        reads = [_abid(one, now, clock) for one in addresses]
        return Read(
            tuple(one for read in reads for one in read.entries), tuple(one for read in reads for one in read.bad)
        )
    data = objects.read(address, tables.MOST_BYTES)
    is_object = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    if address.lower().endswith(".json") and is_object and b'"BIN_FCSKU_DATA"' in data:
        return _abid(address, now, clock)
    return expectations(tables.rows(data, address), _origin(address, data, now, clock))


def read_movements(address: str, now: datetime, clock: tzinfo | None = None) -> Read:
    """The movements of a table, ``now`` as for expectations. Raises InputError, OutsideError."""
    data = objects.read(address, tables.MOST_BYTES)
    return movements(tables.rows(data, address), _origin(address, data, now, clock))


def read_consignment(address: str, now: datetime, clock: tzinfo | None = None, name: str | None = None) -> Read:
    """The consignment of a table, ``now`` as for expectations. ``name``: where no column says it; by default the
    file's, without its ending. Raises InputError, OutsideError."""
    data = objects.read(address, tables.MOST_BYTES)
    origin = _origin(address, data, now, clock)
    if name is None and address != objects.STDIN:
        name = os.path.splitext(origin.name)[0]
    return consignment(tables.rows(data, address), origin, name)


def expectations(rows: Iterable[Line], origin: Origin) -> Read:
    """What a table says is in its bins, one entry a bin and time.

    Raises InputError where it lacks a column that is needed, or names one twice.
    """
    lines = fields.named(rows, _EXPECTATION, [("bin",), ("quantity",)], origin.name)
    return _grouped(lines, origin, lambda _: None)


def consignment(rows: Iterable[Line], origin: Origin, name: str | None) -> Read:
    """What a consignment's sender says is in its totes, one entry a tote.

    ``name``: of the consignment, where no column says it; None: a column must. A tote without a bin is called by its
    SSCC. Raises InputError as ``expectations`` does, RecordError where the name cannot be one.
    """
    needed = [("bin", "sscc"), ("quantity",), *([("consignment",)] if name is None else [])]
    named = fields.identity({"consignment": name}, "consignment")
    lines = fields.named(rows, _CONSIGNMENT, needed, origin.name)
    return _grouped(
        lines, origin, lambda row: fields.needed(fields.identity(row, "consignment") or named, "consignment")
    )


def movements(rows: Iterable[Line], origin: Origin) -> Read:
    """What a table says was put into bins (``delta`` > 0) or taken out, one entry a row.

    Raises InputError where it lacks a column that is needed, or names one twice.
    """
    lines = fields.named(rows, _MOVEMENT, [("bin",), ("delta", "direction")], origin.name)
    entries: dict[str, tuple[int, Entry]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    bad: list[Bad] = []
    for line, row in lines:
        try:
            entry = _movement(row, origin, seen)
            if twice := entries.get(entry.key):
                raise RecordError("The movement is told twice", f"line {twice[0]} says the same",
                                  "give a second one its own reference or time")  # fmt: skip
            entries[entry.key] = (line, entry)
        except RecordError as error:
            bad.append(_bad(line, origin.name, error))
    unknown = sum(count for same, count in seen.items() if same[0] == origin.digest)
    return Read(tuple(entry for _, entry in entries.values()), tuple(bad), _notes(unknown))


def _notes(unknown: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    if unknown == 1:
        return ("1 row has neither a time nor a reference: in another file it counts again",)
    return (f"{unknown:,} rows have neither a time nor a reference: in another file they count again",)


def _movement(row: Row, origin: Origin, seen: Counter[tuple[object, ...]]) -> Entry:
    """The entry of a row. ``seen``: how many rows before it told the same, of those that are known by nothing else."""
    bin = fields.needed(fields.bin_name(row, "bin"), "bin")
    delta = fields.whole(row, "delta", -fields.MOST)
    if delta is None and row.get("direction") is not None:
        delta = fields.sign(row) * fields.needed(fields.whole(row, "quantity"), "quantity")
    delta = fields.needed(delta, "delta")
    told = fields.moment(row, "at", origin.now, origin.clock)
    sku = fields.identity(row, "sku") or fields.identity(row, "asin")
    body = Moved(delta, sku, fields.code(row, "gtin"),
                 fields.identity(row, "reference") or "", fields.text(row, "reason") or "")  # fmt: skip
    key = fields.text(row, "key") or ""
    if not _KEY.fullmatch(key):
        article = sku or body.gtin or ""
        same: tuple[object, ...] = (origin.digest, bin, article, delta)
        if told is not None:
            same = (bin, told, article, delta, body.reference)
        elif body.reference:
            same = (bin, body.reference, article, delta)
        key = keyed("movement", *same) if body.reference else keyed("movement", *same, seen[same])
        seen[same] += not body.reference
    return Entry(key, bin, told or origin.at, WHO, body)


def _grouped(lines: Iterable[Line], origin: Origin, whose: Callable[[Row], str | None]) -> Read:
    """Rows gathered to records: of a bin and time, or of a tote of the consignment ``whose`` it is."""
    groups: dict[tuple[object, ...], _Group] = {}
    spoilt: dict[str, int] = {}
    bad: list[Bad] = []
    for line, row in lines:
        bin = None
        try:
            bin = fields.bin_name(row, "bin")
            sscc = fields.code(row, "sscc")
            bin = fields.needed(bin or sscc, "bin")
            at = fields.moment(row, "at", origin.now, origin.clock) or origin.at
            source = fields.text(row, "source") or origin.name
            made = _Group(bin, at, source=source, sscc=sscc, consignment=whose(row))
            group = groups.setdefault((bin, made.consignment or at), made)
            if (group.sscc, group.at) != (sscc, at):
                raise RecordError(f"Tote {bin} contradicts an earlier line", "its SSCC or time is another",
                                  "give each tote one")  # fmt: skip
            _add(group, row)
            group.lines.append(line)
        except RecordError as error:
            bad.append(_bad(line, origin.name, error))
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
            bad.append(_bad(group.lines[0], origin.name, error))
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
    key = keyed("consignment", group.consignment, group.bin, group.at, group.sscc or "", content)
    body = Declared(total, items, group.sscc, group.source)
    return Entry(key, group.bin, group.at, WHO, body, group.consignment)


def _abid(address: str, now: datetime, clock: tzinfo | None) -> Read:
    """A bin's metadata as ABID has it. What it does not know of an article's sizes is left open."""
    source = _called(address)
    try:
        data = objects.read(address, _MOST_RECORD)
        raw = msgspec.json.decode(data)
        if not isinstance(raw, dict):
            raise msgspec.ValidationError("it holds no JSON object")
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
    return expectations([(1, row | {"bin": bin}) for row in rows], _origin(address, data, now, clock))


def _abid_row(sku: str, line: dict[str, object]) -> dict[str, Cell]:
    row: dict[str, Cell] = {column: _cell(line.get(column)) for column in ("quantity", "asin", "name")}
    for column in ("height", "length", "width", "weight"):
        size = line.get(column)
        number = size.get("value") if isinstance(size, dict) else None
        row[column] = number if isinstance(number, int | float) and number > 0 else None
    return row | {"sku": sku}


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | int | float) else None


def _origin(address: str, data: bytes, now: datetime, clock: tzinfo | None) -> Origin:
    """The origin of a file's rows. A file whose own time cannot be, as archives leave it, has none."""
    at = tables.modified(address, now)
    at = at if fields.possible(at, now) else now
    return Origin(_called(address), at.astimezone(UTC), now, hashlib.sha256(data).hexdigest(), clock)


def _called(address: str) -> str:
    return "standard input" if address == objects.STDIN else os.path.basename(address.rstrip("/")) or address


def _bad(line: int, source: str, error: RecordError) -> Bad:
    what = error.what[:1].lower() + error.what[1:]
    return Bad(line, RecordError(f"Line {line} of {source} cannot be used", f"{what}: {error.why}", error.next))
