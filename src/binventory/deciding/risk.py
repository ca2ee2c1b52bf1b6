"""From the share of wrong records that a site declares to the share of wrong ones among those that passed."""

from __future__ import annotations

from math import log

import numpy as np

from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule

DELTA = 0.05
"""The probability with which each bound of this file may fail."""


def wrong_among_passed(rule: Rule | None, policy: Policy, wrong: int = 0, recounted: int = 0) -> float | None:
    """At most this share of the records that passed is wrong in a declared way; None where that cannot be said.

    P(wrong | passed) = r b / (r b + (1 - r) a): ``r`` the rate that the policy declares, or, where ``recounted`` bins
    drawn at random had ``wrong`` wrong records and that speaks for more, the upper bound from them; ``b`` the bound on
    P(pass | wrong); ``a`` the lower bound on P(pass | right), for records with lines or without, whichever is worse. It
    holds with probability 1 - rule.delta - 2 DELTA at
    least. Bins that were recounted for being doubtful are no random draw, and make ``r`` larger than it is.

    None where no rate is declared (then nothing is known of how many records are wrong), or nothing can pass.
    """
    found = [rule.threshold(policy.errors, policy.bound, lines) for lines in (True, False)] if rule else []
    passing = [one for one in found if one is not None and one.score <= 1]
    if policy.wrong_rate is None or not passing:
        return None
    rate = max(policy.wrong_rate, upper(wrong, recounted) if recounted else 0.0)
    return max(rate * one.bound / max(rate * one.bound + (1 - rate) * one.right, 1e-12) for one in passing)


def upper(hits: int, n: int, delta: float = DELTA) -> float:
    """The upper bound of a share of which ``hits`` of ``n`` were seen, wrong with probability ``delta`` at most
    (Clopper and Pearson 1934). 1 where nothing was seen."""
    if hits >= n:
        return 1.0
    low, high = hits / n, 1.0
    for _ in range(50):  # the tail falls as the share grows
        middle = (low + high) / 2
        low, high = (middle, high) if below(hits, n, middle) > delta else (low, middle)
    return high


def lower(hits: int, n: int, delta: float = DELTA) -> float:
    """The lower bound, likewise."""
    return 1 - upper(n - hits, n, delta)


def below(hits: int, n: int, share: float) -> float:
    """P(at most ``hits`` of ``n``) where each is one with probability ``share``: the lower tail of a binomial."""
    if hits >= n or share <= 0:
        return 1.0
    if share >= 1 or hits < 0:
        return 0.0
    k = np.arange(hits + 1)
    steps = np.concatenate([[0.0], np.cumsum(np.log((n - k[:-1]) / (k[:-1] + 1)))])
    logs = steps + k * log(share) + (n - k) * np.log1p(-share)
    return float(min(np.exp(np.logaddexp.reduce(logs)), 1.0))
