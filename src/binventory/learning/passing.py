"""Fits what deciding applies: how photo and lines combine, and from which score on a record may pass. Pure.

Learn then test (Angelopoulos, Bates, Candès, Jordan and Lei 2021): each run of the calibrate side gives one photo, and
its true record is tampered with in each way that the policy may declare. Scores are ordered, so the rules "pass from
this score on" are tested one after the other, the strictest first, each by the binomial tail of how many tampered
records it lets pass; the last that holds is kept. All kinds hold together (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from binventory.counting import priors
from binventory.data.catalogue import Row
from binventory.deciding import belief, risk
from binventory.deciding.manifest import Manifest, traits
from binventory.deciding.policy import ERRORS, ErrorKind
from binventory.deciding.rule import Losses, Powers, Rule, Threshold
from binventory.learning import fitting, guarantee
from binventory.records import TOP, BinRecord, Count, Item, level

Lines = Mapping[str, tuple[Item, ...]]
"""The lines of records by the photo's id."""

BOUNDS = (0.05, 0.1, 0.2)
"""The shares of wrong records up to which thresholds are fitted."""

DELTA = 0.1
FEWEST_LINES = 200
"""Records with lines that it takes to learn what lines tell of totals."""

NOTHING = 2.0
"""A score that none reaches: too few records to let anything pass."""

_NO_LINE = Item("", None, None, None, None, None, None, None)
_RIDGES = (1e-4, 1e-3, 1e-2)
_SHIFTS: dict[ErrorKind, int] = {"one more": 1, "one fewer": -1, "two more": 2, "two fewer": -2}


@dataclass(frozen=True, slots=True)
class Known:
    """A photo whose record is taken for right: its run, its count, and the record."""

    id: str
    run: str
    count: Count
    record: BinRecord

    @property
    def total(self) -> int:
        """The true total."""
        return self.record.quantity or 0


def known(rows: Sequence[Row], counts: Sequence[Count], lines: Lines) -> list[Known]:
    """Photos with their true records. Lines that do not add up to the label are left out, for one of them is wrong."""
    return [Known(row.id, row.run, count, right(row, lines)) for row, count in zip(rows, counts, strict=True)]


def right(row: Row, lines: Lines) -> BinRecord:
    """The record of a labelled photo, with its lines where they add up to the label."""
    items, total = lines.get(row.id, ()), row.count or 0
    adds_up = sum(one.quantity or 0 for one in items) == total and all(one.quantity for one in items)
    return BinRecord(total, items if adds_up else ())


def tampered(record: BinRecord, kind: ErrorKind, other: Item, rng: np.random.Generator) -> BinRecord | None:
    """The record made wrong in one way, its lines adding up to its total; None where it cannot be.

    No line and no total falls below 1. ``other``: a real line of another bin, to be added.
    """
    items, total = record.items, record.quantity or 0
    if kind == "line added":
        return BinRecord(total + (other.quantity or 0), (*items, other)) if items else None
    if kind == "line dropped":
        at = int(rng.integers(max(len(items), 1)))
        return BinRecord(total - (items[at].quantity or 0), items[:at] + items[at + 1 :]) if len(items) > 1 else None
    shift = _SHIFTS[kind]
    if total + shift < 1:
        return None
    if not items:
        return BinRecord(total + shift)
    able = [at for at, one in enumerate(items) if (one.quantity or 0) + shift >= 1]
    if not able:
        return None
    at = able[int(rng.integers(len(able)))]
    moved = replace(items[at], quantity=(items[at].quantity or 0) + shift)
    return BinRecord(total + shift, (*items[:at], moved, *items[at + 1 :]))


def fitted(
    train: Sequence[BinRecord], validate: Sequence[Known], calibrate: Sequence[Known], prior: Sequence[float]
) -> Rule:
    """The rule: what lines tell from train's records, the stack from validate, thresholds and dependence from
    calibrate, one photo a run. ``prior``: the mix that the counts stand under."""
    rule = Rule(tuple(prior), Powers(), (), DELTA, 0.0)
    lined, chosen = [one for one in train if one.items], [one for one in validate if one.record.items]
    if len(lined) >= FEWEST_LINES and len(chosen) >= FEWEST_LINES // 4:
        rule = replace(
            rule,
            manifest=manifest(lined, chosen, prior),
            lines=_shares([len(one.items) for one in lined]),
            quantities=_shares([item.quantity or 0 for one in lined for item in one.items])[1:],
        )
        rule = stacked(rule, chosen)
    firsts = guarantee.one_a_run([one.id for one in calibrate], [one.run for one in calibrate])
    found = thresholds(rule, [calibrate[at] for at in firsts])
    return replace(rule, thresholds=found, dependence=dependence(rule, calibrate))


def manifest(train: Sequence[BinRecord], validate: Sequence[Known], prior: Sequence[float]) -> Manifest:
    """p(total | lines) under ``prior``: fitted to train's records, its penalty chosen by validate's log loss."""
    table = np.array([traits(one.items) for one in train], dtype=np.float32)
    levels = np.array([level(one.quantity or 0) for one in train])
    scale, weights = fitting.scaling(table), fitting.weigh(levels, 0.0)
    truth = np.array([level(one.total) for one in validate])
    trained = priors.mix(levels.tolist())
    found = []
    for ridge in _RIDGES:
        parameters = fitting.head(scale(table), levels, weights, ridge, 0.0, 300)
        heads = [fitting.folded(parameters, scale, trained, under) for under in (trained, prior)]
        judged, kept = (Manifest(_rounded(one.weight), tuple(map(_short, one.bias.tolist()))) for one in heads)
        found.append((_loss(judged.probs([one.record.items for one in validate]), truth), kept))
    return min(found, key=lambda one: one[0])[1]


def stacked(rule: Rule, validate: Sequence[Known]) -> Rule:
    """The rule with the powers that make the true totals of validate's records with lines likeliest, or with the plain
    product where that is as good, and the losses of both."""
    assert rule.manifest is not None
    truth = np.array([level(one.total) for one in validate])
    photo = np.maximum(np.array([one.count.probs for one in validate]), 1e-12)
    lines = rule.manifest.probs([one.record.items for one in validate])
    logs = [np.log(photo), np.log(lines), -np.log(np.asarray(rule.prior))]

    def loss(powers: Sequence[float] | NDArray[np.float64]) -> float:
        logits = sum((power * one for power, one in zip(powers, logs, strict=True)), np.zeros_like(photo))
        return _loss(np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)), truth)

    best: Any = minimize(loss, np.ones(3), method="L-BFGS-B", bounds=[(0.1, 2), (0, 2), (0, 2)])
    product, stack = loss((1, 1, 1)), float(best.fun)
    losses = Losses(len(validate), *map(_short, (_loss(photo, truth), _loss(lines, truth), product, stack)))
    powers = Powers(*map(_short, best.x)) if stack < product else Powers()
    return replace(rule, powers=powers, losses=losses)


def thresholds(rule: Rule, firsts: Sequence[Known], seed: int = 0) -> tuple[Threshold, ...]:
    """For each kind of error that the records allow, and each bound, from which score on a record passes.

    ``firsts``: one photo a run. Where the rule knows lines, records with lines are judged with them, on those that have
    some; and all are judged without, by totals alone, as records of a site that knows no lines.
    """
    lined = [one for one in firsts if rule.judges_lines(one.record.items)]
    with_lines = _thresholds(rule, lined, ERRORS, True, seed) if lined else ()
    kinds = ERRORS if lined else tuple(_SHIFTS)
    return (*with_lines, *_thresholds(rule, firsts, kinds, False, seed))


def _thresholds(
    rule: Rule, firsts: Sequence[Known], kinds: Sequence[ErrorKind], lines: bool, seed: int
) -> tuple[Threshold, ...]:
    rng = np.random.default_rng(seed)
    pool = [item for one in firsts for item in one.record.items] or [_NO_LINE]

    def score(one: Known, record: BinRecord) -> float:
        return belief.score(one.count, record if lines else BinRecord(record.quantity), rule)

    upright = np.array([score(one, one.record) for one in firsts])
    found = []
    for kind in kinds:
        others = [pool[int(rng.integers(len(pool)))] for _ in firsts]
        pairs = [(one, tampered(one.record, kind, other, rng)) for one, other in zip(firsts, others, strict=True)]
        scores = np.array([score(one, record) for one, record in pairs if record is not None])
        for bound in BOUNDS:
            least = threshold(scores, bound, DELTA / len(kinds))
            passed = int((upright >= least).sum())
            right = _floor(risk.lower(passed, len(firsts)))
            found.append(Threshold(kind, lines, bound, least, len(scores), right))
    return tuple(found)


def threshold(scores: NDArray[np.float64], bound: float, delta: float) -> float:
    """The lowest score from which on, with confidence 1 - ``delta``, at most a share ``bound`` of such records passes,
    by the scores [N] of N of them."""
    allowed = -1
    while allowed + 1 < len(scores) and risk.below(allowed + 1, len(scores), bound) <= delta:
        allowed += 1
    if allowed < 0:
        return NOTHING
    return float(np.floor(np.sort(scores)[::-1][allowed] * 1e6) + 1) / 1e6  # just above the first that may not pass


def dependence(rule: Rule, calibrate: Sequence[Known]) -> float:
    """How photos of one run err together: the correlation, over pairs of a run, of where the true total lies in what
    was believed of it, as a normal variable; 0 where runs are single photos."""
    normal = NormalDist()
    of: dict[str, list[float]] = {}
    for one in calibrate:
        totals, at = rule.totals(one.count.probs, one.record.items), level(one.total)
        middle = float(totals[:at].sum() + totals[at] / 2)
        of.setdefault(one.run, []).append(normal.inv_cdf(min(max(middle, 1e-3), 1 - 1e-3)))
    every = [z for zs in of.values() for z in zs]
    mean, spread = float(np.mean(every)), float(np.var(every))
    pairs = [(a - mean) * (b - mean) for zs in of.values() for n, a in enumerate(zs) for b in zs[:n]]
    return _short(min(max(float(np.mean(pairs)) / spread, 0.0), 0.95)) if pairs and spread else 0.0


def _shares(numbers: Sequence[int], most: int = TOP) -> tuple[float, ...]:
    """How common 0, 1 … ``most`` are among the numbers; none of them quite never."""
    tally = np.bincount(np.minimum(numbers, most), minlength=most + 1) + 0.5
    return tuple(map(_short, (tally / tally.sum()).tolist()))


def _loss(probs: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    return float(-np.log(np.maximum(probs[np.arange(len(truth)), truth], 1e-12)).mean())


def _rounded(weight: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(_short, row)) for row in weight.tolist())


def _short(number: float) -> float:
    return round(float(number), 5)


def _floor(share: float) -> float:
    return float(np.floor(share * 1e4)) / 1e4
