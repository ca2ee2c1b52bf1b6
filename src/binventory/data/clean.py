"""Which photos are not worth learning from, by named rules: pure. Facts in, rejections out; nothing is deleted.

A rule looks at what is known of a photo, never at what another rule says of it: their order does not matter, a photo
may be rejected by several, and rejecting changes no side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from binventory.data.links import Link, runs
from binventory.recipe import CleanRecipe, CleanRule
from binventory.records import LEVELS, shown

SAME = ("same photo", "pictures alike")
"""The links that make one photo the duplicate of another."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What the catalogue knows of one id.

    ``contrast``, ``sharpness``: as in ``photo.measured``, None where only a record is there. ``refused``: why its
    photo was refused, "" where it was not.
    """

    id: str
    count: int | None
    flags: tuple[str, ...] = ()
    contrast: float | None = None
    sharpness: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One id, the rule that rejects it, and why in words."""

    id: str
    rule: CleanRule
    reason: str


def rejections(facts: Iterable[Fact], links: Iterable[Link], recipe: CleanRecipe) -> list[Rejection]:
    """What the recipe's rules reject, in the order of rules and ids; ``label unlikely`` apart, which needs a trunk.

    Linear in facts and links.
    """
    by_id = {fact.id: fact for fact in sorted(facts, key=lambda one: one.id)}
    found: list[Rejection] = []
    for rule in dict.fromkeys(recipe.rules):
        if rule in _ALONE:
            why = _ALONE[rule]
            found += [Rejection(id, rule, reason) for id, fact in by_id.items() if (reason := why(fact, recipe))]
        elif rule == "duplicate":
            found += _duplicates(by_id, links)
    return found


def _unreadable(fact: Fact, _: CleanRecipe) -> str:
    return fact.refused


def _unlabelled(fact: Fact, _: CleanRecipe) -> str:
    return "nothing says how many items it shows" if fact.count is None and not fact.refused else ""


def _contradicts_itself(fact: Fact, _: CleanRecipe) -> str:
    flagged = "quantities do not add up" in fact.flags
    return "its record's total is not the sum of its lines" if flagged else ""


def _uniform(fact: Fact, recipe: CleanRecipe) -> str:
    low = fact.contrast is not None and fact.contrast < recipe.contrast
    return f"contrast {fact.contrast:.3f}, below {recipe.contrast:g}" if low else ""


def _blurred(fact: Fact, recipe: CleanRecipe) -> str:
    low = fact.sharpness is not None and fact.sharpness < recipe.sharpness
    return f"sharpness {fact.sharpness:.2f}, below {recipe.sharpness:g}" if low else ""


_ALONE: dict[CleanRule, Callable[[Fact, CleanRecipe], str]] = {
    "unreadable": _unreadable,
    "no label": _unlabelled,
    "quantities do not add up": _contradicts_itself,
    "near-uniform": _uniform,
    "too blurred": _blurred,
}
"""The rules that look at one photo, and say why they reject it, or nothing."""


def _duplicates(by_id: Mapping[str, Fact], links: Iterable[Link]) -> list[Rejection]:
    """All but one photo of each group of copies: the lowest id with a count stays. Where their counts differ nobody
    can tell which is right, and none stays."""
    same = [link for link in links if link.why in SAME and link.one in by_id and link.other in by_id]
    groups: dict[str, list[Fact]] = {}
    for id, lowest in runs(sorted({id for link in same for id in (link.one, link.other)}), same).items():
        groups.setdefault(lowest, []).append(by_id[id])
    found = []
    for group in groups.values():
        counts = sorted({fact.count for fact in group if fact.count is not None})
        if len(counts) > 1:
            told = " and ".join(map(str, counts))
            found += [Rejection(fact.id, "duplicate", f"{_others(fact, group)}, and their counts differ: {told}")
                      for fact in group]  # fmt: skip
            continue
        kept = next((fact for fact in group if fact.count is not None), group[0])
        found += [Rejection(fact.id, "duplicate", f"the same photo as {kept.id}") for fact in group if fact is not kept]
    return sorted(found, key=lambda one: one.id)


def _others(fact: Fact, group: Sequence[Fact]) -> str:
    others = [other.id for other in group if other is not fact]
    return f"the same photo as {others[0]}" + (f" and {len(others) - 1} more" if others[1:] else "")


Probs = NDArray[np.float64]
Levels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Usual:
    """What a model gives, on average, to a count where the label says it: ``probability`` [22], and ``reach`` [22], as
    in ``reaches``. Infinite and zero for a count that no label names: it is never suggested."""

    probability: Probs
    reach: Probs


def usual(probs: Probs, levels: Levels) -> Usual:
    """The averages by label of out-of-sample distributions [N, 22], from a model that has learnt from none of the
    photos, and their labels [N]."""
    tally = np.bincount(levels, minlength=LEVELS)

    def mean(values: Probs, without: float) -> Probs:
        total = np.bincount(levels, values, minlength=LEVELS)
        return np.where(tally > 0, total / np.maximum(tally, 1), without)

    return Usual(mean(probs[np.arange(len(levels)), levels], np.inf), mean(reaches(probs, levels), 0.0))


def reaches(probs: Probs, levels: Levels) -> Probs:
    """How far the distributions [N, 22] reach out to the labels [N]: the probability of a count at least as low, or of
    one at least as high, whichever is less."""
    rows, below = np.arange(len(levels)), np.cumsum(probs, axis=1)
    low = below[rows, levels]
    return np.minimum(low, 1 - low + probs[rows, levels])


def doubted(
    ids: Sequence[str], probs: Probs, levels: Levels, known: Usual, recipe: CleanRecipe
) -> list[Rejection]:  # fmt: skip
    """The photos whose label is unlikely: off the diagonal of the confident joint, and far from what the photo shows.

    Confident learning (Northcutt, Jiang and Chuang 2021): of the counts whose out-of-sample probability reaches what
    is usual for them, the likeliest is what the photo seems to show. Where that is not its label, the label is in
    doubt. Where a model is right for one photo in three, that alone doubts most labels; but counts have an order, and
    neighbours look alike: so the distribution must hardly reach the label, too, with no more than the share
    ``recipe.unlikely`` of what is usual for that label. A share, since no photo is sure of a rare count.

    ``probs`` [N, 22], ``levels`` [N], ``known`` from ``usual``.
    """
    rows = np.arange(len(levels))
    likely = np.where(probs >= known.probability, probs, -1.0)
    shows = likely.argmax(axis=1)
    beyond = reaches(probs, levels) <= recipe.unlikely * known.reach[levels]
    doubt = (likely[rows, shows] >= 0) & (shows != levels) & beyond
    return [
        Rejection(
            ids[row], "label unlikely",
            f"labelled {shown(int(levels[row]))}, which has {probs[row, levels[row]]:.1%}; "
            f"{shown(int(shows[row]))} has {probs[row, shows[row]]:.0%}",
        )
        for row in np.flatnonzero(doubt).tolist()
    ]  # fmt: skip
