"""What a tuning varies, which trial is next, what was gained, and the page of it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import recipe as recipes
from binventory.errors import InputError, UsageError
from binventory.learning import space, trials, tuning
from binventory.learning.metrics import Judgement
from binventory.learning.space import Axis
from binventory.learning.trials import Attempt
from binventory.learning.tuning import Trial, Tuning
from binventory.learning.tuning_page import tuning_page
from pages import HOSTILE, Parts

QUICK, FULL = recipes.load("quick"), recipes.load("full")
SECTIONS = ("headline", "course", "settings", "best", "trials", "definitions")


# What may vary


@pytest.mark.parametrize(
    ("recipe", "ranges", "choices", "axis"),
    [
        (FULL, ["full.lr=1e-5:1e-3"], [], Axis("full.lr", low=1e-5, high=1e-3, log=True)),
        (FULL, ["full.lr=1e-5:1e-3:linear"], [], Axis("full.lr", low=1e-5, high=1e-3)),
        (FULL, ["full.batch=8:64:log"], [], Axis("full.batch", low=8, high=64, log=True, whole=True)),
        (FULL, [], ["full.batch=16, 32,16"], Axis("full.batch", (16, 32))),
        (FULL, [], ["full.optimizer=adamw,sgd"], Axis("full.optimizer", ("adamw", "sgd"))),
        (FULL, ["full.camera.crop=0:0.3"], [], Axis("full.camera.crop", low=0, high=0.3)),
        (QUICK, ["quick.ridge=1e-4:1e-2"], [], Axis("quick.ridge", low=1e-4, high=1e-2, log=True)),
        (QUICK, ["quick.order=0:2"], [], Axis("quick.order", low=0, high=2)),
    ],
)
def test_a_user_says_what_a_setting_may_be(
    recipe: recipes.Recipe, ranges: list[str], choices: list[str], axis: Axis
) -> None:
    assert axis in space.asked(recipe, space.usual(recipe, (128,)), ranges, choices)


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("range", "full.lrr=1:2", "Recipe setting full.lrr does not exist"),
        ("range", "full.lr=-1:2:linear", "Recipe setting full.lr does not fit"),
        ("range", "full.lr=0:1", "begins above 0"),
        ("range", "full.lr=2:1", "the lower number first"),
        ("range", "full.lr=1", "the lower number first"),
        ("range", "full.lr=1:2:cubic", "the lower number first"),
        ("range", "full.lr=nan:2", "the lower number first"),
        ("range", "full.optimizer=1:2", "Recipe setting full.optimizer does not fit"),
        ("range", "full.size=64:128", "full.size takes no range"),
        ("range", "quick.ridge=1:2", "Setting quick.ridge cannot be tuned"),
        ("range", "seed=1:2", "Setting seed cannot be tuned"),
        ("choose", "full.learn=train,train+validate", "Setting full.learn cannot be tuned"),
        ("choose", "full.optimizer=adam", "Recipe setting full.optimizer does not fit"),
        ("choose", "full.batch=", "says nothing"),
        ("choose", "full.batch", "says nothing"),
    ],
)
def test_what_cannot_vary_is_refused_as_a_recipe_would(option: str, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        space.asked(FULL, (), [text] if option == "range" else [], [text] if option == "choose" else [])


@pytest.mark.parametrize("asked", ["full.lr=0:1:log", "full.batch=0:64:log", "full.momentum=0:0.9:log"])
def test_the_range_that_is_suggested_is_one(asked: str) -> None:
    with pytest.raises(UsageError, match="begins above 0") as refused:
        space.asked(FULL, (), [asked], [])
    assert space.asked(FULL, (), [refused.value.next.removeprefix("--range ")], [])[0].log


def test_studies_in_two_databases_have_a_folder_each_and_no_password_a_say() -> None:
    place = "postgresql+psycopg://me{}@host/db"
    names = {trials.folder_name("k", one) for one in (None, "sqlite:///a.db", "sqlite:///b.db", place.format(""))}
    assert len(names) == 4 and "k" in names
    assert trials.folder_name("k", place.format(":secret")) == trials.folder_name("k", place.format(":other")) in names


@given(st.sampled_from([QUICK, FULL]), st.data())
def test_every_point_of_the_usual_space_is_a_recipe_that_toml_keeps(
    recipe: recipes.Recipe, data: st.DataObject
) -> None:
    axes = space.usual(recipe, (192, 260))
    point = {
        axis.setting: data.draw(st.sampled_from(axis.values) if axis.values else st.floats(axis.low, axis.high))
        for axis in axes
    }
    made = space.with_settings(recipe, point)
    assert recipes.from_mapping(tomllib.loads(recipes.to_toml(made))) == made
    assert space.settings_of(made, axes, 260) | {"quick.ridge": 0} == point | {"quick.ridge": 0}


def test_the_recipe_itself_lies_in_the_usual_space() -> None:
    odd = recipes.load("full", ["full.lr=0.1", "full.batch=7", "full.momentum=0.1", "full.size=96"])
    for recipe in (QUICK, FULL, odd):
        axes = {axis.setting: axis for axis in space.usual(recipe, (260,))}
        said = space.settings_of(recipe, axes.values(), 260)
        assert all(axes[name].holds(value) for name, value in said.items())
        assert set(axes) - set(said) <= {"quick.ridge"}, "of which the recipe names several"


# Which trial is next


def attempt(number: int, place: int, state: str, **more: str) -> Attempt:
    return Attempt(number, place, state, {"quick.order": float(number)}, "", more.get("token", "now"), None, (), 0.0,
                   {}, "", "", more.get("why", ""))  # fmt: skip


def test_a_killed_trial_is_next_with_its_settings_and_a_running_one_is_not() -> None:
    seen = [attempt(0, 0, "COMPLETE"), attempt(1, 1, "FAIL"), attempt(2, 2, "RUNNING"), attempt(3, 3, "WAITING")]
    assert trials.to_do(seen, 4, "now") == (1, {"quick.order": 1.0})
    assert trials.to_do([*seen, attempt(4, 1, "RUNNING")], 4, "now") == (3, {})
    assert trials.to_do([*seen, attempt(4, 1, "PRUNED"), attempt(5, 3, "RUNNING")], 4, "now") is None


def test_what_failed_by_itself_is_tried_again_by_the_next_call_but_not_for_ever() -> None:
    failed = [attempt(0, 0, "FAIL", why="no room", token="before")]
    assert trials.settled(failed, "before")
    assert trials.to_do(failed, 1, "now") == (0, {"quick.order": 0.0})
    thrice = [attempt(number, 0, "FAIL", why="no room", token=str(number)) for number in range(3)]
    assert trials.to_do(thrice, 1, "now") is None


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 8))
def test_however_it_is_killed_as_many_trials_are_finished_as_were_asked_for(moves: list[int], wanted: int) -> None:
    """0 takes the next trial, 1 finishes the first under way, 2 kills everything."""
    seen: list[Attempt] = []
    for move in [*moves, 2, *[0, 1] * wanted]:
        running = [one for one in seen if one.state == "RUNNING"]
        if move == 0 and (found := trials.to_do(seen, wanted, "now")) is not None:
            seen.append(attempt(len(seen), found[0], "RUNNING"))
        for one in running[:1] if move == 1 else running if move == 2 else []:
            seen[one.number] = replace(one, state="COMPLETE" if move == 1 else "FAIL")
    assert sorted(one.place for one in seen if one.state == "COMPLETE") == list(range(wanted))


# What was gained


def test_the_best_of_many_alike_looks_better_than_it_is_and_the_gain_says_so() -> None:
    chance = np.random.default_rng(1)
    runs = [str(number // 2) for number in range(400)]
    default = chance.gamma(2, 1, 400)
    others = default + chance.normal(0, 0.5, (40, 400))
    losses = np.vstack([default, others])
    best = int(losses.mean(axis=1).argmin())
    found = tuning.gain(Judgement(default, default * 0), Judgement(losses[best], default * 0), losses, runs, 1)
    assert found.log_loss < -0.03, "chance alone makes one of forty look good"
    assert abs(found.fresh) < 0.02
    better = default - 0.2 + chance.normal(0, 0.5, 400)
    found = tuning.gain(
        Judgement(default, default * 0), Judgement(better, default * 0), np.vstack([losses, better]), runs, 1
    )
    assert found.beats
    assert found.fresh == pytest.approx(-0.2, abs=0.08)
    assert found.log_loss_ci[0] < found.log_loss < found.log_loss_ci[1] < 0


def some(number: int = 12, kind: str = "quick") -> Tuning:
    """A tuning with pruned, failed and finished trials."""
    chance = np.random.default_rng(3)
    axes = (Axis("quick.size", (192, 260)), Axis("quick.ridge", low=1e-5, high=1e-2, log=True),
            Axis("quick.balance", low=0.0, high=1.0))  # fmt: skip
    found = []
    for place in range(number):
        ridge, balance = float(10 ** chance.uniform(-5, -2)), float(chance.uniform())
        loss = float(2 + (np.log10(ridge) + 3.5) ** 2 / 10 + 0.01 * balance)
        epochs = (loss + 0.3, loss + 0.1, loss) if kind == "full" else ()
        found.append(Trial(place, {"quick.size": 260, "quick.ridge": ridge, "quick.balance": balance}, "complete",
                           loss, 0.4, epochs, 65.0, 1))  # fmt: skip
    if number > 4:
        found[3] = replace(found[3], state="pruned", log_loss=None, accuracy=None, epochs=(3.0,), tries=2)
        found[4] = replace(found[4], state="failed", log_loss=None, accuracy=None, why=f"RuntimeError: {HOSTILE}")
    finished = [one for one in found if one.log_loss is not None]
    best = min(finished, key=lambda one: one.log_loss or 0).number
    losses = np.random.default_rng(2).gamma(2, 1, 60)
    moved = np.stack([losses, losses - 0.1])
    gain = tuning.gain(Judgement(moved[0], losses * 0), Judgement(moved[1], losses * 0), moved, list("ab" * 30), 1)
    weighed = tuning.importance(axes, found) if number > 4 else {}
    return Tuning("k", "quick" if kind == "quick" else "full", f"open{HOSTILE}", axes, tuple(found), best,
                  gain if best else None, weighed, 60, 2, 500,
                  recipes.to_mapping(QUICK), recipes.to_mapping(QUICK), "0")  # fmt: skip


def test_importance_finds_the_setting_that_matters() -> None:
    found = some(40).importance
    assert next(iter(found)) == "quick.ridge"
    assert sum(found.values()) == pytest.approx(1)
    assert tuning.importance(some().axes, some().trials[:4]) == {}, "four trials tell nothing"


def test_a_tuning_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(some().to_bytes())
    assert tuning.read(tmp_path / "t.json").to_bytes() == some().to_bytes()
    (tmp_path / "t.json").write_text('{"key": 1}')
    with pytest.raises(InputError, match="is no tuning"):
        tuning.read(tmp_path / "t.json")


@pytest.mark.parametrize("found", [some(), some(1), some(2), some(9, "full")], ids=["many", "one", "two", "epochs"])
def test_the_page_stands_alone_whatever_was_found(found: Tuning) -> None:
    page = tuning_page(found, HOSTILE + "\udcff")
    parts = Parts(page)
    assert not re.search(r"https?://|url\(|@import|[^\w-]on\w+=[\"']", page)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in parts.elements}
    assert tuple(one["id"] for one in parts.all("h2")) == SECTIONS
    levels = [int(tag[1]) for tag, _ in parts.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert all(re.findall(r'<svg[^>]*role="img"[^>]*>\s*(<title>[^<]+)?', page))
    assert not re.search(r"\bnan\b|\binf\b|None", page)
    assert len([one for one in parts.headers if one[:1].isdigit()]) == len(found.trials)
