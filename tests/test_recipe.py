"""Settings: what is written is what is read, later wins, and what does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from binventory import recipe
from binventory.errors import UsageError
from binventory.recipe import CameraRecipe, FullRecipe, LinkRecipe, QuickRecipe, Recipe, SplitRecipe


def shares(weights: list[int]) -> SplitRecipe:
    return SplitRecipe(*(weight / sum(weights) for weight in weights))


finite = st.floats(0, 1e9)
positive = st.floats(0, 1e9, exclude_min=True)
unit = st.floats(0, 1)
recipes = st.builds(
    Recipe,
    kind=st.sampled_from(["quick", "full"]),
    seed=st.integers(0, 2**63 - 1),
    prior=st.sampled_from(["training", "reference", "even"]),
    split=st.lists(st.integers(0, 100), min_size=4, max_size=4).filter(any).map(shares),
    link=st.builds(LinkRecipe, unit),
    quick=st.builds(
        QuickRecipe, finite, unit, st.lists(positive, min_size=1, max_size=6).map(tuple), st.integers(1, 10**6)
    ),
    full=st.builds(
        FullRecipe,
        mean=st.sampled_from([(), (0.5, 0.4, 0.3)]),
        size=st.integers(32, 1024),
        epochs=st.integers(1, 1000),
        minutes=finite,
        optimizer=st.sampled_from(["adamw", "sgd"]),
        lr=positive,
        camera=st.builds(CameraRecipe, flip=unit, crop=st.floats(0, 0.9), jpeg=unit),
    ),
)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_a_named_recipe_is_the_defaults(name: Any) -> None:
    assert recipe.load(name) == Recipe(kind=name)
    assert recipe.load(name).split == SplitRecipe(0.7, 0.1, 0.1, 0.1)


@given(made=recipes)
def test_a_recipe_written_as_toml_reads_back_the_same(made: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "recipe.toml"
    file.write_text(recipe.to_toml(made), encoding="utf-8")
    assert recipe.load(str(file)) == made


@given(recipes)
def test_a_recipe_as_plain_values_goes_through_json(made: Recipe) -> None:
    assert recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping(made)))) == made


def test_a_setting_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 5\n[quick]\nbalance = 0.7\norder = 2\n")
    made = recipe.load(str(file), ["quick.balance=0.9", "link.registration=0.8"])
    assert (made.seed, made.quick.balance, made.quick.order) == (5, 0.9, 2.0)
    assert made.quick.rounds == QuickRecipe().rounds
    assert made.link.registration == 0.8


def test_the_last_of_two_settings_wins() -> None:
    assert recipe.load("quick", ["seed=1", "seed=2"]).seed == 2


def test_a_file_named_like_a_recipe_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quick").write_text("seed = 9")
    monkeypatch.chdir(tmp_path)
    assert recipe.load("quick").seed == 9


@pytest.mark.parametrize(
    ("setting", "what", "next"),
    [
        ("sed=1", "sed does not exist", "seed"),
        ("split.trian=1", "split.trian does not exist", "split.train"),
        ("quick.rigde=[1]", "quick.rigde does not exist", "quick.ridge"),
        ("lnik.registration=0.9", "lnik does not exist", "link"),
        ("zzz=1", "zzz does not exist", "kind"),
        ("kind.x=1", "kind.x does not exist", "--set kind=…"),
    ],
)
def test_an_unknown_setting_names_the_nearest(setting: str, what: str, next: str) -> None:
    with pytest.raises(UsageError) as told:
        recipe.load("quick", [setting])
    assert told.value.what.endswith(what)
    assert told.value.next == next


@pytest.mark.parametrize(
    ("setting", "place", "next"),
    [
        ("seed=x", "seed", "seed=1"),
        ("seed=1.5", "seed", "seed=1"),
        ("seed=true", "seed", "seed=1"),
        ("seed=-1", "seed", "seed=1"),
        ("seed=99999999999999999999", "seed", "seed=1"),
        pytest.param("seed=" + "9" * 5000, "seed", "seed=1", id="seed of 5000 digits"),
        pytest.param("seed=" + "[" * 100_000, "seed", "seed=1", id="seed of 100000 brackets"),
        ("kind=fast", "kind", 'kind="quick"'),
        ("prior=", "prior", 'prior="training"'),
        ("split.train=1.5", "split.train", "split.train=0.7"),
        ("split.train=NaN", "split.train", "split.train=0.7"),
        ("quick.order=Infinity", "quick.order", "quick.order=1.0"),
        ("quick.order=1e999", "quick.order", "quick.order=1.0"),
        ("quick.ridge=[]", "quick.ridge", "quick.ridge=[3e-05, 0.0001, 0.0003, 0.001, 0.003]"),
        ("quick.ridge=[1, -1]", "quick.ridge[1]", "quick.ridge=[3e-05, 0.0001, 0.0003, 0.001, 0.003]"),
        ("quick.ridge=0.1", "quick.ridge", "quick.ridge=[3e-05, 0.0001, 0.0003, 0.001, 0.003]"),
        ("quick.rounds=0", "quick.rounds", "quick.rounds=150"),
        ("link.registration=2", "link.registration", "link.registration=0.2"),
        ("split=1", "split", 'split={"train": 0.7, "validate": 0.1, "calibrate": 0.1, "test": 0.1}'),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_one_that_does(setting: str, place: str, next: str) -> None:
    with pytest.raises(UsageError) as told:
        recipe.load("quick", [setting])
    assert told.value.what == f"Recipe setting {place} does not fit"
    assert told.value.next == next
    assert recipe.load("quick", [next]) == Recipe()


@pytest.mark.parametrize("setting", ["seed", "", "=1", "  = 1"])
def test_a_setting_without_name_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="no value"):
        recipe.load("quick", [setting])


def test_a_split_that_does_not_sum_to_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"sum to 1\.1"):
        recipe.load("quick", ["split.train=0.8"])
    assert recipe.load("quick", ["split.train=0.6", "split.test=0.2"]).split == SplitRecipe(0.6, 0.1, 0.1, 0.2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"seed = ", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"[quick]\nridge = [nan]\n", "ridge"),
        (b"seed = 1\nseed = 2\n", "is not TOML"),
        (b"colour = 1\n", "colour does not exist"),
        (b"[split]\ntrain = inf\n", "train"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        recipe.load(str(file))


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist"):
        recipe.load(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        recipe.load(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"7"', "7"),
        ("null", None),
        ("full", "full"),
        ("", ""),
        ("[1, 2", "[1, 2"),
        ("01", "01"),
    ],
)
def test_a_string_is_json_where_it_can_be(text: str, value: object) -> None:
    assert recipe.parse_value(text) == value


@given(st.text())
def test_any_string_parses_to_something(text: str) -> None:
    recipe.parse_value(text)


@given(st.lists(st.text(), max_size=3), st.text())
def test_any_settings_give_a_recipe_or_a_usage_error(path: list[str], value: str) -> None:
    try:
        made = recipe.load("quick", [".".join(path) + "=" + value])
    except UsageError as error:
        assert error.next
    else:
        assert isinstance(made, Recipe)


@given(st.sampled_from(["order", "balance", "rounds", "ridge"]), st.floats() | st.integers() | st.text() | st.none())
def test_any_value_gives_a_finite_recipe_or_a_usage_error(name: str, value: Any) -> None:
    try:
        made = recipe.from_mapping({"quick": {name: value}})
    except UsageError as error:
        assert name in error.what
    else:
        assert 0 <= np.min(getattr(made.quick, name)) <= np.max(getattr(made.quick, name)) < np.inf


def test_settings_leave_the_mapping_that_they_came_from_alone() -> None:
    values = {"quick": {"balance": 0.5}}
    recipe.from_mapping(values)
    assert values == {"quick": {"balance": 0.5}}


def test_the_toml_names_every_setting() -> None:
    text = recipe.to_toml(Recipe())
    assert text == tomli_w.dumps(recipe.to_mapping(Recipe()))
    for name in ("kind", "seed", "prior", "train", "registration", "ridge", "rounds"):
        assert f"\n{name} = " in "\n" + text


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Recipe().seed = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Recipe().split.train = 1.0  # type: ignore[misc]
    assert hash(Recipe()) == hash(Recipe())
