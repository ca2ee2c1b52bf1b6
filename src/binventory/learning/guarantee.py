"""Fits what counting applies: the temperature, and the conformal sets that hold their coverage for each count.

Split conformal prediction, label-conditional (Vovk 2012; Sadinle, Lei and Wasserman 2019): photos of one run are not
exchangeable, so each run gives one photo, drawn by hash. With n photos of a group, the quantile is the
ceil((n + 1) coverage)-th smallest strangeness; coverage of later bins of that group then follows a beta-binomial law
exactly. For a count with a quantile of its own that holds whatever mix of counts they come in; a pool of counts keeps
its promise as a whole, under its own mix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import ceil, exp

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from binventory.counting.calibration import Calibration, Group, strangeness
from binventory.records import LEVELS

OWN = range(6)
"""The counts that have a quantile of their own; those above share one."""

EVERYTHING = 2.0
"""A quantile that no strangeness reaches: too few photos to leave anything out."""


def temperature(log_probs: NDArray[np.float64], levels: NDArray[np.intp]) -> float:
    """The temperature in 0.2..5 that makes log-probabilities [N, 22] likeliest for the true levels [N]."""

    def loss(log_t: float) -> float:
        logits = log_probs / exp(log_t)
        return float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(levels)), levels]))

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(exp(best.x))


def one_a_run(ids: Sequence[str], runs: Sequence[str]) -> list[int]:
    """The index of one photo of each run, the one whose id hashes lowest."""
    chosen: dict[str, int] = {}
    for index, (id, run) in enumerate(zip(ids, runs, strict=True)):
        if run not in chosen or _hash(id) < _hash(ids[chosen[run]]):
            chosen[run] = index
    return sorted(chosen.values())


def calibration(
    temperature: float, probs: NDArray[np.float64], levels: NDArray[np.intp], coverage: float, photos: int
) -> Calibration:
    """Conformal sets from calibrated distributions [R, 22] and true levels [R] of one photo a run.

    ``temperature``: what ``probs`` were made with; ``photos``: how many the runs had in all. A count of 0..5
    with too few runs to support its own quantile joins the pool of those above.
    """
    own = strangeness(probs)[np.arange(len(levels)), levels]
    alone = [k for k in OWN if _rank((levels == k).sum(), coverage) is not None]
    pool = [k for k in range(LEVELS) if k not in alone]
    groups = tuple(_group((k,), own[levels == k], coverage) for k in alone)
    pooled = _group(tuple(pool), own[np.isin(levels, pool)], coverage)
    return Calibration(temperature, coverage, (*groups, pooled), quantile(own, coverage), photos, len(levels))


def quantile(strange: NDArray[np.float64], coverage: float) -> float:
    """The conformal quantile of n strangenesses: the ceil((n + 1) coverage)-th smallest, or EVERYTHING."""
    rank = _rank(len(strange), coverage)
    return EVERYTHING if rank is None else float(np.sort(strange)[rank - 1])


def _rank(n: int, coverage: float) -> int | None:
    rank = ceil((n + 1) * coverage - 1e-9)
    return rank if rank <= n else None


def _group(counts: tuple[int, ...], strange: NDArray[np.float64], coverage: float) -> Group:
    return Group(counts, len(strange), quantile(strange, coverage))


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
