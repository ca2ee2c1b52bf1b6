"""Photos as fine-tuning asks for them: decoded and scaled once and kept on disk as one memory-mapped array, so that no
epoch decodes a JPEG; or streamed, read and decoded whenever they are asked for, and nothing kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from binventory import objects, photo
from binventory.counting.bundle import Input
from binventory.counting.counter import decoded, opened_each, read_photo
from binventory.data.catalogue import Row
from binventory.errors import BinventoryError, OutsideError
from binventory.flow import Track, untracked
from binventory.photo import Pixels

_READERS = 32
"""Threads for photos far away, which mostly wait."""


class Pictures(Protocol):
    """Pictures of one size, by their places."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, places: NDArray[np.intp], /) -> Pixels:
        """Those at ``places`` [n]: uint8 [n, H, W, 3]."""
        ...


class Streamed:
    """Pictures that are read, decoded and fitted on threads when they are asked for; the pixels are those that ``of``
    keeps. Several threads may ask at once.

    Asking raises BinventoryError where a photo that was catalogued gives no pixels.
    """

    def __init__(self, rows: Sequence[Row], size: Input) -> None:
        self._addresses, self._size = [row.address for row in rows], size
        far = any(map(objects.is_remote, self._addresses[:1]))
        self._crew = ThreadPoolExecutor(_READERS if far else max(2, os.cpu_count() or 2))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._addresses)

    def __getitem__(self, places: NDArray[np.intp], /) -> Pixels:
        """Those at ``places`` [n]: uint8 [n, H, W, 3]."""
        addresses = [self._addresses[place] for place in places]
        return np.stack(list(self._crew.map(self._one, addresses)))

    def _one(self, address: str) -> Pixels:
        size = self._size
        return photo.fit(photo.decode(read_photo(address).data, address), size.height, size.width, size.fit)


def supplied(
    rows: Sequence[Row], size: Input, how: Literal["kept", "streamed"], work: Path, track: Track = untracked
) -> Pictures:
    """The photos fitted to ``size``, kept or streamed. Raises as ``of`` does."""
    return Streamed(rows, size) if how == "streamed" else of(rows, size, work, track)


def of(rows: Sequence[Row], size: Input, work: Path, track: Track = untracked) -> Pixels:
    """The photos fitted to ``size``: uint8 [N, H, W, 3], mapped from a file in ``work`` that is written once.

    Raises BinventoryError where a photo that was catalogued no longer gives pixels, or the disk is full.
    """
    key = hashlib.sha256(f"{size} {[row.sha256 for row in rows]}".encode()).hexdigest()[:16]
    path = work / "pictures" / f"{key}.npy"
    if not path.is_file():
        pictures = decoded(opened_each(row.address for row in rows), size)
        shape = (len(rows), size.height, size.width, 3)
        try:
            with objects.replacing(path) as temporary:
                # open_memmap writes the header, and the rows go straight to the page cache
                mapped = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
                for place, picture in enumerate(track(pictures, f"scaling photos to {size.width} px", len(rows))):
                    if isinstance(picture, BinventoryError):
                        raise picture
                    mapped[place] = picture
                mapped.flush()
        except OSError as error:
            raise OutsideError(f"{path} cannot be written", str(error.strerror), "free space on the disk") from None
    kept: Pixels = np.load(path, mmap_mode="r")
    return kept
