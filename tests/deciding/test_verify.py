"""A verdict says what it stands on, calls a far record far, and lets nothing pass that its rule does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory import BinRecord, Count, Item, Policy, Rule, UsageError, verify
from binventory.counting.priors import REFERENCE
from binventory.deciding.belief import belief
from binventory.deciding.policy import ERRORS
from binventory.deciding.rule import Powers, Threshold
from binventory.records import LEVELS, TAIL

SHARES = st.lists(st.floats(1e-6, 1), min_size=LEVELS, max_size=LEVELS).map(lambda row: [one / sum(row) for one in row])
LINES = st.lists(st.integers(1, 9), max_size=5)


def photo(shares: Mapping[int, float], *, open_above: bool = False) -> Count:
    """A photo that shows these totals, the rest of the probability spread thinly."""
    rest = (1 - sum(shares.values())) / LEVELS
    probs = tuple(shares.get(k, 0.0) + rest for k in range(LEVELS))
    mode = max(range(LEVELS), key=probs.__getitem__)
    high = None if open_above or mode + 2 > 20 else mode + 2
    return Count(probs, 29.0, (max(0, mode - 2), high))


def record(*quantities: int) -> BinRecord:
    items = tuple(Item(f"S{n}", None, None, q, 4, 4, 4, 1) for n, q in enumerate(quantities))
    return BinRecord(sum(quantities), items)


def rule(score: float = 0.5, kinds: tuple[str, ...] = ERRORS) -> Rule:
    found = tuple(Threshold(kind, False, bound, score, 300, 0.2) for kind in kinds for bound in (0.1, 0.2))
    return Rule(REFERENCE, Powers(), found, 0.1, 0.3)


FOUR = photo({4: 0.7, 3: 0.12, 5: 0.12})


def test_a_verdict_names_what_the_photo_shows_and_what_the_record_says() -> None:
    for count, total in ((FOUR, 4), (FOUR, 9), (photo({1: 0.98}), 30)):
        verdict = verify(count, BinRecord(total), rule=rule())
        low, high = count.interval
        assert f"The photo shows {count.count} ({low} to {high}); the record says {total}" in verdict.reason
        assert verdict.reason.endswith(".") and verdict.change.endswith(".")
        assert (verdict.expected, verdict.count, verdict.interval) == (total, count.count, count.interval)


def test_a_bin_without_a_record_is_for_a_person() -> None:
    for nothing in (None, BinRecord(None, record(2).items)):
        verdict = verify(FOUR, nothing, rule=rule())
        assert (verdict.verdict, verdict.p_right, verdict.expected) == ("recount", None, None)
        assert "no record" in verdict.reason


def test_a_record_far_from_the_photo_is_not_believed() -> None:
    """Nothing that a site declares explains 30 where the photo shows 1; the undeclared must."""
    for lines in ((), (10, 20), (30,)):
        verdict = verify(photo({1: 0.98, 2: 0.0195}), replace(record(*lines), quantity=30))
        assert verdict.p_right is not None and verdict.p_right < 0.05
        assert verdict.verdict == "short"
    assert verify(photo({9: 0.97}), BinRecord(8), Policy(wrong_rate=0.3)).verdict == "over"


def test_the_far_end_of_totals_is_no_trouble() -> None:
    for total in (0, 21, 22, 100, 100_000):
        verdict = verify(photo({21: 0.9}, open_above=True), BinRecord(total), rule=rule(0.0))
        assert verdict.p_right is not None and 0 <= verdict.p_right <= 1
        assert not verdict.passes


@given(SHARES, st.integers(0, 60), LINES, st.floats(0, 1))
@settings(max_examples=60)
def test_what_is_believed_sums_to_one(shares: list[float], total: int, lines: list[int], rate: float) -> None:
    held = belief(Count(tuple(shares), 25.0, (0, None)), replace(record(*lines), quantity=total), rule(), rate,
                  dict.fromkeys(ERRORS, 1.0))  # fmt: skip
    assert held.right + held.fewer + held.more == pytest.approx(1)
    assert min(held.right, held.fewer, held.more) >= 0


@given(SHARES, st.integers(0, 20), LINES, st.floats(0.05, 0.95))
@settings(max_examples=60)
def test_a_photo_that_speaks_more_for_a_record_makes_it_no_less_likely(
    shares: list[float], total: int, lines: list[int], more: float
) -> None:
    told = replace(record(*lines), quantity=total)
    surer = [(1 - more) * one + more * (k == total) for k, one in enumerate(shares)]
    before, after = (verify(Count(tuple(row), 25.0, (0, None)), told, rule=rule()).p_right for row in (shares, surer))
    assert before is not None and after is not None and after >= before - 1e-9


@given(SHARES, st.integers(0, 30), st.floats(0.01, 0.9))
@settings(max_examples=40)
def test_where_records_are_wrong_more_often_each_is_less_likely_right(
    shares: list[float], total: int, rate: float
) -> None:
    count = Count(tuple(shares), 25.0, (0, None))
    good, bad = (verify(count, BinRecord(total), Policy(wrong_rate=one)).p_right for one in (rate / 2, rate))
    assert good is not None and bad is not None and good >= bad


def test_a_match_says_its_bound_and_that_swaps_are_not_seen() -> None:
    verdict = verify(FOUR, record(3, 1), Policy(bound=0.15), rule())
    assert verdict.passes and verdict.bound == 0.1
    assert "not which articles" in verdict.reason
    assert verify(FOUR, record(3, 1), Policy(bound=0.5), rule()).bound == 0.2


def test_without_a_rule_nothing_passes_and_the_reason_says_so() -> None:
    verdict = verify(FOUR, BinRecord(4))
    assert verdict.verdict == "recount" and "no rule" in verdict.reason
    assert verdict.p_right is not None and verdict.p_right > 0.9


def test_a_bound_below_all_that_are_fitted_passes_nothing() -> None:
    verdict = verify(FOUR, BinRecord(4), Policy(bound=0.02), rule(0.0))
    assert verdict.verdict == "recount"
    assert "2.0%" in verdict.reason and "0.1" in verdict.change


def test_a_kind_that_no_threshold_is_fitted_for_passes_nothing_until_it_is_left_out() -> None:
    narrow = rule(0.0, ("one more", "one fewer", "two more", "two fewer"))
    verdict = verify(FOUR, BinRecord(4), rule=narrow)
    assert verdict.verdict == "recount"
    assert "line added" in verdict.reason and "errors" in verdict.change
    assert verify(FOUR, BinRecord(4), Policy(errors=("one more", "two more")), narrow).passes


def test_a_policy_passes_at_the_strictest_of_its_own_kinds() -> None:
    both = replace(
        rule(),
        thresholds=(Threshold("one more", False, 0.1, 0.2, 300, 0.5), Threshold("one fewer", False, 0.1, 2, 9, 0)),
    )
    assert verify(FOUR, BinRecord(4), Policy(errors=("one more",)), both).passes
    verdict = verify(FOUR, BinRecord(4), Policy(errors=("one more", "one fewer")), both)
    assert not verdict.passes and "one fewer" in verdict.reason


def test_more_than_twenty_never_pass() -> None:
    everything = rule(0.0)
    assert not verify(photo({21: 0.97}), BinRecord(25), Policy(tell=1), everything).passes
    doubtful = verify(photo({15: 0.8, 21: 0.1}, open_above=True), BinRecord(15), rule=everything)
    assert not doubtful.passes and "20" in doubtful.reason


def test_what_could_pass_is_recounted_where_a_mistake_costs_more() -> None:
    dear = verify(FOUR, BinRecord(4), Policy(short_cost=1e6), rule())
    assert dear.verdict == "recount" and "cost" in dear.reason
    assert dear.worth > verify(FOUR, BinRecord(4), Policy(), rule()).worth >= 0


@pytest.mark.parametrize("name, value", [
    ("bound", 1.5), ("errors", ()), ("errors", ("swap",)), ("tell", 0.5), ("assumed_rate", 0.0), ("short_cost", -1.0),
    ("wrong_rate", -0.1), ("bin_minutes", 0.0), ("variance_limit", -1),
])  # fmt: skip
def test_a_policy_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"policy.{name}"):
        Policy(**{name: value})  # type: ignore[arg-type]


def test_the_tail_stands_for_all_totals_above_twenty() -> None:
    held = [verify(photo({TAIL: 0.95}), BinRecord(total)).p_right or 0 for total in (22, 40, 400)]
    assert held == sorted(held, reverse=True)
