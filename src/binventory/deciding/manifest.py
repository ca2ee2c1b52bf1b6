"""What a record's lines tell of its total without being believed: how many articles there are, and how large they are.

The lines' quantities are left out: they add up to the total that is in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from binventory.records import LEVELS, Item

MOST_LINES = 10
"""Records with as many lines or more are told apart by the logarithm alone."""

TRAITS = MOST_LINES + 7
"""How many numbers stand for the lines of a record."""

_LARGEST = 1e5  # cubic inches: more than any bin holds, so a record's slip
_USUAL = (4.0, 0.0)  # the logarithm of an article's usual volume (cubic inches) and weight (pounds)


@dataclass(frozen=True, slots=True)
class Manifest:
    """p(total | lines), fitted: ``weight`` [TRAITS, 22] and ``bias`` [22] of a multinomial logistic regression."""

    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def probs(self, lines: Sequence[Sequence[Item]]) -> NDArray[np.float64]:
        """Distributions [N, 22] of the totals of N records by their lines (at least one each)."""
        logits = np.array([traits(items) for items in lines]) @ np.array(self.weight) + np.array(self.bias)
        return np.asarray(np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)))

    def fits(self) -> bool:
        """Whether the numbers have the right shapes and are finite."""
        shapes = len(self.weight) == TRAITS and {len(row) for row in (*self.weight, self.bias)} == {LEVELS}
        return shapes and bool(np.isfinite([*self.weight, self.bias]).all())


def traits(items: Sequence[Item]) -> list[float]:
    """What the model sees of a record's lines: how many there are, and their volumes and weights as logarithms.

    Sizes that are missing or absurd stand at the usual one; how many are known is a trait of its own.
    """
    n = len(items)
    volumes = [log(one) for item in items if (one := _volume(item)) is not None]
    weights = [log(item.weight) for item in items if item.weight is not None and 1e-3 < item.weight < 1e3]
    mean = sum(volumes) / len(volumes) if volumes else _USUAL[0]
    return [
        *(float(n == k) for k in range(1, MOST_LINES)),
        float(n >= MOST_LINES),
        log(max(n, 1)),
        mean - _USUAL[0],
        (max(volumes) if volumes else _USUAL[0]) - _USUAL[0],
        (min(volumes) if volumes else _USUAL[0]) - _USUAL[0],
        (mean - _USUAL[0]) * log(max(n, 1)),
        (sum(weights) / len(weights) if weights else _USUAL[1]) - _USUAL[1],
        len(volumes) / max(n, 1),
    ]


def _volume(item: Item) -> float | None:
    if item.height is None or item.length is None or item.width is None:
        return None
    volume = item.height * item.length * item.width
    return volume if 1e-3 < volume < _LARGEST else None
