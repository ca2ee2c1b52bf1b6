"""What to believe of a record before a photo: P(its total is right), and P(fewer or more items are there).

The record says q. Either it is right; or it is wrong in one of the declared ways, each of which says what would be
there instead; or, undeclared, it has nothing to do with the bin. Each way is weighed by how often it happens and by
how photo and lines speak for what would then be there (Bayes).

A line too many or too few changes what the photo shows, and leaves what the other lines tell as it is: that a bin
holds the lines that are left is as likely as that it holds lines at all, by the shares of bins with so many lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from binventory.deciding.policy import ErrorKind
from binventory.deciding.rule import Powers, Rule
from binventory.records import LEVELS, TAIL, TOP, BinRecord, Count, level

ANYTHING = 0.2
"""Of wrong records this share has nothing to do with the bin, whatever a site declares: labels exchanged, a key
slipped. Without it a record far from all that a photo shows could only be right."""

REFERENCE: Mapping[ErrorKind, float] = {
    "one more": 1, "one fewer": 3, "two more": 1, "two fewer": 3, "line added": 1, "line dropped": 3,
}  # fmt: skip
"""The error model of the passing score, the same for all sites. Records that tell too little are harder to find out and
so decide how much may pass: they weigh three times as much."""

REFERENCE_RATE = 0.1
"""The share of wrong records in that model; it stretches the scores and leaves their order nearly as it is."""

_SHIFTS: dict[ErrorKind, int] = {"one more": 1, "one fewer": -1, "two more": 2, "two fewer": -2}
_PLAIN = Rule((1 / LEVELS,) * LEVELS, Powers(), (), 0.1, 0.0)
_QUANTITIES = tuple(0.5**n for n in range(1, 11))
"""Where no rule tells: every total alike before the photo, and lines of one item, two, three … each half as common."""


@dataclass(frozen=True, slots=True)
class Belief:
    """``right``: P(the record's total is what is there); ``fewer`` and ``more``: P(fewer or more items are there).
    They sum to one."""

    right: float
    fewer: float
    more: float


def belief(count: Count, record: BinRecord, rule: Rule | None, rate: float, kinds: Mapping[ErrorKind, float]) -> Belief:
    """What to believe of a record with a quantity, where a share ``rate`` of records is wrong, in ``kinds`` as often
    as their weights say. Raises ValueError where the record has no quantity."""
    if record.quantity is None:
        raise ValueError("a belief is about a record's total, and this record has none")
    rule, rate, quantity = rule or _PLAIN, max(rate, 1e-6), record.quantity  # nobody's records are all right
    photo, told = rule.photo(count.probs), rule.told(record.items)

    def spoken(shown: int, expected: int) -> float:
        """How photo and lines speak for ``shown`` items in the photo, ``expected`` by the lines."""
        return float(photo[level(shown)]) * _at(told, expected, count.tail_mean)

    right, fewer, more = (1 - rate) * spoken(quantity, quantity), 0.0, 0.0
    whole = sum(kinds.values())
    for kind, weight in kinds.items():
        share = rate * (1 - ANYTHING) * weight / whole
        for there, often in _truths(kind, record, rule):
            expected = quantity if kind.startswith("line") and record.items else there
            chance = share * often * spoken(there, expected) if there >= 0 else 0.0
            fewer, more = (fewer + chance, more) if there < quantity else (fewer, more + chance)
    foreign = rate * ANYTHING * _foreign(quantity, told, count.tail_mean)
    below, at, above = _around(np.asarray(count.probs), quantity, count.tail_mean)
    right, fewer, more = right + foreign * at, fewer + foreign * below, more + foreign * above
    all = right + fewer + more
    return Belief(right / all, fewer / all, more / all)


def score(count: Count, record: BinRecord, rule: Rule) -> float:
    """The passing score, 0..1: P(record right) under ``REFERENCE``.

    Nothing passes where more than 20 items are in question, for there a photo tells one total no better from the
    next: the score is 0 where the record says more than 20, or the count's interval reaches above.
    """
    if record.quantity is None or record.quantity > TOP or count.interval[1] is None:
        return 0.0
    return belief(count, record, rule, REFERENCE_RATE, REFERENCE).right


def _truths(kind: ErrorKind, record: BinRecord, rule: Rule) -> list[tuple[int, float]]:
    """What could be there where the record is wrong in this way, and how often it would then read as it does."""
    quantity, items = record.quantity or 0, record.items
    if kind in _SHIFTS:
        return [(quantity - _SHIFTS[kind], 1.0)]
    lines = list(enumerate(rule.quantities or _QUANTITIES, start=1))
    if kind == "line dropped":
        often = _ratio(rule.lines, len(items) + 1, len(items)) if items else 1.0
        return [(quantity + n, often * share) for n, share in lines]
    known = [one.quantity for one in items if one.quantity]
    if not known:
        return [(quantity - n, share) for n, share in lines]
    often = _ratio(rule.lines, len(items) - 1, len(items)) / len(known)
    return [(quantity - n, often) for n in known]


def _ratio(lines: Sequence[float], there: int, told: int) -> float:
    """How much commoner bins with so many lines are than those with as many as the record tells."""
    return lines[there] / max(lines[told], 1e-9) if max(there, told) < len(lines) else 1.0


def _decay(tail_mean: float) -> float:
    """Totals above 20 fall off geometrically: each is so many times as likely as the one before."""
    above = max(tail_mean - TAIL, 1e-6)
    return above / (above + 1)


def _at(row: NDArray[np.float64], total: int, tail_mean: float) -> float:
    """What a distribution [22] gives a total, the tail spread over all totals above 20."""
    if total <= TOP:
        return float(row[total]) if total >= 0 else 0.0
    decay = _decay(tail_mean)
    return float(row[TAIL]) * (1 - decay) * decay ** min(total - TAIL, 10_000)


def _around(row: NDArray[np.float64], total: int, tail_mean: float) -> tuple[float, float, float]:
    """What a distribution gives to fewer than ``total``, to it, and to more."""
    row = row / row.sum()
    at = _at(row, total, tail_mean)
    within = 1 - _decay(tail_mean) ** min(total - TAIL, 10_000) if total > TOP else 0.0
    below = float(row[: min(total, TAIL)].sum() + row[TAIL] * within)
    return below, at, max(1 - below - at, 0.0)


def _foreign(quantity: int, told: NDArray[np.float64], tail_mean: float) -> float:
    """How often a record that has nothing to do with the bin reads so: half of them are another bin's, half are a
    slip of the keys, any number of as many digits (two at least)."""
    slip = 10.0 ** -max(2, len(str(quantity)))
    return 0.5 * _at(told, quantity, tail_mean) + 0.5 * slip
