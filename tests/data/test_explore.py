"""Exploring data: each number against hand-made data, and no data too odd to look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from binventory.counting.priors import EVEN, REFERENCE
from binventory.data import catalogue, traits
from binventory.data.explore import Exploration, explore
from binventory.data.layout import Reject
from binventory.data.traits import Change, Leak
from binventory.data.traps import traps
from binventory.errors import PhotoError
from binventory.recipe import LinkRecipe, SplitRecipe
from binventory.records import LEVELS
from oddities import JPEG, ODD, Files, put, record

HALVES = SplitRecipe(0.5, 0, 0, 0.5)

tallies = st.lists(st.integers(0, 99), min_size=LEVELS, max_size=LEVELS).filter(any)
mixes = tallies.map(lambda of: [n / sum(of) for n in of])
numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def look(*sources: Path, work: Path, shares: SplitRecipe = HALVES) -> Exploration:
    found = catalogue.build([str(one) for one in sources], work, LinkRecipe())
    return explore(found, shares, 0, REFERENCE)


@given(mixes, mixes)
def test_the_distance_of_two_mixes_is_a_share_and_none_where_they_are_one(one: list[float], other: list[float]) -> None:
    assert traits.distance(one, one) == 0
    assert 0 <= traits.distance(one, other) == traits.distance(other, one) <= 1 + 1e-9


def test_mixes_without_a_common_count_are_wholly_apart() -> None:
    mix = traits.mix([3, 3, 3], EVEN)
    assert mix and mix.distance == pytest.approx(21 / 22)
    mix = traits.mix([0, 21, 200], EVEN)
    assert mix and (mix.tally[0], mix.tally[21], mix.largest, mix.median) == (1, 2, 200, 21)
    assert traits.mix([], EVEN) is None


@given(numbers)
def test_a_spread_counts_every_value_once(values: list[float]) -> None:
    spread = traits.spread(values)
    assert spread and sum(spread.tally) == len(values)
    assert list(spread.quantiles) == sorted(spread.quantiles)
    assert (spread.quantiles[0], spread.quantiles[-1]) == (min(values), max(values))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=40))
def test_the_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    one, other = [list(map(float, values)) for values in zip(*pairs, strict=True)] or ([], [])
    ours = traits.rank_correlation(one, other)
    if len(pairs) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(stats.spearmanr(one, other).statistic)


def test_a_leak_is_a_test_photo_whose_run_is_learnt_from() -> None:
    run_of = {"1": "1", "2": "1", "3": "3", "4": "4", "5": "4", "6": "4"}
    sides = {"1": "train", "2": "test", "3": "test", "4": "validate", "5": "test", "6": "test"}
    assert traits.leak(run_of, sides) == Leak(test=4, twins=1)


def test_changes_are_told_by_name_and_what_is_unknown_stays_so() -> None:
    before: dict[str, int | None] = {"A": 2, "B": 1, "C": 4, "D": None}
    after: dict[str, int | None] = {"A": 1, "C": 4, "D": 3, "E": 2}
    assert traits.changes(before, after, {"A": "Apples"}) == (
        Change("Apples", 2, 1), Change("B", 1, 0), Change("D", None, 3), Change("E", 0, 2),
    )  # fmt: skip


def test_rejects_that_differ_only_in_names_are_one_kind() -> None:
    rejects = [Reject(id, f"/d/{id}.jpg", PhotoError(f"/d/{id}.jpg is empty", "it holds no bytes", "take it again"))
               for id in ("a", "is", "x y", "(", "7")]  # fmt: skip
    rejects.append(Reject("a", "/d/labels.csv", PhotoError("/d/labels.csv has no count for a", "line 2", "mend it")))
    empty, lone = traits.refusals(rejects)
    assert (empty.kind, empty.number, len(empty.examples)) == ("… is empty", 5, 3)
    assert (lone.kind, lone.number) == ("… has no count for …", 1)


def test_a_bin_before_and_after_copies_and_odd_sizes(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {
        "bin-images/0001.jpg": JPEG[1], "metadata/0001.json": record(3, B1=2, B2=1),
        "bin-images/0002.jpg": JPEG[2], "metadata/0002.json": record(2, B1=2),
        "bin-images/0005.jpg": JPEG[3], "metadata/0005.json": record(25, side=30.0, B3=25),
        "bin-images/0009.jpg": JPEG[3], "metadata/0009.json": record(4, side=None, B4=5),
        "metadata/0020.json": record(0),
        "bin-images/0030.jpg": b"",
    })  # fmt: skip
    found = look(data, work=tmp_path / "w")
    assert (found.photos, found.labelled, found.unpictured, found.records) == (4, 4, 1, 5)
    assert (found.runs, found.in_runs, found.products, found.rejects) == (2, 4, 4, 1)
    assert found.mix and found.mix.tally[3] == found.mix.tally[2] == found.mix.tally[4] == found.mix.tally[21] == 1
    (twins,) = found.twins.shown
    assert (twins.one.id, twins.other.id, twins.changes) == ("0001", "0002", (Change("a B2", 1, 0),))
    assert found.twins.steps == (0, 1, 0, 0, 0)
    assert found.copies.by_why["same photo"] == 1
    assert found.copies.steps == (0, 0, 0, 0, 1)
    assert found.lines and found.lines.a_bin[:3] == (1, 3, 1)
    assert found.lines.odd == {"a size is missing": 1, "an edge is over 24 in": 1}
    assert found.volumes and (found.volumes.bins, found.volumes.left_out) == (3, 1)
    by_count = {one.count: one.quantiles[2] for one in found.volumes.by_count}
    assert by_count == pytest.approx({2: 16, 3: 24, 21: 25 * 27_000})
    assert found.flags["quantities do not add up"] == 1
    assert [strip.number for strip in found.strips] == [0, 0, 1, 1, 1, 0, 0, 0, 1]
    assert [one.kind for one in found.refusals] == ["… is empty"]
    told = {trap.name: trap.text for trap in traps(found)}
    assert "Counts differ in 1 of them" in told["Near-duplicates"]
    assert {"Twins", "Odd records", "Refused", "Records without photos"} <= set(told)


def test_a_random_split_leaks_and_one_by_runs_does_not(bins: Path, tmp_path: Path) -> None:
    found = look(bins, work=tmp_path / "w")
    assert found.leaks.random.twins > 5
    assert found.leaks.by_runs.test > 0
    assert found.leaks.by_runs.twins == 0
    assert found == look(bins, work=tmp_path / "w")


def test_one_photo_of_each_bin_is_shown(bins: Path, tmp_path: Path) -> None:
    built = catalogue.build([str(bins)], tmp_path / "w", LinkRecipe())
    run_of = {row.id: row.run for row in built.rows}
    found = explore(built, HALVES, 0, REFERENCE)
    assert found.pictures
    for photos in [strip.photos for strip in found.strips] + [one.photos for one in found.pictures.extremes]:
        assert len({run_of[seen.id] for seen in photos}) == len(photos) <= 6
    darkest = [seen.value for seen in found.pictures.extremes[0].photos]
    assert darkest == sorted(darkest, key=lambda value: value or 0)
    assert darkest[0] == found.pictures.spreads["brightness"].quantiles[0]


@pytest.mark.parametrize("files", ODD.values(), ids=ODD)
def test_odd_data_are_looked_at_and_spoken_of(tmp_path: Path, files: Files) -> None:
    found = look(put(tmp_path / "d", files), work=tmp_path / "w")
    row = json.loads(json.dumps(found.as_row()))
    assert row["photos"] + row["unpictured"] + row["rejects"] > 0
    assert all(np.isfinite(place["mix"]["mean"]) for place in row["places"] if place["mix"])
    for trap in traps(found):
        assert trap.text.endswith(".")
        assert "None" not in trap.text


def test_records_alone_have_a_mix_runs_and_a_leak(tmp_path: Path) -> None:
    files: Files = {f"metadata/{n:05}.json": record(2, **{f"B{n // 2}": 2}) for n in range(60)}
    found = look(put(tmp_path / "d", files), work=tmp_path / "w")
    assert (found.photos, found.unpictured, found.runs, found.counted) == (0, 60, 30, "records")
    assert found.mix and found.mix.tally[2] == 60
    assert found.pictures is None
    assert found.leaks.random.twins > 0
    assert found.leaks.by_runs.twins == 0


def test_sides_are_told_once_there_are_any(bins: Path, tmp_path: Path) -> None:
    built = catalogue.build([str(bins)], tmp_path / "w", LinkRecipe())
    assert explore(built, HALVES, 0, REFERENCE).sides == {}
    split = catalogue.split_sides(built, SplitRecipe(), 0)
    assert explore(split, HALVES, 0, REFERENCE).sides == catalogue.tally(split.rows)
