"""What of a consignment may go, what is recounted first, and how sure that all is right."""

from __future__ import annotations

from itertools import product
from math import prod
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.deciding.consignment import Tote, consign, wrong_counts


def tote(bin: str, p: float | None = 0.9, *, passes: bool = True, recounted: bool | None = None,
         minutes: float = 1.0, run: str = "r") -> Tote:  # fmt: skip
    return Tote(bin, 3, p, passes, recounted, minutes, run)


TOTES = st.lists(
    st.builds(
        Tote, st.uuids().map(str), st.integers(0, 30), st.none() | st.floats(0, 1), st.booleans(),
        st.none() | st.booleans(), st.floats(0.5, 9), st.sampled_from(["", "a", "b"]),
    ),
    max_size=8,
)  # fmt: skip


@given(TOTES, st.floats(0, 0.3), st.floats(0, 0.99))
@settings(max_examples=60)
def test_only_what_passes_or_was_found_right_goes_and_within_the_budget(
    totes: list[Tote], most: float, dependence: float
) -> None:
    found = consign(totes, most, dependence)
    of = {one.bin: one for one in totes}
    assert all(of[bin].recounted or (of[bin].recounted is None and of[bin].passes) for bin in found.release)
    assert found.wrong == tuple(one.bin for one in totes if one.recounted is False)
    parts = (*found.release, *found.recount, *found.wrong)
    assert sorted(parts) == sorted(of), "each tote stands in one place"
    assert found.wrong_share <= most + 1e-9
    assert found.minutes == pytest.approx(sum(of[bin].minutes for bin in found.recount))
    assert 0 <= found.wrong_at_most <= 1


@given(TOTES, st.floats(0, 0.3))
@settings(max_examples=40)
def test_a_larger_budget_never_lets_less_go(totes: list[Tote], most: float) -> None:
    assert len(consign(totes, most, 0.2).release) <= len(consign(totes, most + 0.1, 0.2).release)


def test_the_recount_that_helps_most_a_minute_comes_first_and_what_has_no_photo_before_all() -> None:
    totes = [tote("likely", 0.8, passes=False), tote("doubtful", 0.3, passes=False),
             tote("doubtful and slow", 0.3, passes=False, minutes=20), tote("unseen", None, passes=False)]  # fmt: skip
    assert consign(totes, 0.02, 0.0).recount == ("unseen", "doubtful", "likely", "doubtful and slow")


def test_a_tote_found_wrong_never_goes_and_nothing_is_all_right_until_it_stays_behind() -> None:
    totes = [tote("a", 0.99), tote("b", 0.99, recounted=False), tote("c", 0.5, passes=False, recounted=True)]
    found = consign(totes, 0.05, 0.0)
    assert (found.p_all_right, found.wrong, found.release) == (0, ("b",), ("c", "a"))
    assert consign([totes[0], totes[2]], 0.05, 0.0).p_all_right == pytest.approx(0.99)


def test_nothing_at_all_is_all_right() -> None:
    found = consign([], 0.02, 0.5)
    assert (found.p_all_right, found.release, found.recount, found.wrong_at_most) == (1, (), (), 0)


@pytest.mark.parametrize("dependence", [0.0, 0.4])
def test_runs_are_independent_of_each_other(dependence: float) -> None:
    """By brute force over all outcomes, where each run has one tote and so nothing to depend on."""
    right = [0.9, 0.7, 0.4, 0.95]
    totes = [tote(str(n), p, run=str(n)) for n, p in enumerate(right)]
    expected = np.zeros(5)
    for wrong in product([0, 1], repeat=4):
        expected[sum(wrong)] += prod(1 - p if bad else p for p, bad in zip(right, wrong, strict=True))
    assert wrong_counts(totes, dependence) == pytest.approx(expected)


def test_dependence_runs_from_independence_to_all_or_none() -> None:
    totes = [tote(str(n), 0.8) for n in range(6)]
    law = {dependence: wrong_counts(totes, dependence) for dependence in (0.0, 0.3, 0.7, 0.999)}
    assert law[0.0][0] == pytest.approx(0.8**6)
    assert all(one.sum() == pytest.approx(1) for one in law.values())
    assert all(one @ np.arange(7) == pytest.approx(1.2, abs=0.02) for one in law.values()), "shares stay as they are"
    none = [one[0] for one in law.values()]
    assert none == sorted(none) and none[-1] == pytest.approx(0.8, abs=0.05)


def test_the_copula_is_that_of_drawn_normal_variables() -> None:
    rng, right, dependence = np.random.default_rng(5), np.array([0.9, 0.8, 0.6]), 0.5
    n = 400_000
    shared, own = rng.normal(size=(n, 1)), rng.normal(size=(n, 3))
    cuts = np.array([NormalDist().inv_cdf(1 - p) for p in right])
    wrong = (np.sqrt(dependence) * shared + np.sqrt(1 - dependence) * own < cuts).sum(axis=1)
    drawn = np.bincount(wrong, minlength=4) / n
    totes = [tote(str(p), float(p)) for p in right]
    assert wrong_counts(totes, dependence) == pytest.approx(drawn, abs=0.004)


def test_each_figure_takes_its_cautious_side() -> None:
    totes = [tote(str(n), 0.97) for n in range(200)]
    alone, together = consign(totes, 0.05, 0.0), consign(totes, 0.05, 0.6)
    assert alone.p_all_right == together.p_all_right == pytest.approx(0.97**200)
    assert together.wrong_at_most > alone.wrong_at_most >= alone.wrong_share
