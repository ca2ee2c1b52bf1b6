"""The promise of the intervals, proved by simulation against the exact law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import betabinom

from binventory.counting import calibration as calibrations
from binventory.counting.priors import EVEN, REFERENCE
from binventory.learning import guarantee
from binventory.records import LEVELS

COVERAGE = 0.9
Floats = NDArray[np.float64]


def photos(rng: np.random.Generator, n: int, mix: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Distributions [n, 22] of a counter that is wrong in its own way, and true levels [n] in the given mix."""
    levels = rng.choice(LEVELS, size=n, p=mix)
    seen = levels + rng.normal(0.4, 0.5 + 0.12 * levels)
    width = rng.uniform(0.4, 1.6, n) * (0.6 + 0.1 * levels)
    logits = -0.5 * ((np.arange(LEVELS) - seen[:, None]) / width[:, None]) ** 2
    probs = np.exp(logits - logits.max(axis=1, keepdims=True)) + 1e-6
    return probs / probs.sum(axis=1, keepdims=True), levels


@pytest.mark.parametrize("mix", [np.asarray(REFERENCE), np.asarray(EVEN)], ids=["same mix", "shifted mix"])
def test_raw_sets_cover_each_count_inside_the_exact_band_whatever_the_mix(mix: Floats) -> None:
    """With n calibrated and m new photos of a count, covered ~ BetaBinomial(m, rank, n + 1 - rank), and below 6 it
    does so under any mix. Over 400 rounds the share inside the law's 99 % band must itself be 99 %, give or take."""
    rounds, inside, tried = 400, np.zeros(6), np.zeros(6)
    for number in range(rounds):
        rng = np.random.default_rng([7, number])
        probs, levels = photos(rng, 900, np.asarray(REFERENCE))
        fitted = guarantee.calibration(1.0, probs, levels, COVERAGE, 900)
        new, truth = photos(rng, 900, mix)
        held = fitted.sets(new)[np.arange(900), truth]
        for group in fitted.groups:
            if len(group.counts) > 1:
                continue
            (k,) = group.counts
            rank = int(np.ceil((group.photos + 1) * COVERAGE - 1e-9))
            law = betabinom((truth == k).sum(), rank, group.photos + 1 - rank)
            low, high = law.ppf(0.005), law.ppf(0.995)
            inside[k] += low <= held[truth == k].sum() <= high
            tried[k] += 1
    assert (tried[1:] == rounds).all() and tried[0] > 0
    assert (inside / tried >= 0.97).all(), inside / tried


def test_the_pool_above_five_covers_inside_its_band_under_the_same_mix() -> None:
    inside = 0
    for number in range(200):
        rng = np.random.default_rng([11, number])
        probs, levels = photos(rng, 900, np.asarray(REFERENCE))
        fitted = guarantee.calibration(1.0, probs, levels, COVERAGE, 900)
        pool = fitted.groups[-1]
        new, truth = photos(rng, 900, np.asarray(REFERENCE))
        of = np.isin(truth, pool.counts)
        rank = int(np.ceil((pool.photos + 1) * COVERAGE - 1e-9))
        law = betabinom(of.sum(), rank, pool.photos + 1 - rank)
        inside += law.ppf(0.005) <= fitted.sets(new)[np.arange(900), truth][of].sum() <= law.ppf(0.995)
    assert inside / 200 >= 0.97


def test_the_printed_interval_never_covers_less_than_the_set_and_its_excess_is_small(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(3)
    probs, levels = photos(rng, 2000, np.asarray(REFERENCE))
    fitted = guarantee.calibration(1.0, probs, levels, COVERAGE, 2000)
    new, truth = photos(rng, 20_000, np.asarray(REFERENCE))
    sets = fitted.sets(new)
    hulls = calibrations.hulls(sets, new.argmax(axis=1))
    ends = np.array([(low, LEVELS - 1 if high is None else high) for low, high in hulls])
    held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    raw = sets[np.arange(len(truth)), truth]
    assert (held >= raw).all()
    excess, wider = held.mean() - raw.mean(), (ends[:, 1] - ends[:, 0] + 1).mean() - sets.sum(axis=1).mean()
    with capsys.disabled():
        print(f"\ninterval over raw set: {excess:+.4f} coverage, {wider:+.3f} counts of width")
    assert 0 <= excess < 0.02


def test_too_few_photos_of_a_count_join_the_pool_and_far_too_few_leave_nothing_out() -> None:
    rng = np.random.default_rng(1)
    probs, _ = photos(rng, 40, np.asarray(EVEN))
    levels = np.array([1] * 20 + [2] * 8 + [7] * 12)
    fitted = guarantee.calibration(1.0, probs, levels, COVERAGE, 40)
    assert [group.counts for group in fitted.groups[:-1]] == [(1,)]
    assert fitted.groups[-1].photos == 20
    alone = guarantee.calibration(1.0, probs[:3], levels[:3], COVERAGE, 3)
    assert alone.sets(probs).all()


def test_one_photo_a_run_is_drawn_by_its_id_alone() -> None:
    ids, runs = ["5", "6", "9", "7"], ["5", "5", "9", "5"]
    first = {ids[at] for at in guarantee.one_a_run(ids, runs)}
    again = {ids[::-1][at] for at in guarantee.one_a_run(ids[::-1], runs[::-1])}
    assert first == again
    assert len(first) == 2


def test_the_temperature_makes_an_overconfident_head_honest() -> None:
    rng = np.random.default_rng(2)
    true_log_probs = np.log(photos(rng, 4000, np.asarray(REFERENCE))[0])
    levels = np.array([rng.choice(LEVELS, p=np.exp(row)) for row in true_log_probs])
    assert guarantee.temperature(3 * true_log_probs, levels) == pytest.approx(3, rel=0.1)
