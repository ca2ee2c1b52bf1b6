"""The schedule ends where it must, each photo comes once an epoch, and the same seed gives the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.learning.full import schedule
from binventory.recipe import FullRecipe

unit = st.floats(0, 1)


@given(photos=st.integers(1, 500), size=st.integers(1, 64), seed=st.integers(0, 2**62), epoch=st.integers(0, 99))
def test_each_photo_comes_once_an_epoch(photos: int, size: int, seed: int, epoch: int) -> None:
    batches = schedule.batches(photos, size, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(photos))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1, "a short batch would weigh its photos more"


def test_epochs_differ_in_order_and_repeat_by_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(map(int, np.concatenate(schedule.batches(100, 10, seed, epoch))))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@given(recipe=st.builds(FullRecipe, lr=st.floats(1e-6, 1), warmup=st.floats(0, 0.9)), done=unit)
def test_the_rate_rises_to_its_peak_and_falls_to_a_hundredth(recipe: FullRecipe, done: float) -> None:
    assert 0 < schedule.rate(recipe, done) <= recipe.lr * (1 + 1e-9)
    assert schedule.rate(recipe, recipe.warmup) == pytest.approx(recipe.lr)
    assert schedule.rate(recipe, 1.0) == pytest.approx(recipe.lr / 100)


def test_a_time_budget_ends_training_that_epochs_would_not() -> None:
    recipe = FullRecipe(epochs=10, minutes=2)
    assert schedule.progress(recipe, 1, 60) == 0.5
    assert schedule.progress(recipe, 1, 120) == 1
    assert schedule.progress(recipe, 10, 30) == 1
    assert schedule.progress(FullRecipe(epochs=10), 1, 1e9) == 0.1


@given(start=st.integers(0, 300), size=st.integers(32, 300), done=st.lists(unit, min_size=2, max_size=9))
def test_pictures_grow_to_their_size_by_the_middle(start: int, size: int, done: list[float]) -> None:
    recipe = FullRecipe(size=size, start_size=start)
    sides = [schedule.side(recipe, one) for one in sorted(done)]
    assert sides == sorted(sides)
    assert all(min(start or size, size) <= side <= size for side in sides)
    assert schedule.side(recipe, 0.5) == size
    assert schedule.side(recipe, 0.0) == (start if 0 < start < size else size)
