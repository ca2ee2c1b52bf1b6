"""The mix of counts that a bundle expects to meet, and how a distribution moves from one mix to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from binventory.errors import UsageError
from binventory.records import LEVELS, level

Prior = tuple[float, ...]
"""Shares of the counts 0..20 and of more than 20: 22 positive numbers that sum to one."""

EVEN: Prior = (1 / LEVELS,) * LEVELS


def mix(quantities: Iterable[int], grain: float = 0.5) -> Prior:
    """The shares of the counts among ``quantities`` (each >= 0), ``grain`` added to each so that none is zero."""
    tally = np.bincount([level(quantity) for quantity in quantities], minlength=LEVELS) + grain
    return tuple(float(share) for share in tally / tally.sum())


# ABID's ids below 10,000, the only stretch that nobody selected by count; 9,052 of them, counted by: binventory sql
# "select least(count, 21), count(*) from photos where try_cast(id as int) < 10000 and count is not null group by all"
_REFERENCE_TALLY = (189, 611, 1254, 1523, 1330, 1018, 777, 630, 442, 322, 226, 171, 127, 90, 63, 39, 40, 41, 32, 31,
                    17, 79)  # fmt: skip
REFERENCE: Prior = tuple(tally / sum(_REFERENCE_TALLY) for tally in _REFERENCE_TALLY)
"""The mix of counts that a warehouse's bins have where nobody has picked them."""


def named(name: str, training: Prior) -> Prior:
    """The prior called ``training``, ``reference`` or ``even``. Raises UsageError for any other name."""
    known = {"training": training, "reference": REFERENCE, "even": EVEN}
    if name not in known:
        raise UsageError(f"Prior {name!r} does not exist", f"there are {', '.join(known)}", "--prior reference")
    return known[name]


def reweigh(probs: NDArray[np.floating], old: Sequence[float], new: Sequence[float]) -> NDArray[np.float64]:
    """Distributions [N, 22] under the prior ``old`` as they are under ``new``: p'(k) ∝ p(k) new(k) / old(k)."""
    moved = np.asarray(probs, dtype=np.float64) * (np.asarray(new) / np.asarray(old))
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))
