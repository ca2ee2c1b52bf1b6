"""Photos decoded and scaled once, kept on disk as one memory-mapped array, so that no epoch decodes a JPEG."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from binventory import objects
from binventory.counting.bundle import Input
from binventory.counting.counter import decoded, opened
from binventory.data.catalogue import Row
from binventory.errors import BinventoryError, OutsideError
from binventory.flow import Track, untracked
from binventory.photo import Pixels


def of(rows: Sequence[Row], size: Input, work: Path, track: Track = untracked) -> Pixels:
    """The photos fitted to ``size``: uint8 [N, H, W, 3], mapped from a file in ``work`` that is written once.

    Raises BinventoryError where a photo that was catalogued no longer gives pixels, or the disk is full.
    """
    key = hashlib.sha256(f"{size} {[row.sha256 for row in rows]}".encode()).hexdigest()[:16]
    path = work / "pictures" / f"{key}.npy"
    if not path.is_file():
        pictures = decoded((opened(row.address) for row in rows), size)
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
