"""Which photos show one bin: neighbours that share a product, or whose pictures agree, and copies of one photo.

Photos n and n+1 of one camera are often a bin before and after something went in or out. Photos so linked form a
*run*, the unit that is split, resampled and calibrated on; a photo of its own is a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from binventory.photo import Pixels

_SIDE = 96
_EDGE = 2


@dataclass(frozen=True, slots=True)
class Link:
    """Two photo ids of one run, and why: ``same photo``, ``shares a product``, ``pictures agree``."""

    one: str
    other: str
    why: str


def next_id(id: str) -> str | None:
    """The id of the next photo of the same camera: its last digits plus one, as wide as they were; None without."""
    stem = id.rstrip("0123456789")
    digits = id[len(stem) :]
    return f"{stem}{str(int(digits) + 1).zfill(len(digits))}" if 0 < len(digits) <= 18 else None


def neighbours(ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every pair (n, n+1) among ``ids``, in order."""
    there = set(ids)
    for id in sorted(there):
        following = next_id(id)
        if following in there:
            assert following is not None
            yield id, following


def outline(pixels: Pixels) -> NDArray[np.complex64]:
    """What registration compares: a picture's gradients, complex64 [96, 96] of norm one.

    Gradients are levelled by their own strength, so that a bright label weighs no more than a dim edge.
    """
    small = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    grey = np.asarray(small, dtype=np.float32)
    gradient = np.gradient(grey, axis=1) + 1j * np.gradient(grey, axis=0)
    strength = np.abs(gradient)
    levelled = gradient / (strength + np.median(strength) + 2.0)
    levelled[[*range(_EDGE), *range(-_EDGE, 0)], :] = 0
    levelled[:, [*range(_EDGE), *range(-_EDGE, 0)]] = 0
    norm = np.linalg.norm(levelled)
    return np.asarray(levelled / norm if norm else levelled, dtype=np.complex64)


def agreement(one: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
    """How well two outlines agree at their best shift, 0..1: normalised cross-correlation by FFT."""
    # twice the side, so that a shifted picture does not come in again on the other edge
    shape = (2 * _SIDE, 2 * _SIDE)
    product = np.fft.fft2(one, s=shape) * np.conj(np.fft.fft2(other, s=shape))
    return float(max(0.0, np.fft.ifft2(product).real.max()))


def runs(ids: Iterable[str], links: Iterable[Link]) -> dict[str, str]:
    """The run of every id, called by the lowest id in it: the components of the links between ``ids``."""
    parent = {id: id for id in ids}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    for link in links:
        if link.one in parent and link.other in parent:
            low, high = sorted((root(link.one), root(link.other)))
            parent[high] = low
    return {id: root(id) for id in parent}


def copies(fingerprints: Mapping[str, str]) -> Iterator[Link]:
    """Links between ids whose photos have the same bytes (id to sha256)."""
    first: dict[str, str] = {}
    for id in sorted(fingerprints):
        kept = first.setdefault(fingerprints[id], id)
        if kept != id:
            yield Link(kept, id, "same photo")
