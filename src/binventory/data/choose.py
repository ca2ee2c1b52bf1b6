"""Ids chosen from a catalogue: by a condition in SQL, or so many of each count by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from binventory.data import split, tables
from binventory.errors import UsageError

_BINS = "(select * from photos union all by name select id, quantity as count, flags from records where not photo)"
"""Photos, and records whose photo is not there yet: both can be chosen."""

_COUNTED = f"select id, count from {_BINS} where count is not null"


def where(work: Path, condition: str) -> list[str]:
    """The ids for which an SQL condition holds, in order: on the columns of ``photos``, of which a record without a
    photo has ``id``, ``count`` and ``flags``. Raises UsageError where it does not run."""
    # the line's end keeps a comment in the condition from swallowing the bracket
    columns, rows = tables.query(work, f"select id from {_BINS} where ({condition}\n) order by id")
    if columns != ["id"]:
        raise UsageError("The condition does not read", "it is more than one condition", "--where 'count = 5'")
    return [str(id) for (id,) in rows]


def labelled(work: Path, side: str | None = None) -> list[tuple[str, int]]:
    """Ids and counts of what the catalogue knows a count of, on one side or on all. Raises UsageError, InputError."""
    if side is None:
        return [(id, count) for id, count in tables.query(work, _COUNTED)[1]]
    if side not in split.SIDES:
        raise UsageError(f"Side {side!r} does not exist", "a photo has one side", ", ".join(split.SIDES))
    on_it = f"{_COUNTED} and id in (select id from sides where side = '{side}')"
    return [(id, count) for id, count in tables.query(work, on_it)[1]]


def by_count(
    counted: Iterable[tuple[str, int]], counts: Sequence[int], size: int | None, balanced: bool, seed: int
) -> dict[int, list[str]]:
    """``size`` ids in all (None: as many as there are) of the given counts, drawn by hash of seed and id.

    ``balanced``: as many of each count, fewer only where there are no more (without ``size``: as many as the rarest
    count has). A larger ``size`` holds all that a smaller one does. Ids are in order.
    """
    drawn: Mapping[int, list[tuple[bytes, str]]] = {count: [] for count in counts}
    for id, count in counted:
        if count in drawn:
            drawn[count].append((hashlib.sha256(f"{seed}:{id}".encode()).digest(), id))
    for ids in drawn.values():
        ids.sort()
    if balanced:
        most = min(map(len, drawn.values()), default=0) * len(drawn) if size is None else size
        shares = [(most + place) // len(drawn) for place in reversed(range(len(drawn)))]
        return {
            count: sorted(id for _, id in ids[:share])
            for (count, ids), share in zip(drawn.items(), shares, strict=True)
        }
    first = set(sorted(pair for ids in drawn.values() for pair in ids)[:size])
    return {count: sorted(id for key, id in ids if (key, id) in first) for count, ids in drawn.items()}
