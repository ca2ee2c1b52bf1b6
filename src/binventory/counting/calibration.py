"""Applies what learning fitted: a temperature, and conformal sets by count.

A conformal set holds every count whose *strangeness* under the photo's distribution is at most the quantile of that
count's group. Strangeness of k is how far k lies from the distribution's middle, in probability: sets of it are
contiguous by nature, so little is added when the set's hull is printed as the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from binventory.errors import BundleError
from binventory.records import COVERAGE, LEVELS, TAIL


@dataclass(frozen=True, slots=True)
class Group:
    """Counts that share a quantile, the ``photos`` (one a run) it was fitted on, and the quantile (0..1, or above 1
    where too few photos could support it: then the group is in every set)."""

    counts: tuple[int, ...]
    photos: int
    quantile: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """``coverage``: what the label-conditional sets hold for each group, and the marginal sets on the whole.

    ``marginal`` is the quantile of the sets that promise coverage only under an unchanged mix; it stands beside the
    groups for comparison. ``photos`` and ``runs`` say what the calibration was fitted on.
    """

    temperature: float
    coverage: float
    groups: tuple[Group, ...]
    marginal: float
    photos: int
    runs: int

    def probs(self, log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated distributions [N, 22] from a head's log-probabilities [N, 22]."""
        return tempered(log_probs, self.temperature)

    def sets(self, probs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The raw label-conditional sets: for each photo [N] and count [22], whether the count is in."""
        quantiles = np.empty(LEVELS)
        for group in self.groups:
            quantiles[list(group.counts)] = group.quantile
        return np.asarray(strangeness(probs) <= quantiles)

    def to_bytes(self) -> bytes:
        """The calibration as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def from_bytes(data: bytes, name: str = "calibration.json") -> Calibration:
    """Read a calibration. Raises BundleError where a part is missing, of the wrong type, or leaves a count out."""
    try:
        calibration = msgspec.json.decode(data, type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{name} is no calibration", str(error), "make the bundle again with this version") from None
    if sorted(k for group in calibration.groups for k in group.counts) != list(range(LEVELS)):
        raise BundleError(f"{name} does not fit", "its groups do not hold every count once", "make the bundle again")
    if calibration.coverage != COVERAGE:
        why = f"it promises {calibration.coverage:g}, and what is printed is the {COVERAGE:.0%} interval"
        raise BundleError(f"{name} does not fit", why, "make the bundle again")
    if not 0.1 <= calibration.temperature <= 10 or any(not 0 <= group.quantile <= 2 for group in calibration.groups):
        raise BundleError(f"{name} does not fit", "its temperature or a quantile is absurd", "make the bundle again")
    return calibration


def tempered(log_probs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Distributions [N, 22] from log-probabilities [N, 22], flatter above temperature 1, sharper below."""
    logits = log_probs / temperature
    return np.asarray(np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)))


def strangeness(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each count lies from the middle of its distribution, in probability: [N, 22] in 0..1.

    With F the distribution's cumulative sum: 2 |F(k) - p(k) / 2 - 1/2|.
    """
    return np.asarray(np.abs(2 * np.cumsum(probs, axis=1) - probs - 1))


def hulls(sets: NDArray[np.bool_], modes: NDArray[np.intp]) -> list[tuple[int, int | None]]:
    """The intervals that are printed: for each set [N, 22] the shortest contiguous one that holds it and the mode."""
    whole = sets.copy()
    whole[np.arange(len(whole)), modes] = True
    lows = whole.argmax(axis=1)
    highs = LEVELS - 1 - whole[:, ::-1].argmax(axis=1)
    return [(int(low), None if high == TAIL else int(high)) for low, high in zip(lows, highs, strict=True)]
