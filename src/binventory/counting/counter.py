"""The counter: a loaded bundle that turns photos into counts."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from binventory import objects, photo
from binventory.counting import bundle as bundles
from binventory.counting import priors
from binventory.counting.bundle import Bundle, Input, Probe
from binventory.counting.calibration import hulls
from binventory.counting.trunk import OnnxTrunk, Trunk
from binventory.errors import BinventoryError, BundleError, InputError, OutsideError, PhotoError
from binventory.flow import ahead, chunks
from binventory.photo import Pixels
from binventory.records import Count, Photo

BATCH = 16
_READERS = 8
_AHEAD = 16
"""Threads that read for others, and how many requests they are ahead: of shards, some megabytes each."""
TOLERANCE = 0.02
"""Relative difference of the probe's features up to which two machines count as agreeing."""

Given = Photo | bytes | str | os.PathLike[str] | NDArray[np.uint8]
"""What may be counted: a Photo, encoded bytes, a path or address, or an upright RGB array uint8 [h, w, 3]."""


class Counter:
    """Counts items in photos with one bundle. Make it with ``Counter.load``; it may be used from several threads."""

    def __init__(self, bundle: Bundle, trunk: Trunk, prior: Sequence[float] | None = None) -> None:
        self.bundle = bundle
        self._trunk = trunk
        self.prior = tuple(prior) if prior is not None else None
        """The mix of counts that the site expects, where it is not the bundle's own."""

    @classmethod
    def load(
        cls,
        address: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
    ) -> Counter:
        """Load a bundle by path, ``s3://`` address or shipped name (None: the default one).

        Once a machine and bundle, eight probe photos are compared with what the bundle's maker got; where int8
        kernels differ the network runs as written instead, which is slower, and warns if that differs too.

        Raises BundleError, or OutsideError where S3 does not answer.
        """
        bundle = bundles.load(address)
        return cls(bundle, probed(bundle, threads))

    def under(self, prior: Sequence[float]) -> Counter:
        """The same counter for a site whose mix of counts is ``prior``: 22 positive shares."""
        return Counter(self.bundle, self._trunk, prior)

    @overload
    def count(self, given: Given) -> Count: ...
    @overload
    def count(self, given: list[Given]) -> list[Count]: ...
    def count(self, given: Given | list[Given]) -> Count | list[Count]:
        """Count one photo, or a list of them in order.

        Raises PhotoError for the first photo without usable pixels; ``count_each`` goes on instead.
        """
        many = given if isinstance(given, list) else [given]
        arrays = [self._fitted(one) for one in many]
        counts = [count for chunk in chunks(arrays, BATCH) for count in self.count_fitted(np.stack(chunk))]
        return counts if isinstance(given, list) else counts[0]

    def count_each(self, photos: Iterable[Photo | BinventoryError]) -> Iterator[Count | BinventoryError]:
        """One outcome a photo, in order; photos are decoded beside the network, a few batches ahead of it."""
        for chunk in chunks(decoded(photos, self.bundle.manifest.input), BATCH):
            good = [one for one in chunk if not isinstance(one, BinventoryError)]
            counts = iter(self.count_fitted(np.stack(good)) if good else [])
            for one in chunk:
                yield one if isinstance(one, BinventoryError) else next(counts)

    def try_out(self) -> Count:
        """Count a photo of the bundle's own (or a plain gradient where it has none), from encoded bytes to the count.

        Raises BundleError where counting does not work.
        """
        size, kept = self.bundle.manifest.input, self.bundle.probe
        ramp = np.linspace(0, 255, size.width).astype(np.uint8)[None, :, None]
        pixels = kept.photos[0] if kept else np.broadcast_to(ramp, (size.height, size.width, 3))
        return self.count(photo.png(pixels))

    def count_fitted(self, pictures: Pixels) -> list[Count]:
        """Counts of pictures that already fit the input: uint8 [N, H, W, 3]."""
        return self.count_features(self._trunk.features(pictures))

    def count_features(self, features: NDArray[np.float32]) -> list[Count]:
        """Counts from the trunk's features float32 [N, D].

        The sets are read under the bundle's own prior, where they were fitted: a count with a quantile of its own is
        held as promised whatever mix the site has. A site's prior moves the probabilities, and the interval stretches
        to hold the new mode. Raises BundleError where the bundle's numbers give no probabilities.
        """
        calibration, manifest = self.bundle.calibration, self.bundle.manifest
        probs = calibration.probs(self.bundle.head.log_probs(features))
        if not np.isfinite(probs).all():
            name = manifest.name
            raise BundleError(
                f"Bundle {name} gives no probabilities", "they are not finite", "make it again with train"
            )
        sets = calibration.sets(probs)
        if self.prior is not None:
            probs = priors.reweigh(probs, manifest.prior, self.prior)
        intervals = hulls(sets, probs.argmax(axis=1))
        return [
            Count(tuple(row), manifest.tail_mean, interval)
            for row, interval in zip(probs.tolist(), intervals, strict=True)
        ]

    def _fitted(self, given: Given) -> Pixels:
        size = self.bundle.manifest.input
        if isinstance(given, np.ndarray):
            return photo.fit(given, size.height, size.width, size.fit)
        one = given if isinstance(given, Photo | bytes) else read_photo(os.fspath(given))
        return _fit_photo(one if isinstance(one, Photo) else Photo("the photo", one), size)


def read_photo(address: str) -> Photo:
    """The photo at a path or address; ``-`` is standard input. Raises PhotoError, or OutsideError from S3."""
    try:
        return Photo(address, objects.read(address, photo.MAX_BYTES))
    except InputError as error:
        raise PhotoError(error.what, error.why, error.next) from None


def opened(address: str) -> Photo | BinventoryError:
    """The photo at an address, or why there is none: what ``count_each`` takes."""
    try:
        return read_photo(address)
    except BinventoryError as error:
        return error


def opened_each(addresses: Iterable[str]) -> Iterator[Photo | BinventoryError]:
    """The photos at addresses, or why there is none, in order, read ahead on threads that mostly wait; those that lie
    side by side in a shard are asked for together."""
    for group in ahead(_opened_together, objects.together(addresses), most=_AHEAD, threads=_READERS):
        yield from group


def _opened_together(addresses: Sequence[str]) -> list[Photo | BinventoryError]:
    parts = [one for address in addresses if (one := objects.part(address))]
    if len(parts) != len(addresses):
        return list(map(opened, addresses))
    try:
        found = objects.read_together(parts, photo.MAX_BYTES)
    except BinventoryError as error:
        found = [error] * len(parts)
    return [_as_photo(address, one) for address, one in zip(addresses, found, strict=True)]


def _as_photo(address: str, read: bytes | BinventoryError) -> Photo | BinventoryError:
    if isinstance(read, InputError):
        return PhotoError(read.what, read.why, read.next)
    return read if isinstance(read, BinventoryError) else Photo(address, read)


def decoded(photos: Iterable[Photo | BinventoryError], size: Input) -> Iterator[Pixels | BinventoryError]:
    """Photos decoded and fitted on two threads, in order, at most 64 ahead of the reader."""
    return ahead(partial(fitted, size=size), photos)


def fitted(one: Photo | BinventoryError, size: Input) -> Pixels | BinventoryError:
    """A photo decoded and fitted to the input, or why there is none."""
    if isinstance(one, BinventoryError):
        return one
    try:
        return _fit_photo(one, size)
    except BinventoryError as error:
        return error


def probed(bundle: Bundle, threads: int | None = None) -> OnnxTrunk:
    """The bundle's trunk, checked once a machine against its probe; the verdict is kept in the user's cache.

    Raises BundleError where trunk, head and manifest do not fit each other.
    """
    size, width = bundle.manifest.input, len(bundle.head.weight)
    pixels = (size.height, size.width)
    trunk = OnnxTrunk(bundle.trunk, threads, size=pixels)
    if (trunk.height, trunk.width, trunk.features_width) != (size.height, size.width, width):
        raise BundleError(
            f"Bundle {bundle.manifest.name} does not fit together",
            f"its trunk takes {trunk.height} x {trunk.width} pixels to {trunk.features_width} features, "
            f"its manifest names {size.height} x {size.width} and its head {width}",
            "make it again with train",
        )
    if bundle.probe is None:
        return trunk
    note = _probe_note(bundle.probe, trunk)
    verdict = note.read_text() if note.is_file() else ""
    if verdict not in ("agrees", "plain", "differs"):
        verdict = _probe(bundle, trunk, threads)
        with suppress(OutsideError):  # a machine without a writable cache probes each time
            objects.write(str(note), verdict.encode())
    if verdict == "agrees":
        return trunk
    if verdict == "differs":
        warnings.warn(
            f"Bundle {bundle.manifest.name} gives other features here than where it was made "
            f"({bundle.manifest.runtime}); counts may be less sure than they say. Refit it here: train --from",
            stacklevel=3,
        )
    return OnnxTrunk(bundle.trunk, threads, plain=True, size=pixels)


def _probe(bundle: Bundle, trunk: OnnxTrunk, threads: int | None) -> str:
    assert bundle.probe is not None
    size = bundle.manifest.input
    for verdict, candidate in (("agrees", trunk), ("plain", None)):
        runs = candidate or OnnxTrunk(bundle.trunk, threads, plain=True, size=(size.height, size.width))
        expected = bundle.probe.features
        apart = np.linalg.norm(runs.features(bundle.probe.photos) - expected) / np.linalg.norm(expected)
        if apart <= TOLERANCE:
            return verdict
    return "differs"


def _probe_note(probe: Probe, trunk: OnnxTrunk) -> Path:
    from platformdirs import user_cache_path

    key = hashlib.sha256(trunk.identity.encode() + probe.features.tobytes()).hexdigest()[:24]
    return user_cache_path("binventory") / "probe" / key


def _fit_photo(one: Photo, size: Input) -> Pixels:
    return photo.fit(photo.decode(one.data, one.name), size.height, size.width, size.fit)
