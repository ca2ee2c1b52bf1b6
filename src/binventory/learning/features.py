"""A frozen trunk's features of many photos, kept on disk so that each photo meets each trunk once.

The cache is a folder of parts, each written whole: a killed run goes on where the last part ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from binventory import objects
from binventory.counting.bundle import Input
from binventory.counting.counter import BATCH, decoded, opened_each
from binventory.counting.trunk import Trunk
from binventory.data.catalogue import Row
from binventory.errors import BinventoryError
from binventory.flow import Track, chunks, untracked
from binventory.photo import Pixels

_PART = 32 * BATCH


def of(rows: Sequence[Row], trunk: Trunk, size: Input, work: Path, track: Track = untracked) -> NDArray[np.float32]:
    """Features float32 [N, D] of the photos, in order, from the cache of ``work`` or the trunk.

    The cache's key is the trunk's identity, the input and the photo's sha256.

    Raises BinventoryError where a photo that was catalogued no longer gives pixels.
    """
    key = hashlib.sha256(f"{trunk.identity} {size}".encode()).hexdigest()[:16]
    folder = work / "features" / key
    known = _read(folder)
    missing = list({row.sha256: row for row in rows if row.sha256 not in known}.values())
    computed = track(_compute(missing, trunk, size), "features", len(missing))
    for part in chunks(computed, _PART):
        _write(folder, part)
        known |= dict(part)
    return np.stack([known[row.sha256] for row in rows]) if rows else np.empty((0, 0), np.float32)


def _compute(rows: Sequence[Row], trunk: Trunk, size: Input) -> Iterator[tuple[str, NDArray[np.float32]]]:
    pictures = map(_whole, decoded(opened_each(row.address for row in rows), size))
    for chunk in chunks(zip(rows, pictures, strict=True), BATCH):
        features = trunk.features(np.stack([picture for _, picture in chunk]))
        yield from ((row.sha256, one) for (row, _), one in zip(chunk, features, strict=True))


def _whole(picture: Pixels | BinventoryError) -> Pixels:
    if isinstance(picture, BinventoryError):
        raise picture
    return picture


def _read(folder: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
                known |= zip(part["sha256"].tolist(), part["features"], strict=True)
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, BadZipFile):
            path.unlink()  # damaged from outside; its photos are computed again
    return known


def _write(folder: Path, part: Sequence[tuple[str, NDArray[np.float32]]]) -> None:
    name = hashlib.sha256("".join(sha256 for sha256, _ in part).encode()).hexdigest()[:16]
    with objects.replacing(folder / f"{name}.npz") as temporary:
        np.savez(temporary, sha256=[sha256 for sha256, _ in part], features=np.stack([one for _, one in part]))
