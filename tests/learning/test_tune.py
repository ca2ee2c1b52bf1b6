"""``binventory tune`` as its users start it: killed at any moment and gone on with, told in sentences."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from binventory import recipe as recipes
from binventory.learning import tuning

SETTINGS = ("split.train=0.5", "split.validate=0.2", "split.calibrate=0.2", "split.test=0.1", "quick.rounds=8")


def command(bins: Path, work: Path, *words: object) -> list[str]:
    """The words that tune a head on drawn bins with the trunk of ``open``, seen at one size."""
    sets = [word for one in SETTINGS for word in ("--set", one)]
    return ["tune", "--data", str(bins), "--from", "open", "--work", str(work), "--choose", "quick.size=64,96",
            "--set", "quick.size=64", *sets, *map(str, words)]  # fmt: skip


def run(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command, after a line of Python; whatever happens, no traceback."""
    code = f"{before}\nimport sys\nfrom binventory.cli import main\nmain()"
    start = ["-c", code] if before else ["-m", "binventory"]
    done = subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, check=False, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def folder(work: Path) -> Path:
    """The folder of the one study in a work folder that is kept in a file; others are named after their storage."""
    (found,) = (one for one in (work / "tune").iterdir() if "-" not in one.name)
    return found


@pytest.fixture(scope="module")
def tuned(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """A work folder with a study of six trials, and what the verb printed of it."""
    work = tmp_path_factory.mktemp("tuned")
    done = run(*command(bins, work, "--trials", 6, "--json", "--out", work / "best.toml", "--page", work / "page.html"))
    assert done.returncode == 0, done.stderr
    return work, [json.loads(line) for line in done.stdout.splitlines()]


def test_trial_0_is_the_recipe_itself_and_what_is_found_is_held_against_it(
    tuned: tuple[Path, list[dict[str, object]]],
) -> None:
    work, (*rows, last) = tuned
    assert [row["trial"] for row in rows] == list(range(6))
    found = tuning.read(folder(work) / tuning.FILE)
    assert found.of(0).settings.items() >= {"quick.size": 64, "quick.balance": 0.3}.items()
    assert found.of(0).log_loss is not None
    assert found.best == last["best"] == min(found.trials, key=lambda one: one.log_loss or 9).number
    assert "default" in tuning.verdict(found)
    assert (work / "page.html").read_text().startswith("<!doctype html>")
    assert {value for one in found.trials for value in [one.settings["quick.size"]]} <= {64, 96}


def test_train_takes_the_best_recipe_and_scores_what_the_trial_did(
    tuned: tuple[Path, list[dict[str, object]]], bins: Path, tmp_path: Path
) -> None:
    work, _ = tuned
    found = tuning.read(folder(work) / tuning.FILE)
    assert recipes.load(str(work / "best.toml")) == recipes.from_mapping(found.recipe)
    done = run("train", "--data", str(bins), "--from", "open", "--work", str(work), "--recipe",
               str(work / "best.toml"), "--out", str(tmp_path / "b"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    (loss,) = re.findall(r"\bvalidate_log_loss=([0-9.eE+-]+)", done.stderr)
    assert float(loss) <= (found.of(found.best).log_loss or 0) + 1e-5


def test_a_finished_study_is_not_done_again_but_made_longer(
    tuned: tuple[Path, list[dict[str, object]]], bins: Path
) -> None:
    work, (*before, _) = tuned
    done = run(*command(bins, work, "--trials", 7, "--json"))
    *rows, _ = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 7 and rows[:6] == before


def test_it_resumes_after_sigkill_without_losing_a_finished_trial(bins: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "binventory", *command(bins, tmp_path, "--trials", 12, "--jobs", 2, "--json")]
    chance, kept = random.Random(7), dict[int, float]()
    for kill in (os.killpg, os.kill, os.killpg):  # all of it, or its first process alone, which the others outlive
        ran = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        wanted = len(finished(tmp_path)) + 1
        while ran.poll() is None and len(finished(tmp_path)) < wanted:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.6))
        kill(ran.pid, signal.SIGKILL)
        ran.communicate()
        done = finished(tmp_path)
        assert done.items() >= kept.items(), "what was finished stays as it was"
        kept = done
    assert kept
    last = run(*words[3:])
    assert last.returncode == 0, last.stderr
    assert "trials were finished before" in last.stderr
    *rows, _ = [json.loads(line) for line in last.stdout.splitlines()]
    assert [row["trial"] for row in rows] == list(range(12))
    assert {row["state"] for row in rows} == {"complete"}
    assert {row["trial"]: row["log_loss"] for row in rows}.items() >= kept.items()
    assert len(finished(tmp_path)) == 12, "and not one more"


def finished(work: Path) -> dict[int, float]:
    """The finished trials of the study in a work folder and their log losses, as its database tells."""
    for place in work.glob("tune/*/study.sqlite"):
        with closing(sqlite3.connect(place, timeout=60)) as base, suppress(sqlite3.OperationalError):  # being made
            return dict(base.execute(
                "select cast(value_json as int), value from trials join trial_values using (trial_id) "
                "join trial_user_attributes using (trial_id) where state = 'COMPLETE' and key = 'place'"
            ))  # fmt: skip
    return {}


def test_a_process_that_dies_is_replaced_and_its_trial_done_again(bins: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "binventory", *command(bins, tmp_path, "--trials", 4, "--set", "quick.rounds=150")]
    ran = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    members: Sequence[int] = []
    while ran.poll() is None and not members:
        time.sleep(0.05)
        members = workers(ran.pid)
    time.sleep(0.5)
    os.kill(members[0], signal.SIGKILL)
    out, err = ran.communicate(timeout=120)
    assert ran.returncode == 0, err
    assert "a process died (signal 9); its trial is begun again" in err
    assert len(re.findall(r"^\d+\b.*\tcomplete\t", out, re.MULTILINE)) == 4


def workers(parent: int) -> list[int]:
    """The processes that a tuning has started to do trials."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in children if b"binventory.learning.tune" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_ctrl_c_says_how_to_go_on_and_leaves_nobody_behind(bins: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "binventory", *command(bins, tmp_path, "--trials", 30)]
    ran = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while ran.poll() is None and not workers(ran.pid):
        time.sleep(0.05)
    crew = workers(ran.pid)
    os.killpg(ran.pid, signal.SIGINT)
    _, err = ran.communicate(timeout=60)
    assert ran.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{one}").exists() for one in crew)


@pytest.mark.parametrize(
    ("words", "before", "status", "told"),
    [
        ([], "import sys; sys.modules['optuna'] = None", 2, "pip install 'binventory[tune]'"),
        (["--storage", "nonsense"], "", 2, "--storage is no database's URL"),
        (["--storage", "redis://host/0"], "", 2, "Redis is none that SQLAlchemy knows"),
        (
            ["--storage", "postgresql://host/db"],
            "import sys; sys.modules['psycopg'] = sys.modules['psycopg2'] = None",
            2,
            "pip install 'psycopg[binary]', and --storage postgresql+psycopg://",
        ),
        (["--out", "."], "", 2, "--out . is a folder"),
        (["--storage", "sqlite:////proc/nowhere/s.db"], "", 4, "The storage cannot be used"),
        (["--weights", "w"], "", 2, "--weights goes with the recipe full alone"),
        (["--from", "abid"], "", 2, "quick.size=64 does not fit bundle abid. Its trunk takes 224 x 224 pixels alone"),
        (["--trials", "0"], "", 2, "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(
    words: list[str], before: str, status: int, told: str, bins: Path, tuned: tuple[Path, object]
) -> None:
    done = run(*command(bins, tuned[0], *words), before=before)
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr


def test_two_at_once_in_one_folder_are_kept_apart(bins: Path, tuned: tuple[Path, object]) -> None:
    from binventory import objects

    with objects.locked(folder(tuned[0]) / "tune.lock"):
        done = run(*command(bins, tuned[0], "--trials", 6))
    assert done.returncode == 4
    assert "Another tune is at work there" in done.stderr


@pytest.mark.train
@pytest.mark.timeout(300)
def test_fine_tuning_is_tuned_and_train_goes_on_from_the_best(bins: Path, weights: Path, tmp_path: Path) -> None:
    fine = ("full.backbone=test_resnet", "full.size=32", "full.epochs=2", "full.precision=fp32", "full.batch=16")
    sets = [word for one in (*SETTINGS, *fine, "full.lr=0.002") for word in ("--set", one)]
    done = run("tune", "--data", str(bins), "--recipe", "full", "--weights", str(weights), "--work", str(tmp_path),
               "--trials", "2", "--jobs", "2", "--choose", "full.size=32,64", *sets, "--page", str(tmp_path / "p.html"),
               "--out", str(tmp_path / "best.toml"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = tuning.read(folder(tmp_path) / tuning.FILE)
    assert [len(one.epochs) for one in found.trials] == [2, 2]
    assert found.of(0).epochs[-1] == pytest.approx(found.of(0).log_loss, rel=1e-5)
    assert set(found.of(1).settings) == {"full.lr", "full.batch", "full.momentum", "full.size"}
    kept = list(tmp_path.glob("full/*/checkpoint.pt"))
    assert 1 <= len(kept) <= 2, "what nobody goes on with is removed"
    made = run("train", "--data", str(bins), "--recipe", str(tmp_path / "best.toml"), "--weights", str(weights),
               "--work", str(tmp_path), "--out", str(tmp_path / "bundle"))  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "epoch=" not in made.stderr, "the best trial's training is not done again"
