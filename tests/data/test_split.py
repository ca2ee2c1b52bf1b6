"""Sides do not leak, and never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.data import links, split
from binventory.data.links import Link
from binventory.data.split import HELD, SIDES, Placement
from binventory.errors import LeakError
from binventory.recipe import SplitRecipe

SHARES = SplitRecipe()

ids = st.integers(0, 400).map(lambda number: f"{number:05}")
chains = st.lists(ids, min_size=1, max_size=60, unique=True).flatmap(
    lambda chosen: st.tuples(
        st.just(chosen),
        st.lists(st.tuples(st.sampled_from(chosen), st.sampled_from(chosen)).filter(lambda pair: pair[0] != pair[1])),
        st.sets(st.sampled_from(chosen)),
    )
)


def linked(pairs: list[tuple[str, str]]) -> list[Link]:
    return [Link(min(pair), max(pair), "shares a product") for pair in pairs]


@given(chains)
def test_photos_that_come_later_move_none_and_leak_none(
    drawn: tuple[list[str], list[tuple[str, str]], set[str]],
) -> None:
    everything, pairs, early = drawn
    first = split.place(
        sorted(early), [link for link in linked(pairs) if {link.one, link.other} <= early], {}, SHARES, 1
    )
    later = split.place(everything, linked(pairs), first, SHARES, 1)
    for id, placement in first.items():
        joins_two_sides = any(
            first[link.one].side != first[link.other].side
            for link in linked(pairs)
            if id in (link.one, link.other) and {link.one, link.other} <= early
        )
        assert later[id].side == (HELD if joins_two_sides else placement.side)
    assert split.leaks(linked(pairs), {id: one.side for id, one in later.items()}) == []


@given(chains)
def test_a_run_goes_whole_to_one_side_whatever_the_order(
    drawn: tuple[list[str], list[tuple[str, str]], set[str]],
) -> None:
    everything, pairs, _ = drawn
    placed = split.place(everything, linked(pairs), {}, SHARES, 1)
    assert placed == split.place(everything[::-1], linked(pairs)[::-1], {}, SHARES, 1)
    for id, run in links.runs(everything, linked(pairs)).items():
        assert placed[id].side == placed[run].side in SIDES


def test_the_shares_are_those_of_the_recipe() -> None:
    many = [f"{number:06}" for number in range(0, 40_000, 2)]
    placed = split.place(many, [], {}, SplitRecipe(0.5, 0.2, 0.2, 0.1), 1)
    for side, share in zip(SIDES, (0.5, 0.2, 0.2, 0.1), strict=True):
        assert sum(one.side == side for one in placed.values()) / len(many) == pytest.approx(share, abs=0.012)


def test_another_seed_splits_otherwise() -> None:
    many = [f"{number:05}" for number in range(100)]
    assert split.place(many, [], {}, SHARES, 1) != split.place(many, [], {}, SHARES, 2)


def test_a_photo_that_would_join_two_sides_is_held_and_says_why() -> None:
    stored = {"00001": Placement("train"), "00003": Placement("test")}
    pairs = linked([("00001", "00002"), ("00002", "00003")])
    placed = split.place(["00001", "00002", "00003"], pairs, stored, SHARES, 1)
    assert placed["00002"].side == HELD
    assert placed["00002"].reason == "would join 00003 (test) and 00001 (train)"
    assert {placed["00001"].side, placed["00003"].side} == {"train", "test"}


def test_held_out_photos_and_their_runs_go_to_calibrate_or_test() -> None:
    many = [f"{number:05}" for number in range(300)]
    pairs = linked([(many[n], many[n + 1]) for n in range(0, 300, 3)])
    out = set(many[::6])
    placed = split.place(many, pairs, {}, SHARES, 1, out)
    run_of = links.runs(many, pairs)
    kept_out = {id for id in many if run_of[id] in {run_of[one] for one in out}}
    assert {placed[id].side for id in kept_out} == {"calibrate", "test"}
    assert {placed[id].side for id in many if id not in kept_out} == set(SIDES)


def test_holding_out_what_was_learnt_from_is_refused() -> None:
    with pytest.raises(LeakError, match=r"1 photos to hold out.*00001"):
        split.place(["00001"], [], {"00001": Placement("train")}, SHARES, 1, ["00001"])


def test_a_leaking_split_is_refused_with_its_pairs() -> None:
    with pytest.raises(LeakError, match=r"leaks in 1 pairs.*00001 \(train\) and 00002 \(test\): shares a product"):
        split.refuse_leaks(linked([("00001", "00002")]), {"00001": "train", "00002": "test"})
    split.refuse_leaks(linked([("00001", "00002")]), {"00001": "train", "00002": HELD})
