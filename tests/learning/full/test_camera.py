"""A varied photo is the same for the same seed, of the right form, and never another bin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory import photo
from binventory.data import drawn
from binventory.learning.full import camera
from binventory.recipe import CameraRecipe

STILL = CameraRecipe(0, 0, 0, 0, 0, 0)
PICTURE = photo.fit(photo.decode(drawn.draw_one(3, 5).jpeg), 96, 96)
unit = st.floats(0, 1)


def apart(one: photo.Pixels, other: photo.Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@settings(max_examples=50)
@given(
    recipe=st.builds(CameraRecipe, unit, st.floats(0, 0.9), st.floats(0, 0.9), unit, unit, unit),
    side=st.integers(32, 130),
    seed=st.tuples(st.integers(0, 2**63), st.integers(0, 1000), st.integers(0, 2**60)),
)
def test_any_strength_gives_a_picture_and_the_same_seed_the_same(
    recipe: CameraRecipe, side: int, seed: tuple[int, ...]
) -> None:
    varied = camera.varied(PICTURE, side, recipe, seed)
    assert varied.shape == (side, side, 3)
    assert varied.dtype == np.uint8
    assert (camera.varied(PICTURE, side, recipe, seed) == varied).all()


def test_with_every_strength_at_nothing_the_picture_is_only_scaled() -> None:
    for seed in range(5):
        assert (camera.varied(PICTURE, 64, STILL, (seed,)) == camera.plain(PICTURE, 64)).all()
    assert (camera.plain(PICTURE, 96) == PICTURE).all()


def test_a_flip_is_a_mirror() -> None:
    flipped = camera.varied(PICTURE, 96, replace(STILL, flip=1.0), (1,))
    assert (flipped == PICTURE[:, ::-1]).all()


@pytest.mark.parametrize("name", ["crop", "light", "blur", "jpeg", "tape"])
def test_each_strength_changes_the_picture_but_not_beyond_recognition(name: str) -> None:
    alone = replace(STILL, **{name: 0.3 if name in ("crop", "light") else 1.0})
    for seed in range(20):
        assert 0 < apart(camera.varied(PICTURE, 96, alone, (seed,)), PICTURE) < 90


def test_a_crop_keeps_most_of_the_bin() -> None:
    """A ramp from left to right shows which part was kept: never less than the recipe promises."""
    ramp = np.broadcast_to(np.linspace(0, 255, 96)[None, :, None], (96, 96, 3)).astype(np.uint8)
    for seed in range(50):
        row = camera.varied(ramp, 96, replace(STILL, crop=0.2), (seed,))[48, :, 0].astype(int)
        assert row[-2] - row[1] >= 0.78 * 255 * 94 / 96


def test_seeds_give_different_pictures() -> None:
    seen = {camera.varied(PICTURE, 64, CameraRecipe(), (1, epoch, 7)).tobytes() for epoch in range(20)}
    assert len(seen) == 20
