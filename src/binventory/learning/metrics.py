"""Figures from counts and truths: pure. Shares are fractions; intervals are bootstraps over runs.

``accuracy``, ``within_one`` and ``by_count`` score the mode, ``mae`` the median, ``rmse`` and ``bias`` the mean (the
tail counted with its learnt mean), ``coverage_90`` and ``mean_width_90`` the printed interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from binventory.records import LEVELS, TAIL, Count, level

Floats = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class ByCount:
    """Figures of the photos of one true count."""

    n: int
    accuracy: float
    within_one: float
    bias: float
    coverage_90: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the same answer for every photo scores."""

    answer: float
    accuracy: float
    within_one: float
    mae: float
    rmse: float


@dataclass(frozen=True, slots=True)
class Figures:
    """``n`` photos of ``runs`` runs were judged. ``accuracy_closed`` and ``rmse_closed`` renormalise the distribution
    to the counts that were asked for; without such a choice they equal the open ones. Each ``_ci`` is a 95 % interval
    over runs. ``set_coverage_90`` and
    ``set_width_90`` are the raw conformal sets', of which the interval is the hull with the mode."""

    n: int
    runs: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    accuracy_closed: float
    within_one: float
    within_one_ci: tuple[float, float]
    mae: float
    rmse: float
    rmse_closed: float
    rmse_closed_ci: tuple[float, float]
    bias: float
    log_loss: float
    calibration_error: float
    majority_accuracy: float
    baselines: dict[str, Baseline]
    coverage_90: float
    mean_width_90: float
    set_coverage_90: float | None
    set_width_90: float | None
    by_count: dict[str, ByCount]

    def as_row(self) -> dict[str, Any]:
        """The figures as they stand in JSON output."""
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def figures(
    truths: Sequence[int],
    counts: Sequence[Count],
    runs: Sequence[str],
    *,
    closed: Sequence[int] | None = None,
    balanced: bool = False,
    sets: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Figures:
    """Judge counts against true quantities, photo by photo, in runs.

    ``closed``: the quantities that were chosen, for the closed figures. ``balanced``: every true count weighs alike,
    in all figures but ``n``, ``runs`` and ``by_count``. ``sets``: raw conformal sets [N, 22] to report beside the
    intervals. Needs at least one photo (ValueError).
    """
    if not len(truths):
        raise ValueError("figures need at least one photo, got none")
    truth = np.asarray(truths, dtype=np.float64)
    levels = np.array([level(one) for one in truths])
    weights = _weights(levels, balanced)
    probs = np.array([count.probs for count in counts])
    tails = np.array([count.tail_mean for count in counts])
    modes = probs.argmax(axis=1)
    means = _means(probs, tails)
    medians = np.array([count.median for count in counts])
    lows, highs = (np.array(ends) for ends in zip(*(_ends(count) for count in counts), strict=True))
    hit = (modes == levels).astype(float)
    near = (np.abs(modes - levels) <= 1).astype(float)
    held = ((lows <= levels) & (levels <= highs)).astype(float)
    chosen = probs if closed is None else _closed(probs, closed)

    missed = (_means(chosen, tails) - truth) ** 2

    def over(values: NDArray[Any]) -> float:
        return float(weights @ values)

    def between(values: Floats) -> tuple[float, float]:
        return interval(values, levels, runs, balanced, seed)

    low, high = between(missed)
    return Figures(
        n=len(truth),
        runs=len(set(runs)),
        accuracy=over(hit),
        accuracy_ci=between(hit),
        accuracy_closed=over(chosen.argmax(axis=1) == levels),
        within_one=over(near),
        within_one_ci=between(near),
        mae=over(np.abs(np.where(medians == TAIL, tails, medians) - truth)),
        rmse=over((means - truth) ** 2) ** 0.5,
        rmse_closed=over(missed) ** 0.5,
        rmse_closed_ci=(low**0.5, high**0.5),
        bias=over(means - truth),
        log_loss=over(-np.log(np.maximum(probs[np.arange(len(levels)), levels], 1e-12))),
        calibration_error=_calibration_error(probs.max(axis=1), hit, weights),
        majority_accuracy=over(levels == _commonest(levels)),
        baselines=_baselines(truth, levels, weights),
        coverage_90=over(held),
        mean_width_90=over(highs - lows + 1),
        set_coverage_90=None if sets is None else over(sets[np.arange(len(levels)), levels]),
        set_width_90=None if sets is None else over(sets.sum(axis=1)),
        by_count={
            str(k): ByCount(int(of.sum()), *(float(values[of].mean()) for values in (hit, near, means - truth, held)))
            for k in np.unique(levels)
            for of in [levels == k]
        },
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trained head or network makes of each photo of validate: its log loss, float64 [N], and whether its mode
    is right, 0 or 1, float64 [N]."""

    losses: Floats
    hits: Floats


def judged(log_probs: Floats, levels: NDArray[np.intp]) -> Judgement:
    """The judgement of log-probabilities [N, 22] by the true levels [N]."""
    return Judgement(
        -log_probs[np.arange(len(levels)), levels], (log_probs.argmax(axis=1) == levels).astype(np.float64)
    )


def line(row: Mapping[str, float]) -> str:
    """One line of ``key=value``, as whoever watches a training reads its figures."""
    return " ".join(f"{name}={value:.6g}" for name, value in row.items())


def reliability(probs: Floats, hit: Floats, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of photos in each tenth of confidence that has any."""
    place = np.minimum((probs * bins).astype(int), bins - 1)
    found = [place == number for number in range(bins)]
    return [(float(probs[of].mean()), float(hit[of].mean()), int(of.sum())) for of in found if of.any()]


def interval(
    hit: Floats, levels: NDArray[np.int_], runs: Sequence[str], balanced: bool = False, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean of ``hit`` [N] (or of a difference of two such): whole runs are drawn with
    replacement; balance over ``levels`` [N] is made anew in each draw."""
    _, run = np.unique(np.asarray(runs), return_inverse=True)
    classes = levels if balanced else np.zeros_like(levels)
    size = (run.max() + 1, classes.max() + 1)
    totals, hits = np.zeros(size), np.zeros(size)
    np.add.at(totals, (run, classes), 1)
    np.add.at(hits, (run, classes), hit)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, size[0], size[0]), minlength=size[0])
        n, right = times @ totals, times @ hits
        draws.append(float(np.mean(right[n > 0] / n[n > 0])))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _weights(levels: NDArray[np.int_], balanced: bool) -> Floats:
    if not balanced:
        return np.full(len(levels), 1 / len(levels))
    tally = np.bincount(levels, minlength=LEVELS)
    return np.asarray(1 / tally[levels] / (tally > 0).sum())


def _means(probs: Floats, tails: Floats) -> Floats:
    return np.asarray(probs[:, :TAIL] @ np.arange(TAIL) + probs[:, TAIL] * tails)


def _ends(count: Count) -> tuple[int, int]:
    low, high = count.interval
    return low, TAIL if high is None else high


def _closed(probs: Floats, quantities: Sequence[int]) -> Floats:
    mask = np.zeros(LEVELS)
    mask[[level(one) for one in quantities]] = 1
    kept = probs * mask + 1e-12 * mask
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _calibration_error(confidence: Floats, hit: Floats, weights: Floats) -> float:
    place = np.minimum((confidence * 10).astype(int), 9)
    gaps = np.bincount(place, weights * (hit - confidence), minlength=10)
    return float(np.abs(gaps).sum())


def _commonest(levels: NDArray[np.int_]) -> int:
    return int(np.bincount(levels, minlength=LEVELS).argmax())


def _baselines(truth: Floats, levels: NDArray[np.int_], weights: Floats) -> dict[str, Baseline]:
    order = np.argsort(truth)
    middle = truth[order][np.searchsorted(np.cumsum(weights[order]), 0.5 - 1e-12)]
    answers = {"majority": float(_commonest(levels)), "median": float(middle), "mean": float(weights @ truth)}

    def scored(answer: float) -> Baseline:
        nearest = level(round(answer))
        return Baseline(
            answer,
            float(weights @ (levels == nearest)),
            float(weights @ (np.abs(levels - nearest) <= 1)),
            float(weights @ np.abs(truth - answer)),
            float(weights @ (truth - answer) ** 2) ** 0.5,
        )

    return {name: scored(answer) for name, answer in answers.items()}
