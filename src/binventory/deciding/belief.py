"""What to believe of a record before a photo: P(its total is right), and P(fewer or more items are there).

The record says q. Either it is right; or it is wrong in one of the declared ways, each of which says what the true
total would be; or, undeclared, it has nothing to do with the bin. Each way is weighed by how often it happens and by
how photo and lines speak for the total that would then be there (Bayes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from binventory.deciding.policy import ERRORS, ErrorKind
from binventory.deciding.rule import Powers, Rule
from binventory.records import LEVELS, TAIL, TOP, BinRecord, Count, Item

ANYTHING = 0.1
"""Of wrong records this share has nothing to do with the bin, whatever a site declares: labels swapped, a key slipped.
Without it a record far from all that a photo shows could only be right."""

REFERENCE_RATE = 0.1
"""The share of wrong records with which the passing score is reckoned, for all sites alike."""

_SHIFTS: dict[ErrorKind, int] = {"one more": 1, "one fewer": -1, "two more": 2, "two fewer": -2}
"""How far the record's total lies from what is there."""

_PLAIN = Rule((1 / LEVELS,) * LEVELS, Powers(), (), 0.1, 0.0)
"""No rule: the photo alone, and lines of one to nine items, fewer the more."""

_QUANTITIES = tuple(0.5**k for k in range(1, 10))


@dataclass(frozen=True, slots=True)
class Belief:
    """``right``: P(the record's total is what is there); ``fewer`` and ``more``: P(fewer or more items are there).
    They sum to one."""

    right: float
    fewer: float
    more: float


def belief(
    count: Count, record: BinRecord, rule: Rule | None, rate: float, kinds: Sequence[ErrorKind] = ERRORS
) -> Belief:
    """What to believe of a record with a quantity, where a share ``rate`` of records is wrong in one of ``kinds``,
    each as often as the others, or in an undeclared way. Raises ValueError where the record has no quantity."""
    rule, rate = rule or _PLAIN, max(rate, 1e-6)  # nobody's records are all right
    if record.quantity is None:
        raise ValueError("a belief is about a record's total, and this record has none")
    quantity, items = record.quantity, record.items
    ways = [_Way(1 - rate, quantity, items)]
    for kind in kinds:
        share = rate * (1 - ANYTHING) / len(kinds)
        ways += [_Way(share * one.weight, one.total, one.items) for one in _truths(kind, quantity, items, rule)]
    ways = [one for one in ways if one.total >= 0]
    evidence = rule.evidence(count.probs, [one.items for one in ways])
    spoken = [one.weight * _at(row, one.total, count.tail_mean) for one, row in zip(ways, evidence, strict=True)]
    right = spoken[0]
    fewer = sum(one for one, way in zip(spoken, ways, strict=True) if way.total < quantity)
    more = sum(one for one, way in zip(spoken, ways, strict=True) if way.total > quantity)
    chance = rate * ANYTHING * _chance(quantity, rule.prior, count.tail_mean)
    below, at, above = _around(evidence[0], quantity, count.tail_mean)
    right, fewer, more = right + chance * at, fewer + chance * below, more + chance * above
    whole = right + fewer + more
    return Belief(right / whole, fewer / whole, more / whole)


def score(count: Count, record: BinRecord, rule: Rule) -> float:
    """The passing score, 0..1: P(record right) where errors of all kinds are as common as the reference has them.

    Nothing passes where more than 20 items are in question, for there a photo tells one total no better from the
    next: the score is 0 where the record says more than 20, or the count's interval reaches above.
    """
    if record.quantity is None or record.quantity > TOP or count.interval[1] is None:
        return 0.0
    return belief(count, record, rule, REFERENCE_RATE).right


@dataclass(frozen=True, slots=True)
class _Way:
    """A way that things could be: what is there in all, by which lines, and how often the record then reads so."""

    weight: float
    total: int
    items: tuple[Item, ...]


def _truths(kind: ErrorKind, quantity: int, items: tuple[Item, ...], rule: Rule) -> list[_Way]:
    """What could be there where the record is wrong in this way; weights sum to about one."""
    if kind in _SHIFTS:
        return [_Way(1.0, quantity - _SHIFTS[kind], items)]
    if kind == "line added":
        known = [one for one in items if one.quantity]
        if not known:
            return [_Way(share, quantity - n, items) for n, share in _line_quantities(rule)]
        often = _ratio(rule.lines, len(items) - 1, len(items)) / len(known)
        return [_Way(often, quantity - (one.quantity or 0), tuple(other for other in items if other is not one))
                for one in known]  # fmt: skip
    often = _ratio(rule.lines, len(items) + 1, len(items)) if items else 1.0
    return [_Way(often * share, quantity + n, (*items, *items[:1])) for n, share in _line_quantities(rule)]


def _line_quantities(rule: Rule) -> list[tuple[int, float]]:
    shares = rule.quantities or _QUANTITIES
    return [(n, share) for n, share in enumerate(shares, start=1) if share > 0]


def _ratio(lines: Sequence[float], there: int, told: int) -> float:
    """How much commoner bins with so many lines are than those with as many as the record tells."""
    if max(there, told) >= len(lines):
        return 1.0
    return lines[there] / max(lines[told], 1e-9)


def _decay(tail_mean: float) -> float:
    """Totals above 20 fall off geometrically: each is so many times as likely as the one before."""
    above = max(tail_mean - TAIL, 1e-6)
    return above / (above + 1)


def _at(row: NDArray[np.float64], total: int, tail_mean: float) -> float:
    """What a distribution [22] gives a total, the tail spread over all totals above 20."""
    if total <= TOP:
        return float(row[total])
    decay = _decay(tail_mean)
    return float(row[TAIL]) * (1 - decay) * decay ** min(total - TAIL, 10_000)


def _around(row: NDArray[np.float64], total: int, tail_mean: float) -> tuple[float, float, float]:
    """What a distribution gives to fewer than ``total``, to it, and to more; normalised."""
    row = row / row.sum()
    at = _at(row, total, tail_mean)
    if total <= TOP:
        below = float(row[:total].sum())
    else:
        below = float(row[:TAIL].sum() + row[TAIL] * (1 - _decay(tail_mean) ** min(total - TAIL, 10_000)))
    return below, at, max(1 - below - at, 0.0)


def _chance(quantity: int, prior: Sequence[float], tail_mean: float) -> float:
    """How often a record that has nothing to do with the bin reads so: half of them are another bin's, half are a
    slip of the keys, any number of as many digits (two at least)."""
    slip = 10.0 ** -max(2, len(str(quantity)))
    return 0.5 * _at(np.asarray(prior), quantity, tail_mean) + 0.5 * slip
