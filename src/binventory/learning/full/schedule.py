"""How far training has come, and what follows from it: learning rate, picture size, order of the photos. Pure."""

from __future__ import annotations

from math import ceil, cos, pi

import numpy as np
from numpy.typing import NDArray

from binventory.recipe import FullRecipe

_GRAIN = 32  # sizes grow by this many pixels: what most backbones divide by


def progress(recipe: FullRecipe, photos_seen: float, seconds: float) -> float:
    """How much of training is done, 0..1: by epochs (``photos_seen`` in epochs) or by time, whichever is further."""
    by_time = seconds / (60 * recipe.minutes) if recipe.minutes else 0.0
    return min(1.0, max(photos_seen / recipe.epochs, by_time))


def rate(recipe: FullRecipe, done: float) -> float:
    """The learning rate at ``done`` of training: a straight warmup, then a cosine down to a hundredth."""
    if done < recipe.warmup:
        return recipe.lr * (done + 1e-3) / (recipe.warmup + 1e-3)
    falling = (done - recipe.warmup) / (1 - recipe.warmup)
    return recipe.lr * (0.01 + 0.99 * (1 + cos(pi * min(1.0, falling))) / 2)


def side(recipe: FullRecipe, done: float) -> int:
    """The pictures' side in pixels at ``done`` of training: from ``start_size`` up to ``size`` by the middle."""
    if not 0 < recipe.start_size < recipe.size or done >= 0.5:
        return recipe.size
    grown = recipe.start_size + (recipe.size - recipe.start_size) * 2 * done
    return min(recipe.size, recipe.start_size + int((grown - recipe.start_size) // _GRAIN) * _GRAIN)


def batches(photos: int, size: int, seed: int, epoch: int) -> list[NDArray[np.intp]]:
    """The photos' indices in this epoch's order, each once, in batches of at most ``size`` and of like lengths."""
    order = np.random.default_rng((seed, epoch)).permutation(photos)
    return np.array_split(order, ceil(photos / size))
