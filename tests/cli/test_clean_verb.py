"""``clean`` as a user types it: swapped labels found, gains measured, nothing lost, and training that says so."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from binventory.counting import bundle as bundles
from binventory.data import drawn

BINS, SEED = 420, 6
SETTINGS = [word for one in ("split.train=0.6", "split.validate=0.2", "split.calibrate=0.1", "quick.ridge=[0.001]",
            "quick.rounds=60", "clean.unlikely=0.6") for word in ("--set", one)]  # fmt: skip


def binventory(*words: object) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def rows(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Drawn bins, and the ids of those whose counts were swapped: bins of few items with bins of many."""
    folder = tmp_path_factory.mktemp("swapped") / "bins"
    for _ in drawn.write(folder, BINS, SEED):
        pass
    counts = {path: json.loads(path.read_text())["EXPECTED_QUANTITY"] for path in (folder / "metadata").iterdir()}
    few, many = (sorted(path for path, count in counts.items() if low <= count <= high)[: BINS // 20]
                 for low, high in ((0, 2), (8, 99)))  # fmt: skip
    for one, other in zip(few, many, strict=True):
        for path, count in ((one, counts[other]), (other, counts[one])):
            path.write_text(json.dumps({"BIN_FCSKU_DATA": {}, "EXPECTED_QUANTITY": count}))
    return folder, {path.stem for path in (*few, *many)}


@pytest.fixture(scope="module")
def cleaned(
    swapped: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[object], list[dict[str, Any]]]:
    """The words that name data and work folder, and what ``clean`` said of them."""
    place = ["--data", swapped[0], "--work", tmp_path_factory.mktemp("work")]
    done = binventory("clean", *place, "--bundle", "open", *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr.decode()
    return place, rows(done)


def stored(place: list[object], query: str = "select * from cleaned order by all") -> list[dict[str, Any]]:
    return rows(binventory("sql", query, *place, "--json"))


def test_swapped_labels_are_found_and_the_table_tells_what_that_is_worth(
    swapped: tuple[Path, set[str]], cleaned: tuple[list[object], list[dict[str, Any]]]
) -> None:
    place, told = cleaned
    by_rule = {one["rule"]: one for one in told}
    assert list(by_rule) == ["unreadable", "no label", "quantities do not add up", "near-uniform", "too blurred",
                             "duplicate", "label unlikely", "all together"]  # fmt: skip
    asked = "select id from cleaned join sides using (id) where rule = 'label unlikely' and side = 'train'"
    doubted = {one["id"] for one in stored(place, asked)}
    train = {one["id"] for one in stored(place, "select id from sides where side = 'train'")}
    right, wrong = train - swapped[1], train & swapped[1]
    assert len(doubted & wrong) > 0.5 * len(wrong)
    assert len(doubted & wrong) / len(wrong) > 2 * len(doubted & right) / len(right)
    gain = by_rule["label unlikely"]["gain"]
    assert by_rule["label unlikely"]["photos"]["train"] == len(doubted) == gain["left_out"]
    assert gain["accuracy_ci"][0] <= gain["accuracy"] <= gain["accuracy_ci"][1]
    assert gain["log_loss_ci"][0] <= gain["log_loss"] <= gain["log_loss_ci"][1]
    assert gain["verdict"] in ("gains", "costs", "nothing shown")
    assert by_rule["near-uniform"] == {"rule": "near-uniform", "photos": {}, "without_photo": 0, "gain": None}


def test_twice_is_once_and_no_rule_puts_everything_back(
    cleaned: tuple[list[object], list[dict[str, Any]]],
) -> None:
    place, told = cleaned
    before, sides = stored(place), stored(place, "select * from sides order by id")
    assert before
    again = binventory("clean", *place, "--bundle", "open", *SETTINGS, "--json")
    assert rows(again) == told
    assert stored(place) == before
    back = binventory("clean", *place, "--bundle", "open", *SETTINGS, "--set", "clean.rules=[]")
    assert back.returncode == 0
    assert back.stdout == b""
    assert b"left out of learning: 0 of" in back.stderr
    assert stored(place) == []
    assert stored(place, "select * from sides order by id") == sides
    binventory("clean", *place, "--bundle", "open", *SETTINGS)
    assert stored(place) == before


def test_training_leaves_out_what_is_cleaned_and_says_so(
    cleaned: tuple[list[object], list[dict[str, Any]]], tmp_path: Path
) -> None:
    place, told = cleaned
    out = told[-1]["photos"]["train"]
    done = binventory("train", *place, "--from", "open", *SETTINGS, "--out", tmp_path / "b")
    assert done.returncode == 0, done.stderr.decode()
    assert f"left out: in all\t{out}" in done.stdout.decode()
    made = bundles.load(tmp_path / "b")
    assert made.manifest.left_out == {"in all": out, "label unlikely": out}
    assert f"Left out of that: {out} photos (label unlikely {out})" in made.card
    (train,) = stored(place, "select count(*) as n from sides where side = 'train'")
    assert made.manifest.learnt_from["train"]["photos"] == train["n"] - out
    done = binventory("evaluate", *place, "--bundle", tmp_path / "b", "--json")
    (test,) = stored(place, "select count(*) as n from sides where side = 'test'")
    assert rows(done)[0]["n"] == test["n"]


def test_a_trunk_that_has_learnt_from_the_photos_judges_none(
    cleaned: tuple[list[object], list[dict[str, Any]]], tmp_path: Path
) -> None:
    place, _ = cleaned
    binventory("train", *place, "--from", "open", *SETTINGS, "--out", tmp_path / "b")
    made = bundles.load(tmp_path / "b")
    path = tmp_path / "tuned"
    bundles.save(replace(made, seen=made.seen.replace(b",head\n", b",trunk\n")), path)
    done = binventory("clean", *place, "--bundle", path, *SETTINGS, "--set", "clean.sharpness=9",
                      "--set", 'clean.rules=["label unlikely","too blurred"]')  # fmt: skip
    assert done.returncode == 0
    assert b"labels are not judged" in done.stderr
    assert b"cannot be measured" in done.stdout
    binventory("clean", *place, "--bundle", "open", *SETTINGS)


def test_interrupted_cleaning_changes_nothing(cleaned: tuple[list[object], list[dict[str, Any]]]) -> None:
    place, _ = cleaned
    before = stored(place)
    code = (
        "import os, signal, sys; from binventory.learning import cleaning; from binventory.cli import main\n"
        "cleaning.gains = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "main()"
    )
    words = ["clean", *place, "--bundle", "open", *SETTINGS, "--set", 'clean.rules=["too blurred"]', "--set",
             "clean.sharpness=15"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, check=False, timeout=200)
    assert done.returncode == 130
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    assert stored(place) == before


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('clean.rules=["blurred"]', b"Recipe setting clean.rules[0] does not fit"),
        ("clean.rule=[]", b"Try: clean.rules"),
        ("clean.unlikely=2", b"Recipe setting clean.unlikely does not fit"),
        ("clean.folds=1", b"Recipe setting clean.folds does not fit"),
    ],
)
def test_a_rule_that_does_not_exist_is_told(tmp_path: Path, setting: str, sentence: bytes) -> None:
    done = binventory("clean", "--data", tmp_path, "--set", setting)
    assert done.returncode == 2
    assert sentence in done.stderr
