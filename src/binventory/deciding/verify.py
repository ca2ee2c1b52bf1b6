"""May a bin's record stand? A count and a record to a verdict about the bin's total, in numbers and words.

A photo tells how many items there are, never which: a match says nothing of the lines, and two articles exchanged are
not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from binventory.deciding import belief
from binventory.deciding.belief import Belief
from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule, Threshold
from binventory.records import TOP, BinRecord, Count, Decision, Verdict, shown, span

_DEFAULTS = Policy()


def verify(count: Count, record: BinRecord | None, policy: Policy = _DEFAULTS, rule: Rule | None = None) -> Verdict:
    """The verdict on a record's total before a photo's count.

    ``short`` or ``over`` where fewer or more items are there with probability ``policy.tell`` or more; ``match`` where
    the bundle's rule lets the record pass and what a mistake may cost does not exceed a recount; else ``recount``.
    ``rule``: ``Rule.from_bytes(bundle.deciding)``; without one nothing passes. It is about counts of that bundle under
    its own prior.
    """
    if record is None or record.quantity is None:
        reason = f"The photo shows {_seen(count)}, and there is no record of the bin's total."
        return Verdict("recount", None, None, count.count, count.interval, reason,
                       "A record of how many items the bin holds would give a verdict.")  # fmt: skip
    rate = policy.assumed_rate if policy.wrong_rate is None else policy.wrong_rate
    held = belief.belief(count, record, rule, rate, dict.fromkeys(policy.errors, 1.0))
    risk = policy.short_cost * held.fewer + policy.over_cost * held.more
    minutes = policy.minutes(record.quantity)
    passing = _passing(count, record, policy, rule)
    told = _told(count, record.quantity, held, policy, passing, risk, policy.minute_cost * minutes)
    bound = passing.threshold.bound if told.verdict == "match" and passing.threshold else None
    return Verdict(told.verdict, held.right, record.quantity, count.count, count.interval, told.reason, told.change,
                   bound, risk / minutes)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Passing:
    """What the rule says: the score, the threshold that it has to reach, and why and what to do where none will."""

    score: float
    threshold: Threshold | None
    why: str = ""
    next: str = ""

    @property
    def passes(self) -> bool:
        return self.threshold is not None and not self.why and self.score >= self.threshold.score


@dataclass(frozen=True, slots=True)
class _Told:
    verdict: Decision
    reason: str
    change: str


def _passing(count: Count, record: BinRecord, policy: Policy, rule: Rule | None) -> _Passing:
    if rule is None or not rule.thresholds:
        return _Passing(0.0, None, "the bundle has learnt no rule of passing",
                        "A bundle trained on photos with their records may let such a record pass.")  # fmt: skip
    lines = rule.judges_lines(record.items)
    missing = rule.unfitted(policy.errors, lines)
    if missing:
        return _Passing(0.0, None, f"the rule knows {len(policy.errors) - len(missing)} of the {len(policy.errors)} "
                        f"declared kinds of error, not {' or '.join(missing)}",
                        f"A policy whose errors leave out {' and '.join(missing)}, or a bundle trained on records "
                        "with lines, may let it pass.")  # fmt: skip
    threshold = rule.threshold(policy.errors, policy.bound, lines)
    if threshold is None:
        lowest = min(one.bound for one in rule.thresholds)
        return _Passing(0.0, None, f"the rule's lowest bound is {lowest:.1%} and the policy's {policy.bound:.1%}",
                        f"A policy with bound = {lowest:g} or more may let it pass.")  # fmt: skip
    if record.quantity is not None and record.quantity > TOP:
        return _Passing(0.0, threshold, f"a photo does not tell totals above {TOP} apart",
                        "Records of so many items are always recounted.")  # fmt: skip
    if count.interval[1] is None:
        return _Passing(0.0, threshold, f"more than {TOP} items may be there",
                        f"A photo that shows {TOP} or fewer for sure may let it pass.")  # fmt: skip
    reached = belief.score(count, record, rule)
    if threshold.score > 1:
        return _Passing(reached, threshold, f"no score keeps {threshold.kind!r} below {threshold.bound:.0%}",
                        "A higher bound, or a bundle trained on more photos, may let it pass.")  # fmt: skip
    return _Passing(reached, threshold)


def _told(
    count: Count, quantity: int, held: Belief, policy: Policy, passing: _Passing, risk: float, cost: float
) -> _Told:
    base = f"The photo shows {_seen(count)}; the record says {quantity}"
    settled = f"A recount at the bin settles it: {quantity} found would clear the record."
    if held.fewer >= policy.tell:
        return _Told("short", f"{base}, and with probability {held.fewer:.0%} fewer are there.", settled)
    if held.more >= policy.tell:
        return _Told("over", f"{base}, and with probability {held.more:.0%} more are there.", settled)
    if passing.threshold is None or passing.why:
        return _Told("recount", f"{base}, and {passing.why}.", passing.next)
    score, least = f"its score of {passing.score:.3f}", f"{passing.threshold.score:.3f}"
    if not passing.passes:
        change = f"A photo that speaks for {quantity} more clearly, or a recount at the bin, would clear it."
        return _Told("recount", f"{base}, and {score} is below the {least} that passes.", change)
    if risk > cost:
        reason = f"{base}; it could pass, but a mistake may cost {risk:.2f} and a recount {cost:.2f}."
        return _Told("recount", reason, f"It would pass where a recount costs {risk:.2f} or more.")
    seen = "the total alone is seen, not which articles make it"
    reason = f"{base}, and {score} reaches the {least} that passes; {seen}."
    return _Told("match", reason, f"A photo that scores below {least} would send it to a recount.")


def _seen(count: Count) -> str:
    """``4 (2 to 6)``"""
    return f"{shown(count.count)} ({span(count.interval)})"
