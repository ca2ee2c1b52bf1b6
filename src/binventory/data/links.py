"""Which photos show one bin: neighbours that share a product or whose pictures agree, copies, and pictures alike.

Photos n and n+1 of one camera are often a bin before and after something went in or out. Photos so linked form a
*run*, the unit that is split, resampled and calibrated on; a photo of its own is a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from binventory.photo import ALIKE_BITS, Pixels

_SIDE = 96
_EDGE = 2

# Of two hashes that differ in at most ALIKE_BITS bits, one of this many parts differs in at most one.
_PARTS = ALIKE_BITS // 2 + 1
_PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Link:
    """Two photo ids of one run, and why.

    ``same photo`` (the same bytes), ``pictures alike`` (a copy by its likeness), ``shares a product`` or ``pictures
    agree`` (a bin before and after).
    """

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


def near(likenesses: Mapping[str, str]) -> Iterator[Link]:
    """Links between ids whose pictures are ``photo.alike`` (id to likeness), the ids in order: every such pair, but
    of photos with one and the same likeness the lowest id alone is linked, to each of the others and to what is alike.
    A picture of one grey has no waves, and is like nothing.

    Multi-index hashing (Norouzi et al. 2012): hashes are cut into parts of 17 bits, and two are compared only where
    they share a part but for one bit at most. So of all pairs one in some five hundred is looked at.
    """
    first: dict[str, str] = {}
    for id in sorted(likenesses):
        likeness = likenesses[id]
        if likeness.strip("0") and first.setdefault(likeness, id) != id:
            yield Link(first[likeness], id, "pictures alike")
    ids = list(first.values())
    if not ids:
        return
    raw = np.frombuffer(bytes.fromhex("".join(likenesses[id] for id in ids)), np.uint8).reshape(len(ids), -1)
    words, bits = np.ascontiguousarray(raw).view(np.uint64), np.unpackbits(raw, axis=1)
    found: set[tuple[int, int]] = set()
    for part in range(_PARTS):
        columns = bits[:, part::_PARTS]  # not side by side, since neighbouring waves rise and fall together
        keys = columns @ (1 << np.arange(columns.shape[1], dtype=np.int32))
        for one, other in _sharing(keys.astype(np.int32), columns.shape[1]):
            # The first word alone rules most out, and is a quarter of the bytes.
            close = np.bitwise_count(words[one, 0] ^ words[other, 0]) <= ALIKE_BITS
            one, other = one[close], other[close]
            close = np.bitwise_count(words[one] ^ words[other]).sum(axis=1) <= ALIKE_BITS
            one, other = one[close], other[close]
            found.update(zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True))
    for low, high in sorted(found):
        yield Link(ids[low], ids[high], "pictures alike")


def _sharing(keys: NDArray[np.int32], width: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of places whose keys of ``width`` bits differ in at most one, each pair once, in parts that fit memory."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    tally = np.bincount(keys, minlength=1 << width)
    ends = np.cumsum(tally)
    places = np.arange(len(keys))
    for flip in [0, *(1 << np.arange(width))]:
        low = places if not flip else places[ranked & flip == 0]
        partner = ranked[low] ^ flip
        start = low + 1 if not flip else ends[partner] - tally[partner]
        yield from _expanded(order, low, start, ends[partner] - start)


def _expanded(
    order: NDArray[np.intp], low: NDArray[np.intp], start: NDArray[np.intp], many: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Each place ``low`` beside the ``many`` places that follow ``start``, by what stands at them in ``order``."""
    ends = np.cumsum(many)
    at = 0
    while at < len(low):
        before = ends[at - 1] if at else 0
        until = max(at + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, "right")))
        owner = np.repeat(np.arange(at, until), many[at:until])
        within = np.arange(before, before + len(owner)) - (ends - many)[owner]
        yield order[low[owner]], order[start[owner] + within]
        at = until
