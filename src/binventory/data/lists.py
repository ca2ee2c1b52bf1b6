"""Lists that users hand in or take away: ids, ids by class, sides, and ranges of ids and quantities.

Ids by class are JSON as courses hand it out: ``{"1": ["data/metadata/100313.json", …], "2": …}``, where a class is a
count and an id the name of its record.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from binventory import objects
from binventory.data.layout import id_of
from binventory.errors import InputError, UsageError

_MOST_BYTES = 1 << 28
_MOST_IDS = 10_000_000


def read_ids(address: str) -> list[str]:
    """The ids of a list, each once and in its order. Raises InputError where it holds none.

    JSON of ids by class; or CSV whose first column is headed ``id``; or one id a line, blank lines and ``#`` comments
    left out. Endings of photo files are dropped.
    """
    text = _text(address)
    if text.lstrip().startswith(("{", "[")):
        ids = [id for ids in read_classes(address).values() for id in ids]
    else:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if lines and re.match(r"id\s*(,|$)", lines[0], re.IGNORECASE):
            lines = [line.partition(",")[0] for line in lines[1:]]
        ids = list(map(id_of, lines))
    if not ids:
        raise InputError(f"{address} names no ids", "there is none in it", "write one id a line")
    return list(dict.fromkeys(ids))


def read_classes(address: str) -> dict[str, list[str]]:
    """The ids of each class of a JSON list. Raises InputError."""
    try:
        classes = msgspec.json.decode(_text(address), type=dict[str, list[str]])
    except msgspec.MsgspecError as error:
        why = f"it holds no lists by class ({error})"
        raise InputError(f"{address} is no list of ids", why, '{"1": ["data/metadata/00001.json"]}') from None
    return {name: [_listed_id(place) for place in places] for name, places in classes.items()}


def write_classes(address: str, classes: Mapping[str, Sequence[str]]) -> None:
    """Write the ids of each class as such a JSON list. Raises OutsideError."""
    places = {name: [f"data/metadata/{id}.json" for id in ids] for name, ids in classes.items()}
    objects.write(address, json.dumps(places).encode())


def read_sides(address: str) -> dict[str, str]:
    """The sides of a CSV with the header ``id,side``. Raises InputError where it has none or contradicts itself."""
    sides: dict[str, str] = {}
    try:
        reader = csv.DictReader(io.StringIO(_text(address)))
        if not {"id", "side"} <= set(reader.fieldnames or ()):
            found = ",".join(reader.fieldnames or ())[:60]
            raise InputError(f"{address} holds no sides", f"its header is {found!r}", "name its columns id,side")
        for row in reader:
            id, side = id_of(row["id"] or ""), (row["side"] or "").strip()
            if id and sides.setdefault(id, side) != side:
                raise InputError(f"{address} gives {id} two sides", f"{sides[id]} and {side}", "keep one of the lines")
    except csv.Error as error:
        raise InputError(f"{address} is no CSV", str(error), "save it with the header id,side") from None
    return sides


def parse_ids(text: str) -> list[str]:
    """The ids of ``1044,01044``, each once. Raises UsageError where there is none."""
    ids = list(dict.fromkeys(id_of(part) for part in text.split(",") if part.strip()))
    if not ids:
        raise UsageError(f"Ids {text!r} do not read", "there is none among them", "--ids 00001,00002")
    return ids


def parse_range(text: str) -> list[str]:
    """The ids of ``00001-01000``: numbers, padded with zeros to the width of the first. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text.strip(), re.ASCII)
    low, high = (found[1], found[2]) if found else ("1", "0")
    if int(low) > int(high) or high != f"{int(high):0{len(low)}d}":
        why = "it goes from one number to a later one, padded alike"
        raise UsageError(f"Range {text!r} does not read", why, "--range 00001-01000")
    if int(high) - int(low) >= _MOST_IDS:
        raise UsageError(f"Range {text!r} is too wide", f"it may hold {_MOST_IDS:,} ids", "--all, or several ranges")
    return [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]


def parse_quantities(text: str) -> tuple[int, ...]:
    """The quantities of ``1-5`` or ``0,2,7-9``, each at most 99,999. Raises UsageError."""
    chosen: set[int] = set()
    for part in text.split(","):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        whole = re.fullmatch(r"\d{1,5}", low) and (not dash or re.fullmatch(r"\d{1,5}", high))
        if not whole or not int(low) <= int(high or low):
            raise UsageError(f"Counts {text!r} do not read", f"{part.strip()!r} is no range", "--counts 1-5")
        chosen.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(chosen))


def _listed_id(place: str) -> str:
    name = PurePosixPath(place.strip()).name
    return name.removesuffix(".json") if name.endswith(".json") else id_of(name)


def _text(address: str) -> str:
    try:
        return objects.read(address, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{address} cannot be read", "it is not UTF-8 text", "save it as text") from None
