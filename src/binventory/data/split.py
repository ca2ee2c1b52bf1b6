"""Sides that do not leak: whole runs to train, validate, calibrate or test, by hash, stored and final.

Pure: takes ids, links and what is stored, and returns placements. A new photo joins its run's side; one that would
join two sides is *held* and belongs to none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from binventory.data.links import Link, runs
from binventory.errors import LeakError
from binventory.recipe import SplitRecipe

SIDES = ("train", "validate", "calibrate", "test")
HELD = "held"
UNSEEN = ("calibrate", "test")
"""The sides open to photos that must stay out of what a bundle learns from."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The side of a photo, and why where that is not the hash's choice."""

    side: str
    reason: str = ""


def place(
    ids: Collection[str],
    links: Sequence[Link],
    stored: Mapping[str, Placement],
    shares: SplitRecipe,
    seed: int,
    hold_out: Collection[str] = (),
) -> dict[str, Placement]:
    """The side of every id: the stored one where there is one, else its run's, else by hash of its run's lowest id.

    ``hold_out``: ids whose runs go to calibrate or test. A stored photo never moves to another side; where a link
    joins stored photos of two sides, those two are held.

    Raises LeakError where a held-out photo's run was learnt from already.
    """
    placed = {id: stored[id] for id in ids if id in stored}
    for link in leaks(links, {id: one.side for id, one in placed.items()}):
        reason = f"{link.why}: joins {link.one} ({placed[link.one].side}) and {link.other} ({placed[link.other].side})"
        placed[link.one] = placed[link.other] = Placement(HELD, reason)
    new = [id for id in ids if id not in placed]
    touched = _touched(new, links, placed)
    for lowest, members in _members(runs(new, links)).items():
        met = {placed[id].side: id for id in sorted(touched.get(lowest, ()))}
        held_out = any(id in hold_out for id in members)
        placed |= dict.fromkeys(members, _placement(lowest, met, shares, seed, held_out))
    learnt = sorted(id for id in hold_out if id in placed and placed[id].side in ("train", "validate"))
    if learnt:
        raise LeakError(
            f"{len(learnt)} photos to hold out are learnt from already",
            f"their runs stand on the train or validate side ({', '.join(learnt[:5])}{' …' if learnt[5:] else ''})",
            "hold them out before the first split: --work NEW_DIR",
        )
    return placed


def leaks(links: Iterable[Link], sides: Mapping[str, str]) -> list[Link]:
    """The links whose two photos stand on different sides, held ones aside."""
    return [
        link
        for link in links
        if {sides.get(link.one, HELD), sides.get(link.other, HELD)}.isdisjoint({HELD})
        and sides[link.one] != sides[link.other]
    ]


def refuse_leaks(links: Iterable[Link], sides: Mapping[str, str]) -> None:
    """Raise LeakError, naming the pairs, where a split puts photos of one bin on different sides."""
    found = leaks(links, sides)
    if found:
        pairs = "; ".join(
            f"{link.one} ({sides[link.one]}) and {link.other} ({sides[link.other]}): {link.why}" for link in found[:20]
        )
        raise LeakError(
            f"The split leaks in {len(found)} pairs of photos",
            pairs + (" …" if found[20:] else ""),
            "put each pair on one side, or let binventory split by itself",
        )


def _placement(lowest: str, met: Mapping[str, str], shares: SplitRecipe, seed: int, held_out: bool) -> Placement:
    if not met:
        return Placement(_by_hash(lowest, shares, seed, held_out))
    if len(met) == 1 and HELD not in met:
        side, id = next(iter(met.items()))
        return Placement(side, f"joins the run of {id}")
    return Placement(HELD, "would join " + " and ".join(f"{id} ({side})" for side, id in sorted(met.items())))


def _by_hash(lowest: str, shares: SplitRecipe, seed: int, held_out: bool) -> str:
    open_to = {side: share for side, share in asdict(shares).items() if not held_out or side in UNSEEN}
    if not sum(open_to.values()):
        return UNSEEN[-1]
    draw = int.from_bytes(hashlib.sha256(f"{seed}:{lowest}".encode()).digest()[:8], "big") / 2**64
    draw *= sum(open_to.values())
    for side, share in open_to.items():
        draw -= share
        if draw < 0:
            return side
    return next(side for side in reversed(open_to) if open_to[side])


def _touched(new: Sequence[str], links: Sequence[Link], placed: Mapping[str, Placement]) -> dict[str, set[str]]:
    """For each run among the new photos, by its lowest id, the placed photos that its links reach."""
    run_of = runs(new, links)
    touched: dict[str, set[str]] = {}
    for link in links:
        for id, neighbour in ((link.one, link.other), (link.other, link.one)):
            if id in run_of and neighbour in placed:
                touched.setdefault(run_of[id], set()).add(neighbour)
    return touched


def _members(run_of: Mapping[str, str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for id, run in run_of.items():
        members.setdefault(run, []).append(id)
    return members
