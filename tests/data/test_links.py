"""Which photos show one bin."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from binventory import photo
from binventory.data import drawn, links
from binventory.data.links import Link
from binventory.recipe import Recipe

SEED = 5


@pytest.mark.parametrize(
    ("id", "following"),
    [("00009", "00010"), ("1044", "1045"), ("01044", "01045"), ("99999", "100000"), ("cam3_007", "cam3_008"),
     ("bin", None), ("7a", None)],
)  # fmt: skip
def test_the_next_id_is_as_wide_as_this_one(id: str, following: str | None) -> None:
    assert links.next_id(id) == following


def test_ids_that_differ_in_leading_zeros_are_no_neighbours() -> None:
    assert list(links.neighbours(["1044", "01045", "01044", "1046"])) == [("01044", "01045")]


def test_runs_are_called_by_their_lowest_id_and_hold_chains_whole() -> None:
    chain = [Link("00002", "00003", "x"), Link("00001", "00002", "x"), Link("00008", "00009", "x")]
    found = links.runs(["00001", "00002", "00003", "00005", "00008", "00009"], chain)
    assert found == {"00001": "00001", "00002": "00001", "00003": "00001", "00005": "00005", "00008": "00008",
                     "00009": "00008"}  # fmt: skip


def test_copies_are_linked_whatever_their_ids() -> None:
    assert list(links.copies({"7": "a", "20": "b", "9": "a"})) == [Link("7", "9", "same photo")]


def test_registration_tells_twins_from_strangers() -> None:
    pixels = {number: photo.decode(drawn.draw_one(number, SEED).jpeg) for number in range(1, 61)}
    outlines = {number: links.outline(one) for number, one in pixels.items()}
    twins: list[float] = []
    strangers: list[float] = []
    for number in range(2, 61):
        agreement = links.agreement(outlines[number - 1], outlines[number])
        (twins if drawn.is_twin(number, SEED) else strangers).append(agreement)
    assert np.mean(np.array(twins)[:, None] > np.array(strangers)) > 0.95
    assert np.mean(np.array(twins) > Recipe().link.registration) > 0.8


def test_a_shifted_and_dimmed_picture_agrees_with_itself() -> None:
    pixels = photo.decode(drawn.draw_one(3, SEED).jpeg)
    moved = Image.fromarray((pixels * 0.7).astype(np.uint8)).transform(
        (pixels.shape[1], pixels.shape[0]), Image.Transform.AFFINE, (1, 0, 12, 0, 1, -9)
    )
    assert links.agreement(links.outline(pixels), links.outline(np.asarray(moved))) > 0.4
    assert links.agreement(links.outline(pixels), links.outline(pixels)) == pytest.approx(1, abs=1e-4)


def test_a_blank_picture_agrees_with_nothing() -> None:
    blank = links.outline(np.full((50, 60, 3), 90, np.uint8))
    assert links.agreement(blank, links.outline(photo.decode(drawn.draw_one(3, SEED).jpeg))) == 0


def flipped(hash: str, bits: list[int]) -> str:
    """The hash with some of its 256 bits turned over."""
    return f"{int(hash, 16) ^ sum(1 << bit for bit in bits):064x}"


HASHES = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
BITS = st.lists(st.integers(0, 255), max_size=40, unique=True)


@given(st.lists(st.tuples(HASHES, st.lists(BITS, max_size=3)), max_size=6), st.randoms())
def test_every_pair_of_pictures_alike_is_found_and_no_other(
    groups: list[tuple[str, list[list[int]]]], chance: random.Random
) -> None:
    hashes = [hash for first, changes in groups for hash in (first, *(flipped(first, bits) for bits in changes))]
    chance.shuffle(hashes)
    likenesses = {f"{number:03}": hash for number, hash in enumerate(hashes)}
    slowly = {(a, b) for a, b in combinations(likenesses, 2) if photo.alike(likenesses[a], likenesses[b])}
    slowly = {(a, b) for a, b in slowly if {likenesses[a], likenesses[b]}.isdisjoint({"0" * 64})}
    found = {(link.one, link.other) for link in links.near(likenesses)}
    assert found <= slowly
    assert links.runs(likenesses, [Link(a, b, "") for a, b in found]) == links.runs(
        likenesses, [Link(a, b, "") for a, b in slowly]
    )
    if len(set(hashes)) == len(hashes):
        assert found == slowly


def test_ten_thousand_pictures_alike_are_linked_without_comparing_all_with_all() -> None:
    assert len(list(links.near({f"{number:05}": "f" * 64 for number in range(10_000)}))) == 9_999
    assert list(links.near({f"{number:05}": "0" * 64 for number in range(10_000)})) == []


@given(HASHES, st.integers(0, 228))
def test_bits_that_differ_side_by_side_are_no_reason_to_miss_a_pair(hash: str, start: int) -> None:
    other = flipped(hash, list(range(start, start + 28)))
    assume("0" * 64 not in (hash, other))
    assert [link.why for link in links.near({"a": hash, "b": other})] == ["pictures alike"]
