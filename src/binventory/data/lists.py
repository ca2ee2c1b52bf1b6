"""Lists that users hand in: ids, sides, and ranges of quantities."""

from __future__ import annotations

import csv
import io
import re

from binventory import objects
from binventory.data.layout import id_of
from binventory.errors import InputError, UsageError

_MOST_BYTES = 1 << 28


def read_ids(address: str) -> list[str]:
    """One id a line, endings of photo files dropped; blank lines and ``#`` comments left out. Raises InputError."""
    lines = (line.strip() for line in _text(address).splitlines())
    return [id_of(line) for line in lines if line and not line.startswith("#")]


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


def _text(address: str) -> str:
    try:
        return objects.read(address, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{address} cannot be read", "it is not UTF-8 text", "save it as text") from None
