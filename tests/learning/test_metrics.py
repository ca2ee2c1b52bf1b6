"""Figures mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.learning.metrics import figures, reliability
from binventory.records import LEVELS, TAIL, Count


def sure(k: int, interval: tuple[int, int | None] | None = None, share: float = 1.0) -> Count:
    probs = [(1 - share) / (LEVELS - 1)] * LEVELS
    probs[k] = share
    return Count(tuple(probs), 30.0, interval or (k, None if k == TAIL else k))


def test_exact_within_one_and_errors_by_hand() -> None:
    scored = figures([1, 2, 3, 10], [sure(1), sure(3), sure(3, (2, 3)), sure(7, (7, 10))], list("abcd"))
    assert (scored.n, scored.runs) == (4, 4)
    assert scored.accuracy == 0.5
    assert scored.within_one == 0.75
    assert scored.mae == 1.0
    assert scored.rmse == pytest.approx((10 / 4) ** 0.5)
    assert scored.bias == -0.5
    assert scored.coverage_90 == 0.75
    assert scored.mean_width_90 == (1 + 1 + 2 + 4) / 4


def test_more_than_twenty_is_exact_where_the_truth_is_above_and_counts_with_its_mean() -> None:
    scored = figures([25, 30, 20], [sure(TAIL), sure(TAIL), sure(TAIL)], list("abc"))
    assert scored.accuracy == pytest.approx(2 / 3)
    assert scored.within_one == 1
    assert scored.mae == pytest.approx((5 + 0 + 10) / 3)
    assert scored.by_count["21"].n == 2
    assert scored.coverage_90 == pytest.approx(2 / 3)


def test_balanced_weighs_every_true_count_alike_but_not_the_tally() -> None:
    truths, counts = [1, 1, 1, 2], [sure(1), sure(1), sure(1), sure(1)]
    plain, even = figures(truths, counts, list("abcd")), figures(truths, counts, list("abcd"), balanced=True)
    assert (plain.accuracy, even.accuracy) == (0.75, 0.5)
    assert (plain.majority_accuracy, even.majority_accuracy) == (0.75, 0.5)
    assert (plain.bias, even.bias) == (-0.25, -0.5)
    assert plain.by_count == even.by_count
    assert (even.n, even.runs) == (4, 4)


def test_closed_figures_renormalise_to_the_chosen_counts_and_else_equal_the_open_ones() -> None:
    probs = [0.0] * LEVELS
    probs[9], probs[2], probs[3] = 0.5, 0.3, 0.2
    count = Count(tuple(probs), 30.0, (2, 9))
    scored = figures([2], [count], ["a"], closed=range(1, 6))
    assert (scored.accuracy, scored.accuracy_closed) == (0, 1)
    assert scored.rmse_closed == pytest.approx(0.4)
    plain = figures([2], [count], ["a"])
    assert (plain.accuracy_closed, plain.rmse_closed) == (plain.accuracy, plain.rmse)


def test_the_interval_widens_when_photos_come_in_runs() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(100) < 0.5, 10)
    counts = [sure(1 if one else 2) for one in right]
    alone = figures([1] * 1000, counts, [str(n) for n in range(1000)])
    in_runs = figures([1] * 1000, counts, [str(n // 10) for n in range(1000)])
    low, high = alone.accuracy_ci
    assert low < alone.accuracy < high
    assert high - low == pytest.approx(2 * 1.96 * (0.25 / 1000) ** 0.5, rel=0.15)
    assert in_runs.accuracy_ci[1] - in_runs.accuracy_ci[0] == pytest.approx((high - low) * 10**0.5, rel=0.2)


def test_baselines_are_what_one_answer_scores() -> None:
    scored = figures([1, 1, 4, 6], [sure(1)] * 4, list("abcd"))
    assert scored.baselines["majority"].answer == 1
    assert scored.baselines["majority"].accuracy == scored.majority_accuracy == 0.5
    assert scored.baselines["mean"].answer == 3
    assert scored.baselines["mean"].rmse == pytest.approx(np.std([1, 1, 4, 6]))
    assert scored.baselines["median"].mae <= scored.baselines["mean"].mae


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, TAIL), st.integers(0, 5)), min_size=1, max_size=40))
def test_shares_are_fractions_and_groups_add_up(rows: list[tuple[int, int, int]]) -> None:
    truths, modes, runs = zip(*rows, strict=True)
    for balanced in (False, True):
        scored = figures(truths, [sure(k, share=0.9) for k in modes], [str(run) for run in runs], balanced=balanced)
        shares = [scored.accuracy, scored.within_one, scored.coverage_90, scored.majority_accuracy]
        assert all(0 <= share <= 1 + 1e-9 for share in shares)
        assert scored.accuracy <= scored.within_one + 1e-9
        assert sum(one.n for one in scored.by_count.values()) == len(rows)
        assert scored.accuracy_ci[0] - 1e-9 <= scored.accuracy <= scored.accuracy_ci[1] + 1e-9 or scored.runs > 1


def test_reliability_shows_confidence_beside_accuracy() -> None:
    confidence, hit = np.array([0.95, 0.92, 0.31]), np.array([1.0, 0.0, 1.0])
    assert reliability(confidence, hit) == [(0.31, 1.0, 1), (pytest.approx(0.935), 0.5, 2)]
