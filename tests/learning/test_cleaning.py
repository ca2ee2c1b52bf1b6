"""What cleaning learns from a trunk's features: wrong labels, and what leaving photos out is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from binventory.counting import bundle as bundles
from binventory.data.catalogue import Catalogue, Row
from binventory.learning import cleaning, quick
from binventory.learning.cleaning import Material, Part
from binventory.recipe import CleanRecipe, QuickRecipe, Recipe
from binventory.records import level

RECIPE = Recipe(quick=QuickRecipe(ridge=(1e-3,), rounds=60), clean=CleanRecipe(unlikely=0.3))
N, WIDTH, KINDS = 600, 24, 6


def part(side: str, truth: Any, features: Any, labels: Any, seen: bool = False) -> Part:
    rows = tuple(
        Row(f"{side}{k}", "", f"{side}{k}", "0", int(label), f"{side}{k // 2}", side) for k, label in enumerate(labels)
    )
    return Part(rows, features, np.array([level(int(one)) for one in labels]), np.full(len(truth), seen))


def material(wrong: int, seed: int = 1) -> tuple[Material, set[str]]:
    """Features that tell the count well, of train and validate, and the ids of train whose labels are wrong."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (KINDS, WIDTH))

    def drawn(n: int) -> tuple[Any, Any]:
        truth = rng.integers(0, KINDS, n)
        return truth, (centres[truth] + rng.normal(0, 0.9, (n, WIDTH))).astype(np.float32)

    truth, features = drawn(N)
    labels = truth.copy()
    bad = rng.choice(N, wrong, replace=False)
    labels[bad] = (truth[bad] + rng.integers(1, KINDS, wrong)) % KINDS
    train = part("train", truth, features, labels)
    true, seen = drawn(400)
    validate = part("validate", true, seen, true)
    return Material(train, validate, 1e-3, cleaning._head(train, 1e-3, RECIPE)), {f"train{k}" for k in bad}


def test_most_wrong_labels_are_found_out_of_sample_and_leaving_them_out_gains() -> None:
    found, bad = material(90)
    doubted = cleaning.unlikely(found, RECIPE)
    train = {one.id for one in doubted if one.id.startswith("train")}
    assert len(train & bad) > 0.6 * len(bad)
    assert len(train - bad) < 0.1 * len(bad)
    assert sum(one.id.startswith("validate") for one in doubted) < 10
    gains = cleaning.gains(found, {"label unlikely": train, "nothing": set(), "all": {row.id for row in
                           found.train.rows}}, RECIPE)  # fmt: skip
    assert set(gains) == {"label unlikely"}
    gain = gains["label unlikely"]
    assert (gain.left_out, gain.n, gain.runs) == (len(train), 400, 200)
    assert gain.log_loss < 0
    assert gain.verdict == "gains"
    assert gain.as_row()["verdict"] == "gains"
    assert cleaning.unlikely(found, RECIPE) == doubted


def test_leaving_good_photos_out_costs_and_a_few_at_random_shows_nothing() -> None:
    found, _ = material(0)
    ids = [row.id for row in found.train.rows]
    gains = cleaning.gains(found, {"most": set(ids[60:]), "few": set(ids[:3])}, RECIPE)
    assert gains["most"].verdict == "costs"
    assert gains["few"].verdict == "nothing shown"


def test_photos_of_one_run_are_judged_by_a_head_that_has_met_neither() -> None:
    found, _ = material(30)
    folds = {row.run: {cleaning._fold(other.run, RECIPE) for other in found.train.rows if other.run == row.run} for row
             in found.train.rows[:40]}  # fmt: skip
    assert all(len(one) == 1 for one in folds.values())
    every = {cleaning._fold(row.run, RECIPE) for row in found.train.rows}
    assert every == set(range(RECIPE.clean.folds))


def test_a_trunk_judges_no_photo_that_it_has_learnt_from() -> None:
    found, bad = material(90)
    known = replace(found.train, seen=np.array([row.id in bad for row in found.train.rows]))
    doubted = {one.id for one in cleaning.unlikely(replace(found, train=known), RECIPE)}
    assert not doubted & bad
    everything = replace(found.train, seen=np.full(N, True))
    assert cleaning.unlikely(replace(found, train=everything), RECIPE) == []


def test_without_photos_there_is_nothing_to_judge(tmp_path: Any) -> None:
    alone = Catalogue(tmp_path, (), (), (), (), (Row("1", "", "", "", 3, "1", "train"),))
    assert cleaning.material(alone, bundles.load("open"), RECIPE) is None


@pytest.mark.parametrize("rules", [(), ("label unlikely",), ("duplicate", "label unlikely")])
def test_a_bundle_tells_what_was_left_out_and_counts_it_as_seen(rules: tuple[str, ...], tmp_path: Any) -> None:
    rows = tuple(Row(str(k), "", str(k) * 16, "0", k % 3, str(k), "train") for k in range(6))
    data = Catalogue(tmp_path, rows, (), (), cleaned={"1": rules, "4": rules} if rules else {})
    sides = quick.sides_of(data, b"id,sha256,likeness,side,part\n", "b")
    assert len(sides.train) == (4 if rules else 6)
    assert {row.id for row in sides.seen()} == {row.id for row in rows}
    assert sides.left_out() == ({"in all": 2} | dict.fromkeys(rules, 2) if rules else {})
