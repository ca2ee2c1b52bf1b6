"""What lets a record pass holds its bound, by simulation over many drawn calibrations; what is learnt is learnt."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from binventory import BinRecord, Count, Item, Policy, Rule, verify
from binventory.counting import bundle
from binventory.counting.priors import REFERENCE
from binventory.data.catalogue import Row
from binventory.deciding import belief
from binventory.deciding.policy import ERRORS, ErrorKind
from binventory.learning import passing
from binventory.learning.passing import BOUNDS, DELTA, NOTHING, Known
from binventory.records import LEVELS, TAIL

OTHER = Item("OTHER", None, None, 2, 3, 3, 3, 1)


def site(n: int, seed: int, *, lines: bool = True, run_of: int = 1) -> list[Known]:
    """Bins with lines of articles, small ones in greater numbers, and a counter that is wrong in its own way, alike
    within a run."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        if number % run_of == 0:
            lean = rng.normal(0, 1)
        items = []
        for line in range(1 + rng.binomial(4, 0.35)):
            side = float(rng.uniform(1, 9))
            items.append(Item(f"S{line}", None, None, 1 + int(rng.poisson(2 / side)), side, side, side, side / 4))
        total = sum(item.quantity or 0 for item in items)
        seen = total + (0.3 + 0.15 * total) * (lean if run_of > 1 else rng.normal(0, 1))
        logits = -0.5 * ((np.arange(LEVELS) - seen) / (0.5 + 0.2 * total)) ** 2
        probs = np.exp(logits - logits.max()) + 1e-5
        probs /= probs.sum()
        mode = int(probs.argmax())
        count = Count(tuple(probs.tolist()), 25.0, (max(0, mode - 2), mode + 2 if mode < TAIL - 2 else None))
        found.append(Known(f"{number}", f"{number // run_of}", count, BinRecord(total, tuple(items) if lines else ())))
    return found


@cache
def learnt() -> Rule:
    return passing.fitted([one.record for one in site(600, 1)], site(300, 2), site(500, 3), REFERENCE)


def test_the_bound_holds_in_nine_of_ten_calibrations_for_all_kinds_together() -> None:
    """The scores of 4,000 tampered bins of each kind stand for all there are; of them 400 calibrations are drawn."""
    rule, world, rng = learnt(), site(4000, 4), np.random.default_rng(5)
    scores: dict[ErrorKind, NDArray[np.float64]] = {}
    for kind in ERRORS:
        wrong = [(one, passing.tampered(one.record, kind, OTHER, rng)) for one in world]
        scores[kind] = np.array([belief.score(one.count, bad, rule) for one, bad in wrong if bad is not None])
    for bound in BOUNDS:
        held = 0
        for _ in range(400):
            least = [passing.threshold(rng.choice(of, 300), bound, DELTA / len(ERRORS)) for of in scores.values()]
            held += all((of >= one).mean() <= bound for of, one in zip(scores.values(), least, strict=True))
        assert held >= 0.9 * 400


def test_a_verdict_passes_no_more_wrong_records_than_its_bound_and_some_right_ones() -> None:
    """All the way from fitting to verify, on bins that took no part."""
    rule, rng, policy = learnt(), np.random.default_rng(6), Policy(bound=0.2, errors=("two more", "line added"))
    bins = site(600, 7)
    right = np.mean([verify(one.count, one.record, policy, rule).passes for one in bins])
    for kind in policy.errors:
        wrong = [(one, passing.tampered(one.record, kind, OTHER, rng)) for one in bins]
        passed = [verify(one.count, bad, policy, rule).passes for one, bad in wrong if bad is not None]
        assert np.mean(passed) <= 0.2
    worst = rule.threshold(policy.errors, 0.2, True)
    assert worst is not None and 0.05 < worst.right < right + 0.05


def test_too_few_tampered_records_let_nothing_pass() -> None:
    assert passing.threshold(np.zeros(5), 0.05, 0.01) == NOTHING
    assert passing.threshold(np.array([]), 0.2, 0.01) == NOTHING
    few = passing.fitted([], site(5, 1), site(8, 2), REFERENCE)
    assert few.manifest is None and {one.score for one in few.thresholds if one.bound == 0.05} == {NOTHING}
    assert not verify(site(1, 3)[0].count, BinRecord(3), Policy(bound=0.05, errors=("one more",)), few).passes


def test_labels_alone_get_the_kinds_of_quantity_and_say_what_lines_would_bring() -> None:
    rule = passing.fitted([], site(100, 1, lines=False), site(300, 2, lines=False), REFERENCE)
    assert {one.kind for one in rule.thresholds} == {"one more", "one fewer", "two more", "two fewer"}
    verdict = verify(site(1, 3)[0].count, BinRecord(3), Policy(), rule)
    assert not verdict.passes and "line" in verdict.reason + verdict.change


def test_lines_and_photo_together_tell_more_than_either() -> None:
    losses = learnt().losses
    assert losses is not None
    assert losses.stack <= losses.product + 1e-9
    assert losses.stack < min(losses.photo, losses.lines)


def test_photos_of_one_run_that_err_together_are_found_to() -> None:
    rule = learnt()
    assert passing.dependence(rule, site(600, 8, run_of=3)) > 0.3
    assert passing.dependence(rule, site(600, 8)) == 0, "runs of one photo tell nothing"


@given(st.lists(st.integers(1, 6), max_size=5), st.integers(0, 9), st.sampled_from(ERRORS), st.integers(0, 99))
@settings(max_examples=80)
def test_a_tampered_record_adds_up_is_wrong_and_never_below_one(
    quantities: list[int], total: int, kind: ErrorKind, seed: int
) -> None:
    items = tuple(Item(f"S{n}", None, None, q, None, None, None, None) for n, q in enumerate(quantities))
    record = BinRecord(sum(quantities) if items else total, items)
    wrong = passing.tampered(record, kind, OTHER, np.random.default_rng(seed))
    if wrong is None:
        return
    assert wrong.quantity is not None and wrong.quantity >= 1 and wrong.quantity != record.quantity
    if items:
        assert sum(item.quantity or 0 for item in wrong.items) == wrong.quantity
        assert all((item.quantity or 0) >= 1 for item in wrong.items)
    assert (len(wrong.items) - len(items)) == {"line added": 1, "line dropped": -1}.get(kind, 0)


def test_a_record_whose_lines_do_not_add_up_keeps_its_total_alone() -> None:
    lines = {"7": (OTHER, OTHER)}
    assert passing.right(Row("7", "", "", "", 4, "7", "train"), lines).items == (OTHER, OTHER)
    assert passing.right(Row("7", "", "", "", 5, "7", "train"), lines) == BinRecord(5)
    assert passing.right(Row("8", "", "", "", 2, "8", "train"), lines) == BinRecord(2)


@pytest.mark.parametrize("name", ["open", "abid"])
def test_the_shipped_bundles_know_when_a_record_may_pass(name: str) -> None:
    made = bundle.load(name)
    assert made.deciding is not None
    rule = Rule.from_bytes(made.deciding)
    assert rule.unfitted(ERRORS, True) == rule.unfitted(ERRORS, False) == []
    assert rule.prior == made.manifest.prior
    assert "Passing records" in made.card
