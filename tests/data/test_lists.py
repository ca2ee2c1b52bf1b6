"""Lists that users hand in or take away, and what is chosen from a catalogue into one."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.data import catalogue, choose, lists
from binventory.errors import InputError, UsageError
from binventory.recipe import LinkRecipe, SplitRecipe

ID = st.text("0123456789", min_size=1, max_size=6)
IDS = st.lists(ID, unique=True, max_size=20)
COUNTED = st.dictionaries(ID, st.integers(0, 7), max_size=60)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["1", "2", "5", "12"]), IDS))
def test_classes_are_read_as_they_were_written(classes: dict[str, list[str]]) -> None:
    every = list(dict.fromkeys(id for ids in classes.values() for id in ids))
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/file_list.json"
        lists.write_classes(address, classes)
        assert lists.read_classes(address) == classes
        if every:
            assert lists.read_ids(address) == every


def test_classes_are_written_as_courses_hand_them_out(tmp_path: Path) -> None:
    path = tmp_path / "file_list.json"
    lists.write_classes(str(path), {"1": ["100313", "09915"], "2": []})
    assert path.read_text() == '{"1": ["data/metadata/100313.json", "data/metadata/09915.json"], "2": []}'


def test_a_list_is_json_by_class_or_lines(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text(' {"a": ["data/metadata/01044.json", "1044"], "b": ["x/1044.jpg", "7.5"]}')
    assert lists.read_ids(f"{tmp_path}/ids.json") == ["01044", "1044", "7.5"]
    (tmp_path / "ids.txt").write_text("01044\n1044.jpg\n# not 7\n\n1044\n")
    assert lists.read_ids(f"{tmp_path}/ids.txt") == ["01044", "1044"]


def test_a_table_is_a_list_of_its_first_column_where_that_is_headed_id(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("Id,count\n01044,3\n1044.jpg,\n")
    assert lists.read_ids(f"{tmp_path}/labels.csv") == ["01044", "1044"]


@pytest.mark.parametrize("text", ["", "\n# none\n", "{}", "id,count\n"])
def test_a_list_without_ids_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text(text)
    with pytest.raises(InputError, match="names no ids"):
        lists.read_ids(f"{tmp_path}/ids")


@pytest.mark.parametrize("text", ["{", '["00001"]', '{"1": "00001"}', '{"1": [1]}', "{1: []}"])
def test_json_that_is_no_list_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(InputError, match=r"ids\.json is no list of ids"):
        lists.read_ids(f"{tmp_path}/ids.json")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("00001-00003", ["00001", "00002", "00003"]),
        ("9-11", ["9", "10", "11"]),
        ("09-11", ["09", "10", "11"]),
        ("99999-100000", ["99999", "100000"]),
        ("1044-1044", ["1044"]),
    ],
)
def test_a_range_is_padded_as_its_first_id(text: str, ids: list[str]) -> None:
    assert lists.parse_range(text) == ids


@pytest.mark.parametrize("text", ["", "1", "5-1", "a-b", "1-005", "001-05", "-1-5", "1-2-3", "1-99999999999", "٣-٤"])
def test_a_range_that_is_none_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="does not read"):
        lists.parse_range(text)
    with pytest.raises(UsageError, match="is too wide"):
        lists.parse_range("1-999999999")


def test_ids_are_taken_apart_at_commas() -> None:
    assert lists.parse_ids("1044, 01044,1044.jpg,") == ["1044", "01044"]
    with pytest.raises(UsageError, match="do not read"):
        lists.parse_ids(" ,")


# Choosing


@given(COUNTED, st.integers(1, 80), st.integers(0, 40), st.booleans(), st.integers(0, 5))
def test_a_larger_choice_holds_the_smaller_and_no_order_matters(
    counted: dict[str, int], size: int, more: int, balanced: bool, seed: int
) -> None:
    counts = (1, 2, 3, 5)
    chosen = choose.by_count(counted.items(), counts, size, balanced, seed)
    larger = choose.by_count(reversed(counted.items()), counts, size + more, balanced, seed)
    assert list(chosen) == list(counts)
    for count, ids in chosen.items():
        assert set(ids) <= set(larger[count])
        assert ids == sorted(id for id in ids if counted[id] == count)
    there = Counter(counted.values())
    if balanced:
        assert all(min(size // 4, there[n]) <= len(chosen[n]) <= -(-size // 4) for n in counts)
        assert sum(map(len, chosen.values())) <= size
    else:
        assert sum(map(len, chosen.values())) == min(size, sum(there[n] for n in counts))


@given(COUNTED)
def test_without_a_size_all_are_chosen_or_as_many_as_the_rarest_has(counted: dict[str, int]) -> None:
    there = Counter(counted.values())
    everything = choose.by_count(counted.items(), (1, 2), None, False, 1)
    assert {n: len(ids) for n, ids in everything.items()} == {1: there[1], 2: there[2]}
    even = choose.by_count(counted.items(), (1, 2), None, True, 1)
    assert {len(ids) for ids in even.values()} == {min(there[1], there[2])}


def test_another_seed_chooses_others() -> None:
    counted = {str(number): 1 for number in range(200)}
    one, other = (choose.by_count(counted.items(), (1,), 50, False, seed)[1] for seed in (1, 2))
    assert len(one) == len(other) == 50
    assert one != other


def test_ids_are_chosen_from_a_catalogue_by_condition_count_and_side(bins: Path, tmp_path: Path) -> None:
    found = catalogue.build([str(bins)], tmp_path, LinkRecipe())
    found = catalogue.split_sides(found, SplitRecipe(), 1)
    fives = [row.id for row in found.rows if row.count == 5]
    assert choose.where(tmp_path, "count = 5 -- and no more") == fives
    assert choose.where(tmp_path, "count > 999") == []
    assert dict(choose.labelled(tmp_path)) == {row.id: row.count for row in found.rows}
    assert dict(choose.labelled(tmp_path, "test")) == {row.id: row.count for row in found.side("test")}
    for wrong in ("cuont = 5", "count = 5; drop table photos", "true); select 1, 2 where (true"):
        with pytest.raises(UsageError):
            choose.where(tmp_path, wrong)
    with pytest.raises(UsageError, match="Side 'tset' does not exist"):
        choose.labelled(tmp_path, "tset")
    assert json.dumps(choose.where(tmp_path, "id = '00001'")) == '["00001"]'
