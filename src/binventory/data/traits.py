"""Numbers that describe data, and the pure functions that make them from plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from binventory.data.layout import Reject
from binventory.records import LEVELS, level

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BARS = 24
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each count occurs: ``tally`` of 0..20 and of more than 20.

    ``distance``: the total variation distance from the reference mix, 0..1; the share of bins that would need another
    count for the two mixes to be alike.
    """

    tally: tuple[int, ...]
    mean: float
    median: float
    largest: int
    distance: float

    @property
    def number(self) -> int:
        """How many counts went into it."""
        return sum(self.tally)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each count, 0..1."""
        return tuple(n / self.number for n in self.tally)


@dataclass(frozen=True, slots=True)
class Spread:
    """How values lie: ``tally`` of equal steps from ``low`` to ``high``, what lies beyond counted in its end steps.

    ``quantiles``: the lowest, those of 10, 25, 50, 75 and 90 %, and the highest value.
    """

    low: float
    high: float
    tally: tuple[int, ...]
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """What bins of one count hold: how many bins, and the ``QUANTILES`` of their items' volume in cubic inches."""

    count: int
    bins: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A product whose quantity differs between two records; 0 where it is not in one, None where that is unknown."""

    name: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was refused in one way: the sentence with names left out, how often, and the first few in full."""

    kind: str
    number: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """``twins``: how many of the ``test`` photos have a photo of their own run on the train side."""

    test: int
    twins: int

    @property
    def share(self) -> float:
        """The share of test photos with a twin in train, 0..1; 0 without test photos."""
        return self.twins / self.test if self.test else 0.0


def mix(quantities: Sequence[int], reference: Sequence[float]) -> Mix | None:
    """The mix of quantities (each >= 0) beside the reference shares of the 22 counts; None without any."""
    if not len(quantities):
        return None
    tally = tuple(np.bincount([level(one) for one in quantities], minlength=LEVELS).tolist())
    shares = [n / len(quantities) for n in tally]
    return Mix(
        tally, float(np.mean(quantities)), float(np.median(quantities)), max(quantities), distance(shares, reference)
    )


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The total variation distance of two mixes whose shares each sum to one: 0 alike, 1 with nothing in common."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


def spread(values: ArrayLike, low: float | None = None, high: float | None = None) -> Spread | None:
    """How values [N] lie, in ``BARS`` steps between the quantiles of 0.5 and 99.5 % unless told; None without any."""
    found = np.asarray(values, dtype=np.float64)
    if not found.size:
        return None
    ends = np.quantile(found, (0.005, 0.995))
    low, high = (float(end) if given is None else given for given, end in zip((low, high), ends, strict=True))
    quantiles = tuple(np.quantile(found, (0, *QUANTILES, 1)).tolist())
    if not low < high:
        return Spread(low, low, (found.size,), quantiles)
    step = np.clip(((found - low) / (high - low) * BARS).astype(int), 0, BARS - 1)
    return Spread(low, high, tuple(np.bincount(step, minlength=BARS).tolist()), quantiles)


def volumes(quantities: Sequence[int], cubic_inches: Sequence[float]) -> tuple[Volume, ...]:
    """The volumes of bins by their count (21: more than 20), the counts that occur in order."""
    levels = np.array([level(one) for one in quantities], dtype=int)
    values = np.asarray(cubic_inches, dtype=np.float64)
    found = ((int(count), values[levels == count]) for count in np.unique(levels))
    return tuple(Volume(count, len(of), tuple(np.quantile(of, QUANTILES).tolist())) for count, of in found)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation, -1..1; None where there are fewer than three pairs or one side never varies."""
    ranks = np.array([_ranks(one), _ranks(other)])
    if ranks.shape[1] < 3 or not ranks.std(axis=1).all():
        return None
    return float(np.clip(np.corrcoef(ranks)[0, 1], -1, 1))


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The place of each value, equal ones sharing the mean of theirs."""
    _, which, times = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(times) - (times - 1) / 2)[which], dtype=np.float64)


def leak(run_of: Mapping[str, str], sides: Mapping[str, str]) -> Leak:
    """How many test photos have a photo of their run (id to run) in train, by ``sides`` (id to side)."""
    learnt = {run_of[id] for id, side in sides.items() if side == "train"}
    judged = [run_of[id] for id, side in sides.items() if side == "test"]
    return Leak(len(judged), sum(run in learnt for run in judged))


def changes(
    before: Mapping[str, int | None], after: Mapping[str, int | None], names: Mapping[str, str]
) -> tuple[Change, ...]:
    """What differs between two records (product to quantity), by the products' names where they have one."""
    products = dict.fromkeys((*before, *after))
    found = (Change(names.get(one) or one, before.get(one, 0), after.get(one, 0)) for one in products)
    return tuple(change for change in found if change.before != change.after)


def steps(pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """How many pairs of counts differ by 0, 1, 2, 3, and by 4 or more."""
    apart = np.array([min(abs(one - other), 4) for one, other in pairs], dtype=int)
    return tuple(np.bincount(apart, minlength=5).tolist())


def refusals(rejects: Iterable[Reject]) -> tuple[Refusals, ...]:
    """Rejects of one kind together, the commonest first: those whose sentences differ only in names and addresses."""
    kinds: dict[str, list[Reject]] = {}
    for reject in rejects:
        kinds.setdefault(_kind(reject), []).append(reject)
    found = [Refusals(kind, len(of), tuple(str(one.error) for one in of[:_EXAMPLES])) for kind, of in kinds.items()]
    return tuple(sorted(found, key=lambda one: (-one.number, one.kind)))


def _kind(reject: Reject) -> str:
    what = reject.error.what.replace(reject.address, "…") if reject.address else reject.error.what
    id = re.escape(reject.id)  # it may be a word like any other, so it is looked for only where sentences name it
    return re.sub(rf"(?<=^Id ){id}(?= )|(?<= for ){id}$", "…", what) if id else what
