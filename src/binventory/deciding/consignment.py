"""Several bins or totes with what their sender says is in them: which may go, which are recounted first, how sure.

Photos of one run err together: one camera, one light, one hand that packed. That has two sides, and each figure takes
the cautious one. That everything is right is least likely where nothing hangs together, so ``p_all_right`` is the
plain product. That many are wrong at once is likelier where much does, so ``wrong_at_most`` is the larger of what
independence and the fitted dependence (a one-factor Gaussian copula within each run) give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, log, prod, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0.5
"""What stands for P(right) of a tote of which nothing is known."""

SURE = 0.9
"""``wrong_at_most`` holds with this probability."""

_NORMAL = NormalDist()
_FACTORS = tuple(_NORMAL.inv_cdf((n + 0.5) / 201) for n in range(201))
"""Values of a run's common factor, each as likely as the others."""


@dataclass(frozen=True, slots=True)
class Tote:
    """A bin or tote of a consignment. ``expected``: how many items its sender declares; ``p_right`` and ``passes``:
    what its verdict says (None and False: there is no photo). ``recounted``: None, not at the bin; True, found right;
    False, found wrong. ``minutes``: what a recount takes. ``run``: totes of one run err together; "" is a run, too.
    """

    bin: str
    expected: int
    p_right: float | None
    passes: bool
    recounted: bool | None
    minutes: float
    run: str

    @property
    def right(self) -> float:
        """The probability that its declared total is right, by all that is known."""
        if self.recounted is not None:
            return float(self.recounted)
        return UNKNOWN if self.p_right is None else self.p_right


@dataclass(frozen=True, slots=True)
class Release:
    """What may go and what is to be done first.

    ``p_all_right``: the probability that every declared total is right, at least: 0 where a recount found one wrong,
    until that tote stays behind, that is, is left out of what is asked. ``release``: the bins that may go, the surest
    first. ``recount``: the others, in the order in which a recount raises log P(all right) most a minute, those
    without a photo first; ``minutes``: what all of them take. ``wrong``: the bins that a recount found wrong; they
    are never released. ``wrong_share``: the expected share of wrong ones among the released; ``wrong_at_most``: the
    share that is not exceeded with probability ``SURE``.
    """

    p_all_right: float
    release: tuple[str, ...]
    recount: tuple[str, ...]
    wrong: tuple[str, ...]
    minutes: float
    wrong_share: float
    wrong_at_most: float


def consign(totes: Sequence[Tote], max_wrong: float, dependence: float) -> Release:
    """Which totes may go so that at most ``max_wrong`` of them (a share) are expected to be wrong.

    Only what a recount at the bin found right, or what its verdict passes, is ever released. ``dependence``: of photos
    of one run, 0..1 (``Rule.dependence``).
    """
    passing = [one for one in totes if one.recounted is None and one.passes and one.p_right is not None]
    ready = [one for one in totes if one.recounted] + passing
    ready.sort(key=lambda one: (-one.right, one.bin))
    wrong, going = 0.0, 0
    for number, one in enumerate(ready, start=1):  # the surest first, so the share only grows
        wrong += 1 - one.right
        if wrong <= max_wrong * number + 1e-12:
            going = number
    release = ready[:going]
    left = {one.bin for one in release}
    waiting = [one for one in totes if one.recounted is None and one.bin not in left]
    waiting.sort(key=lambda one: (one.p_right is not None, -_gain(one), one.bin))
    return Release(
        prod(one.right for one in totes),
        tuple(one.bin for one in release),
        tuple(one.bin for one in waiting),
        tuple(one.bin for one in totes if one.recounted is False),
        sum(one.minutes for one in waiting),
        sum(1 - one.right for one in release) / max(going, 1),
        max(_at_most(release, 0.0), _at_most(release, dependence)),
    )


def wrong_counts(totes: Sequence[Tote], dependence: float) -> NDArray[np.float64]:
    """P(0, 1, 2 … N totes are wrong): float64 [N + 1]. Runs are independent; within one, each tote is wrong where a
    normal variable falls below its quantile, and any two of these variables correlate by ``dependence``."""
    of: dict[str, list[float]] = {}
    for one in totes:
        of.setdefault(one.run, []).append(1 - one.right)
    whole = np.ones(1)
    for shares in of.values():
        whole = np.convolve(whole, _run(shares, dependence))
    return np.asarray(whole, dtype=np.float64)


def _run(shares: Sequence[float], dependence: float) -> NDArray[np.float64]:
    if dependence <= 0 or len(shares) == 1:
        return np.asarray(_sum(np.array(shares)[None, :])[0])
    dependence = min(dependence, 0.999)
    given = np.array([[_given(share, z, dependence) for share in shares] for z in _FACTORS])
    return np.asarray(_sum(given).mean(axis=0))


def _given(share: float, z: float, dependence: float) -> float:
    """How likely a tote is wrong where the run's common factor is ``z``."""
    if not 0 < share < 1:
        return share
    point = (_NORMAL.inv_cdf(share) - sqrt(dependence) * z) / sqrt(1 - dependence)
    return 0.5 * (1 + erf(point / sqrt(2)))


def _sum(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of independent events happen: for each row of probabilities [R, N] the distribution [R, N + 1]."""
    found = np.zeros((len(shares), shares.shape[1] + 1))
    found[:, 0] = 1
    for n, share in enumerate(shares.T, start=1):
        found[:, 1 : n + 1] = found[:, 1 : n + 1] * (1 - share)[:, None] + found[:, :n] * share[:, None]
        found[:, 0] *= 1 - share
    return found


def _at_most(release: Sequence[Tote], dependence: float) -> float:
    if not release:
        return 0.0
    up_to = np.cumsum(wrong_counts(release, dependence))
    return int(np.searchsorted(up_to, SURE - 1e-9)) / len(release)


def _gain(tote: Tote) -> float:
    """How much a recount that finds the tote right raises log P(all right), a minute."""
    return -log(max(tote.right, 1e-12)) / max(tote.minutes, 1e-9)
