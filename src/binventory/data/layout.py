"""How photos and records lie in a folder or S3 prefix, and what their labels say.

Three layouts, told apart by what is there: the bucket's (``bin-images/<id>.jpg``, ``metadata/<id>.json`` and/or
``labels.csv``), class folders (``1/ 2/ 3/``), and photos alone, with ``labels.csv`` or without.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import msgspec

from binventory import objects
from binventory.errors import BinventoryError, InputError, MissingError, RecordError
from binventory.photo import SUFFIXES
from binventory.records import BinRecord, Item

ABSURD_QUANTITY = 100_000
_MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Label:
    """A quantity that a file states for an id; ``place`` names the file."""

    quantity: int
    place: str


@dataclass(frozen=True, slots=True)
class Found:
    """A photo found in a source. ``id`` is its file name without ending, a string always: 1044 is not 01044."""

    id: str
    address: str
    source: str
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Something refused: the id it concerns ("" where none), the address, and why."""

    id: str
    address: str
    error: BinventoryError


@dataclass(frozen=True, slots=True)
class Source:
    """What one folder or prefix holds: its photos, the addresses of its records by id, every label of ``labels.csv``
    by id, and what was refused."""

    address: str
    photos: tuple[Found, ...]
    records: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()


def scan(address: str) -> Source:
    """List a source's photos and records and read its ``labels.csv``; records and pixels are not read yet.

    Records may lie there alone, so that photos can be chosen by them before they are fetched.

    Raises InputError where there is no such folder or neither photo nor record in it, OutsideError where S3 does not
    answer.
    """
    root = address.rstrip("/") or address
    bucket = f"{root}/bin-images"
    records = _records(f"{root}/metadata")
    try:
        places = list(objects.find(bucket, SUFFIXES))
        has_bucket = places != [bucket]
    except MissingError:
        has_bucket = False
    if not has_bucket:
        places = _anywhere(root, bool(records))
    good, odd = [place for place in places if place.isprintable()], [one for one in places if not one.isprintable()]
    photos = tuple(
        Found(PurePosixPath(place).stem, place, root, None if has_bucket else _class_of(place)) for place in good
    )
    labels, rejects = _labels(f"{root}/labels.csv")
    return Source(root, photos, records, labels, (*rejects, *map(_unprintable, odd)))


def _anywhere(root: str, has_records: bool) -> list[str]:
    """The photos of a folder without ``bin-images``."""
    try:
        places = list(objects.find(root, SUFFIXES))
    except MissingError:
        if has_records:
            return []
        raise MissingError(
            f"{root} holds no photos", "nothing there ends as photos do, and it has no metadata/*.json",
            "check the path, or binventory fetch --out DIR",
        ) from None  # fmt: skip
    if places == [root] and not objects.is_remote(root):
        objects.read(root, _MOST_BYTES)  # tells what is wrong with a path that is no folder
        raise InputError(f"{root} is not a folder", "data is a folder of photos", "give the folder it lies in")
    return places


def read_record(address: str) -> BinRecord:
    """A bin's metadata in the bucket's format. Whatever is missing, null, negative or absurd is kept and flagged.

    ``quantity`` is ``EXPECTED_QUANTITY`` where that is a whole number from 0 to 100,000, the sum of the items where
    it is missing, else None. Raises RecordError where the file is no JSON object.
    """
    try:
        raw = msgspec.json.decode(objects.read(address, _MOST_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{address} is no record", f"it does not read as JSON ({error})", "fetch it again") from None
    if not isinstance(raw, dict):
        raise RecordError(f"{address} is no record", "it holds no JSON object", "fetch it again")
    flags: list[str] = []
    lines = raw.get("BIN_FCSKU_DATA")
    if not isinstance(lines, dict):
        flags.append("items missing")
        lines = {}
    items = tuple(_item(str(sku), line, flags) for sku, line in lines.items())
    return BinRecord(_expected(raw, items, flags), items, tuple(dict.fromkeys(flags)))


def _expected(raw: Mapping[str, Any], items: tuple[Item, ...], flags: list[str]) -> int | None:
    known = [item.quantity for item in items if item.quantity is not None]
    total = sum(known) if items and len(known) == len(items) and min(known) >= 0 else None
    stated = raw.get("EXPECTED_QUANTITY")
    if stated is None:
        flags.append("quantity missing")
        return total
    quantity = _whole(stated)
    if quantity is None or not 0 <= quantity <= ABSURD_QUANTITY:
        flags.append("quantity absurd")
        return None
    if total is not None and total != quantity:
        flags.append("quantities do not add up")
    return quantity


def _item(sku: str, line: object, flags: list[str]) -> Item:
    if not isinstance(line, dict):
        flags.append("item unreadable")
        return Item(sku, None, None, None, None, None, None, None)
    quantity = _whole(line.get("quantity"))
    if quantity is None or not 0 <= quantity <= ABSURD_QUANTITY:
        flags.append("item quantity missing" if line.get("quantity") is None else "item quantity absurd")
    sizes = (_measure(line.get(name), flags) for name in ("height", "length", "width", "weight"))
    height, length, width, weight = sizes
    return Item(sku, _text(line.get("asin")), _text(line.get("name")), quantity, height, length, width, weight)


def _measure(value: object, flags: list[str]) -> float | None:
    number = value.get("value") if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        flags.append("size missing")
        return None
    if not 0 < number < 10_000:
        flags.append("size absurd")
    return float(number)


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**62:
        return None
    return int(value) if int(value) == value else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def id_of(text: str) -> str:
    """The id that a user wrote: blanks around it and a photo's ending dropped."""
    name = PurePosixPath(text.strip())
    return name.stem if name.suffix.lower() in SUFFIXES else text.strip()


def _unprintable(place: str) -> Reject:
    """A name with line ends or broken UTF-8 cannot stand in a table, a list of ids or JSON."""
    named = ascii(place)[1:-1]
    return Reject("", named, RecordError(f"{named} has an unprintable name", "it can be no id", "rename it"))


def _class_of(place: str) -> Label | None:
    """The class folder that a photo lies in, if its folder's name is a number."""
    folder = PurePosixPath(place).parent.name
    return Label(int(folder), place.rpartition("/")[0]) if folder.isdecimal() and len(folder) <= 5 else None


def _records(folder: str) -> dict[str, str]:
    try:
        places = list(objects.find(folder, frozenset({".json"})))
    except MissingError:
        return {}
    # os.path, since a bucket has half a million of these and PurePosixPath takes its time
    return {os.path.basename(one)[:-5]: one for one in places if one.endswith(".json") and one.isprintable()}


def _labels(address: str) -> tuple[dict[str, tuple[Label, ...]], tuple[Reject, ...]]:
    """The labels of ``labels.csv`` by id: more than one where it contradicts itself. Blank counts are no labels."""
    try:
        data = objects.read(address, _MOST_BYTES)
    except MissingError:
        return {}, ()
    labels: dict[str, dict[int, Label]] = {}
    rejects: list[Reject] = []
    try:
        rows = list(_rows(data, address))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{address} is no CSV", str(error), "save it as UTF-8 with the header id,count") from None
    for line, id, text in rows:
        quantity = _whole_text(text)
        if quantity is not None and 0 <= quantity <= ABSURD_QUANTITY:
            labels.setdefault(id, {}).setdefault(quantity, Label(quantity, address))
        elif text:
            why = f"line {line} says {text[:40]!r}, not a whole number from 0 to {ABSURD_QUANTITY:,}"
            rejects.append(Reject(id, address, RecordError(f"{address} has no count for {id}", why, "mend that line")))
    return {id: tuple(found.values()) for id, found in labels.items()}, tuple(rejects)


def _rows(data: bytes, address: str) -> Iterator[tuple[int, str, str]]:
    text = data.decode("utf-8-sig")
    first = text.partition("\n")[0]
    # What a spreadsheet writes as CSV depends on its country.
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(reader, [])]
    if "id" not in header or "count" not in header:
        raise RecordError(f"{address} has no header id,count", f"its first line is {','.join(header)[:60]!r}",
                          "name its columns id,count")  # fmt: skip
    at_id, at_count = header.index("id"), header.index("count")
    for row in reader:
        if len(row) > max(at_id, at_count):
            yield reader.line_num, id_of(row[at_id]), row[at_count].strip()


def _whole_text(text: str) -> int | None:
    return _whole(float(text)) if re.fullmatch(r"-?\d{1,9}(\.0*)?", text, re.ASCII) else None
