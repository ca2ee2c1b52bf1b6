"""What cleaning needs a trunk for: labels that the photos speak against, and what leaving photos out is worth.

Heads are fitted to the features of a bundle's frozen trunk, as ``quick`` fits them. Nothing is judged by a trunk that
has learnt from it: such a trunk knows the label, right or wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from binventory.counting import priors
from binventory.counting.bundle import Bundle
from binventory.counting.calibration import tempered
from binventory.counting.counter import probed
from binventory.counting.head import Head
from binventory.data import clean
from binventory.data.catalogue import Catalogue, Row
from binventory.data.clean import Rejection
from binventory.flow import Track, untracked
from binventory.learning import evaluate, features, fitting, guarantee, metrics
from binventory.learning.quick import FEWEST_RUNS, FEWEST_TRAIN, trunk_seen
from binventory.recipe import Recipe
from binventory.records import level

TOGETHER = "all together"
_POINT, _NAT = 0.001, 0.001
"""The least differences in accuracy and log loss that are worth a word."""


@dataclass(frozen=True, slots=True)
class Part:
    """The labelled photos of a side with their features [N, D], levels [N], and whether the trunk has ``seen`` them
    [N]."""

    rows: tuple[Row, ...]
    features: fitting.Features
    levels: fitting.Levels
    seen: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> Part:
        """The photos for which ``kept`` [N] is true."""
        rows = tuple(row for row, one in zip(self.rows, kept, strict=True) if one)
        return Part(rows, self.features[kept], self.levels[kept], self.seen[kept])


@dataclass(frozen=True, slots=True)
class Material:
    """What heads are fitted to, and what judges them: photos that the trunk has not seen. ``head``: the one fitted to
    all of train, with the penalty ``ridge`` that does best on validate."""

    train: Part
    validate: Part
    ridge: float
    head: Head


@dataclass(frozen=True, slots=True)
class Gain:
    """What leaving ``left_out`` photos of train out does on validate: differences, photo by photo, of a head fitted
    without them and one fitted with them, each at its best temperature. Intervals are over runs."""

    left_out: int
    n: int
    runs: int
    accuracy: float
    accuracy_ci: tuple[float, float]
    log_loss: float
    log_loss_ci: tuple[float, float]

    @property
    def verdict(self) -> str:
        """``gains`` or ``costs`` where one interval leaves no change out and the other figure does not speak against
        it; else ``nothing shown``. Of many such intervals one in twenty errs by chance."""
        better, worse = (
            (sign * self.accuracy >= _POINT and min(sign * end for end in self.accuracy_ci) > 0
             and sign * self.log_loss < _NAT)
            or (-sign * self.log_loss >= _NAT and max(sign * end for end in self.log_loss_ci) < 0
                and sign * self.accuracy > -_POINT)
            for sign in (1, -1)
        )  # fmt: skip
        return "gains" if better else "costs" if worse else "nothing shown"

    def as_row(self) -> dict[str, Any]:
        """The gain as it stands in JSON output."""
        import msgspec

        return {**msgspec.to_builtins(self), "verdict": self.verdict}


def material(data: Catalogue, base: Bundle, recipe: Recipe, track: Track = untracked) -> Material | None:
    """The train and validate sides as the trunk of ``base`` sees them, whatever is cleaned already.

    None where there are too few photos to fit a head, or too few that the trunk has not learnt from to judge it.
    """
    sides = {side: data.side(side) for side in ("train", "validate")}
    fresh = {
        side: {row.id for row in evaluate.unseen(rows, data, trunk_seen(base.seen), base.manifest.name)}
        for side, rows in sides.items()
    }
    judges = tuple(row for row in sides["validate"] if row.id in fresh["validate"])
    if len(sides["train"]) < FEWEST_TRAIN or len({row.run for row in judges}) < FEWEST_RUNS:
        return None
    trunk = probed(base)

    def part(rows: tuple[Row, ...], side: str) -> Part:
        table = features.of(rows, trunk, base.manifest.input, data.work, track)
        return Part(rows, table, _levels(rows), np.array([row.id not in fresh[side] for row in rows]))

    train, validate = part(sides["train"], "train"), part(judges, "validate")
    ridges = recipe.quick.ridge
    heads = [(_head(train, ridge, recipe), ridge) for ridge in track(ridges, "choosing a penalty", len(ridges))]
    head, ridge = min(heads, key=lambda one: float(_judged(one[0], validate)[1].mean()))
    return Material(train, validate, ridge, head)


def unlikely(found: Material, recipe: Recipe, track: Track = untracked) -> list[Rejection]:
    """Photos of train and validate whose label their picture speaks against, by ``clean.doubted``.

    A photo of train is judged by a head that has not learnt from its run, one of validate by a head that has learnt
    from all of train; photos that the trunk has learnt from are judged by none. What is usual comes of train alone.
    Calibrate and test, which judge the finished bundle, are not looked into.
    """
    train, validate = (part.only(~part.seen) for part in (found.train, found.validate))
    probs = np.full((len(train.rows), len(priors.EVEN)), np.nan)
    for fold in track(range(recipe.clean.folds), "judging labels", recipe.clean.folds):
        held = np.array([_fold(row.run, recipe) == fold for row in train.rows], dtype=bool)
        if held.any() and (~held).any():
            probs[held] = np.exp(_head(train.only(~held), found.ridge, recipe).log_probs(train.features[held]))
    judged = ~np.isnan(probs).any(axis=1)
    if not judged.any():
        return []
    train, probs = train.only(judged), probs[judged]
    known = clean.usual(probs, train.levels)
    both = [(train, probs), (validate, np.exp(found.head.log_probs(validate.features)))]
    return [
        one
        for part, table in both
        for one in clean.doubted([row.id for row in part.rows], table, part.levels, known, recipe.clean)
    ]


def gains(
    found: Material, rejected: Mapping[str, Collection[str]], recipe: Recipe, track: Track = untracked
) -> dict[str, Gain]:
    """For each name, what leaving its ids out of train does to a head judged on the unchanged validate side.

    A name that leaves out no photo of train, or all but too few of them, has no entry.
    """
    kept = {name: np.array([row.id not in ids for row in found.train.rows]) for name, ids in rejected.items()}
    kept = {name: mask for name, mask in kept.items() if FEWEST_TRAIN <= mask.sum() < len(mask)}
    if not kept:
        return {}
    before = _judged(found.head, found.validate)

    def measured() -> Iterator[tuple[str, Gain]]:
        for name, mask in kept.items():
            after = _judged(_head(found.train.only(mask), found.ridge, recipe), found.validate)
            yield name, _gain(int((~mask).sum()), found.validate, before, after)

    return dict(track(measured(), "fitting without", len(kept)))


Scores = tuple[metrics.Floats, metrics.Floats]
"""Of each photo: whether the mode was right, 0 or 1, and the log loss."""


def _gain(left_out: int, validate: Part, before: Scores, after: Scores) -> Gain:
    runs = [row.run for row in validate.rows]
    accuracy, log_loss = (new - old for old, new in zip(before, after, strict=True))
    return Gain(
        left_out, len(runs), len(set(runs)),
        float(accuracy.mean()), metrics.interval(accuracy, validate.levels, runs),
        float(log_loss.mean()), metrics.interval(log_loss, validate.levels, runs),
    )  # fmt: skip


def _judged(head: Head, part: Part) -> Scores:
    log_probs, rows = head.log_probs(part.features), np.arange(len(part.levels))
    probs = tempered(log_probs, guarantee.temperature(log_probs, part.levels))
    hit = (probs.argmax(axis=1) == part.levels).astype(float)
    return hit, -np.log(np.maximum(probs[rows, part.levels], 1e-12))


def _head(part: Part, ridge: float, recipe: Recipe) -> Head:
    """A head fitted to the photos as ``quick`` fits one, under their own mix of counts."""
    quick, mix = recipe.quick, priors.mix(row.count or 0 for row in part.rows)
    scale = fitting.scaling(part.features)
    weights = fitting.weigh(part.levels, quick.balance)
    parameters = fitting.head(scale(part.features), part.levels, weights, ridge, quick.order, quick.rounds)
    learnt = np.asarray(mix) ** (1 - quick.balance)
    return fitting.folded(parameters, scale, learnt / learnt.sum(), mix)


def _fold(run: str, recipe: Recipe) -> int:
    """The fold of a run, by hash, so that new photos move no other run."""
    digest = hashlib.sha256(f"fold {recipe.seed} {run}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % recipe.clean.folds


def _levels(rows: Sequence[Row]) -> fitting.Levels:
    return np.array([level(row.count or 0) for row in rows], dtype=np.intp)
