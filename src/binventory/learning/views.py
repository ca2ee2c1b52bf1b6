"""What an evaluation shows beyond its figures, in numbers: truth against count, confidence against hits, the surest."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from binventory.learning.metrics import Floats, reliability
from binventory.records import Count, level

_SURE_SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_FEWEST = 10
"""The curve of the surest begins with this many photos: accuracy among fewer says nothing."""

Answered = Sequence[tuple[int, Count]]
"""The true quantity of each photo (>= 0), and its count."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Photos of one true count that got one count, and their share 0..1 of the photos of that true count."""

    photos: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """``lines``: for each true count that occurs its photos and a cell for each of the ``counts`` that were given."""

    counts: tuple[int, ...]
    lines: tuple[tuple[int, int, tuple[Cell, ...]], ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """The photos in one tenth of confidence: mean ``confidence`` and ``accuracy`` 0..1; ``tenth`` 0..9."""

    tenth: int
    confidence: float
    accuracy: float
    photos: int


@dataclass(frozen=True, slots=True)
class Surest:
    """The surest ``share`` of the photos: how many, from which confidence on, and the share of exact counts."""

    share: float
    photos: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Views:
    """``bins``: the tenths of confidence that hold any photo. ``curve``: the share of photos kept, the surest first,
    and the accuracy among them, both 0..1. Every photo weighs alike in all of them."""

    confusion: Confusion
    bins: tuple[Bin, ...]
    curve: tuple[tuple[float, float], ...]
    surest: tuple[Surest, ...]


def views(answered: Answered) -> Views:
    """All views of at least one photo."""
    return Views(_confusion(answered), _bins(answered), _curve(answered), _surest(answered))


def right(truth: int, count: Count) -> bool:
    """Whether a count is exact; above 20 any more than 20 is."""
    return count.count == level(truth)


def _confusion(answered: Answered) -> Confusion:
    pairs = Tally((level(truth), count.count) for truth, count in answered)
    truths = Tally(level(truth) for truth, _ in answered)
    counts = sorted({count for _, count in pairs})
    return Confusion(
        tuple(counts),
        tuple(
            (truth, n, tuple(Cell(pairs[truth, count], pairs[truth, count] / n, truth == count) for count in counts))
            for truth, n in sorted(truths.items())
        ),
    )


def _confidence_and_hit(answered: Answered) -> tuple[Floats, Floats]:
    """Each photo's confidence, and 1.0 where its count is exact: two float64 [N], the surest first."""
    pairs = sorted(((count.confidence, float(right(truth, count))) for truth, count in answered), key=_falling)
    confidence, hit = np.array(pairs).T
    return confidence, hit


def _falling(pair: tuple[float, float]) -> float:
    return -pair[0]


def _bins(answered: Answered) -> tuple[Bin, ...]:
    found = reliability(*_confidence_and_hit(answered))
    # The mean of many equal numbers may fall a breath below them, and so below their tenth.
    return tuple(Bin(min(int(10 * sure + 1e-9), 9), sure, accuracy, n) for sure, accuracy, n in found)


def _curve(answered: Answered, points: int = 120) -> tuple[tuple[float, float], ...]:
    _, hit = _confidence_and_hit(answered)
    kept = np.unique(np.linspace(min(_FEWEST, len(hit)), len(hit), points).round().astype(int))
    return tuple((float(n / len(hit)), float(hit[:n].mean())) for n in kept)


def _surest(answered: Answered) -> tuple[Surest, ...]:
    confidence, hit = _confidence_and_hit(answered)
    kept = {share: max(1, round(share * len(hit))) for share in _SURE_SHARES}
    return tuple(Surest(share, n, float(confidence[n - 1]), float(hit[:n].mean())) for share, n in kept.items())
