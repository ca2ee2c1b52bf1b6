"""Lists that users hand in: ids, sides, and ranges of quantities."""

from __future__ import annotations

import csv
import io

from binventory import objects
from binventory.errors import InputError, UsageError
from binventory.photo import SUFFIXES

_MOST_BYTES = 1 << 28


def read_ids(address: str) -> list[str]:
    """One id a line, endings of photo files dropped; blank lines and ``#`` comments left out. Raises InputError."""
    ids = [line.strip() for line in _text(address).splitlines() if line.strip() and not line.startswith("#")]
    return [id.rsplit(".", 1)[0] if id.lower().endswith(tuple(SUFFIXES)) else id for id in ids]


def read_sides(address: str) -> dict[str, str]:
    """The sides of a CSV with the header ``id,side``. Raises InputError where it has no such header."""
    reader = csv.DictReader(io.StringIO(_text(address)))
    if not {"id", "side"} <= set(reader.fieldnames or ()):
        found = ",".join(reader.fieldnames or ())[:60]
        raise InputError(f"{address} holds no sides", f"its header is {found!r}", "name its columns id,side")
    return {row["id"].strip(): (row["side"] or "").strip() for row in reader if row["id"]}


def parse_quantities(text: str) -> tuple[int, ...]:
    """The quantities of ``1-5`` or ``0,2,7-9``, each at most 10,000. Raises UsageError."""
    chosen: set[int] = set()
    for part in text.split(","):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        if not low.isdecimal() or (dash and not high.isdecimal()) or not int(low) <= int(high or low) <= 10_000:
            raise UsageError(f"Counts {text!r} do not read", f"{part.strip()!r} is no range", "--counts 1-5")
        chosen.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(chosen))


def _text(address: str) -> str:
    try:
        return objects.read(address, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{address} cannot be read", "it is not UTF-8 text", "save it as text") from None
