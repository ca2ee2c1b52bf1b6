"""What a trial does with its recipe: fit a head on cached features, or fine-tune a network; as values that travel to
other processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from binventory.counting.bundle import Bundle
from binventory.counting.counter import probed
from binventory.data.catalogue import Row
from binventory.flow import Track, untracked
from binventory.learning import features, quick
from binventory.learning.metrics import Judgement
from binventory.learning.quick import Sides
from binventory.learning.space import Value
from binventory.recipe import Recipe

if TYPE_CHECKING:
    from binventory.learning.full.run import Plan


@dataclass(frozen=True, slots=True)
class Quick:
    """A head on the frozen trunk of ``base``.

    ``recipe``: the one that others are held against. It may keep the base's own head, where that is the best; the
    others are judged by the heads that they fit, or all of them would look alike then.
    """

    base: Bundle
    sides: Sides
    recipe: Recipe
    work: Path

    def __call__(self, recipe: Recipe, report: Callable[[int, float], None]) -> tuple[Judgement, dict[str, Value]]:  # noqa: ARG002
        """What validate makes of the head, and the penalty that it chose."""
        judgement, choice = quick.tried(self.base, self.sides, self.work, recipe, own=recipe == self.recipe)
        return judgement, {} if choice.ridge is None else {"quick.ridge": choice.ridge}

    @property
    def judges(self) -> Sequence[Row]:
        """The photos of validate."""
        return self.sides.validate

    @property
    def learnt(self) -> int:
        """How many photos are learnt from."""
        return len(self.sides.train)

    @property
    def identity(self) -> str:
        """What the trials depend on, the recipe aside."""
        return f"{_hash(self.base.trunk)} {_hash(self.base.head.to_bytes())} {_photos(self.sides)}"

    def prepare(self, sizes: Iterable[int], track: Track = untracked) -> None:
        """Compute the features that trials need, for pictures of each size in pixels."""
        for size in sizes:
            base = quick.sized(self.base, size)
            rows = (*self.sides.train, *self.sides.validate)
            features.of(rows, probed(base), base.manifest.input, self.work, track)

    def forget(self, recipe: Recipe) -> None:
        """Nothing: features serve all trials."""


@dataclass(frozen=True, slots=True)
class Full:
    """The fine-tuning of a network, as ``plan`` has it but for the recipe."""

    plan: Plan

    def __call__(self, recipe: Recipe, report: Callable[[int, float], None]) -> tuple[Judgement, dict[str, Value]]:
        """What validate makes of the network after the last epoch."""
        from binventory.learning.full import run

        def heard(row: dict[str, float]) -> None:
            report(int(row["epoch"]), row["validate_log_loss"])

        return run.tried(run.another(self.plan, recipe), heard), {}

    @property
    def judges(self) -> Sequence[Row]:
        """The photos of validate."""
        return self.plan.sides.validate

    @property
    def learnt(self) -> int:
        """How many photos are learnt from."""
        return len(self.plan.sides.train)

    @property
    def identity(self) -> str:
        """What the trials depend on, the recipe aside."""
        start = self.plan.start
        return f"{_hash(start.weights or b'')} {start.origin} {_photos(self.plan.sides)}"

    def prepare(self, sizes: Iterable[int], track: Track = untracked) -> None:
        """Scale the photos that trials need, for pictures of each size in pixels."""
        from binventory.learning.full import run

        recipe = self.plan.recipe
        for size in sizes:
            run.prepare(run.another(self.plan, replace(recipe, full=replace(recipe.full, size=size))), track)

    def forget(self, recipe: Recipe) -> None:
        """Remove the checkpoint of a training that nobody goes on with."""
        from binventory.learning.full import run

        run.forget(run.another(self.plan, recipe))


def _photos(sides: Sides) -> str:
    return _hash(repr([(row.sha256, row.count) for row in (*sides.train, *sides.validate)]).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
