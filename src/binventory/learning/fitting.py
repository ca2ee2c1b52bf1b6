"""Fits a linear head to features: cross-entropy plus a loss that knows that counts have an order. Pure.

The order's loss is the ranked probability score (Epstein 1969): the squared distance between the predicted and the
true cumulative distribution, so that a miss by one costs less than a miss by five.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from binventory.counting.head import Head
from binventory.records import LEVELS

Features = NDArray[np.float32]
Levels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Scaling:
    """What brings features to like scales before the penalty: ``x -> (x - mean) * factor``, each float32 [D]."""

    mean: Features
    factor: Features

    def __call__(self, features: Features) -> Features:
        return np.asarray((features - self.mean) * self.factor, dtype=np.float32)


def scaling(features: Features) -> Scaling:
    """The scaling that gives features [N, D] mean 0 and rows of length about one."""
    spread = features.std(axis=0)
    spread[spread < 1e-6 * max(1e-12, float(spread.max()))] = np.inf  # a feature that never changes tells nothing
    return Scaling(features.mean(axis=0), (1 / spread / np.sqrt(features.shape[1])).astype(np.float32))


def weigh(levels: Levels, balance: float) -> NDArray[np.float32]:
    """Weights [N] that sum to one: each photo alike at ``balance`` 0, each count alike at 1."""
    tally = np.bincount(levels, minlength=LEVELS)
    weights = tally[levels] ** -float(balance)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def head(
    scaled: Features, levels: Levels, weights: NDArray[np.float32], ridge: float, order: float, rounds: int,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Fit weights and bias, float64 [D + 1, 22] with the bias last, to scaled features [N, D] and levels [N].

    Minimises the weighted cross-entropy plus ``order`` times the ranked probability score plus ``ridge`` / 2 times
    the squared weights, by L-BFGS in at most ``rounds`` steps from ``start`` (or from nothing).
    """
    n, width = scaled.shape
    shape = (width + 1, LEVELS)
    truth = np.eye(LEVELS, dtype=np.float32)[levels]
    stairs = np.cumsum(truth, axis=1)
    column = weights[:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = flat.reshape(shape).astype(np.float32)
        logits = scaled @ parameters[:-1] + parameters[-1]
        logits -= logits.max(axis=1, keepdims=True)
        probs = np.exp(logits)
        probs /= probs.sum(axis=1, keepdims=True)
        entropy = -np.log(np.maximum(probs[np.arange(n), levels], 1e-12)) @ weights
        gaps = np.cumsum(probs, axis=1) - stairs
        ranked = float(((gaps**2).sum(axis=1)) @ weights)
        push = 2 * np.cumsum(gaps[:, ::-1], axis=1)[:, ::-1]
        through = probs * (push - (probs * push).sum(axis=1, keepdims=True))
        pull = column * (probs - truth + order * through)
        gradient = np.concatenate([scaled.T @ pull + ridge * parameters[:-1], pull.sum(axis=0, keepdims=True)])
        penalty = 0.5 * ridge * float((parameters[:-1] ** 2).sum())
        return float(entropy) + order * ranked + penalty, gradient.astype(np.float64).ravel()

    first = np.zeros(shape) if start is None else start
    found: Any = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": rounds})
    return np.asarray(found.x, dtype=np.float64).reshape(shape)


def folded(parameters: NDArray[np.float64], scale: Scaling, old: Sequence[float], new: Sequence[float]) -> Head:
    """The head on plain features: scaling folded in, and its prior moved from ``old`` to ``new``."""
    weight = parameters[:-1] * scale.factor[:, None]
    bias = parameters[-1] - scale.mean @ weight + np.log(np.asarray(new) / np.asarray(old))
    return Head(weight.astype(np.float32), bias.astype(np.float32))
