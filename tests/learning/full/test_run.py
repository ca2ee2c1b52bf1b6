"""Fine-tuning as its users start it: one process or several, killed and resumed, to a bundle like any other."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from binventory.counting import bundle as bundles

BACKBONE = "test_resnet"

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]


def command(bins: Path, weights: Path, work: Path, out: Path, *settings: str) -> list[str]:
    """The words that fine-tune the small network for three epochs."""
    recipe = (f"full.backbone={BACKBONE}", "full.size=64", "full.epochs=3", "full.precision=fp32", "full.batch=16",
              "full.lr=0.002", "split.train=0.5", "split.validate=0.2", "split.calibrate=0.2", "split.test=0.1",
              "quick.rounds=30")  # fmt: skip
    sets = [word for one in (*recipe, *settings) for word in ("--set", one)]
    return ["train", "--data", str(bins), "--recipe", "full", "--weights", str(weights), "--work", str(work),
            "--out", str(out), *sets]  # fmt: skip


def run(*words: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the command, under torchrun where it takes more than one process; whatever happens, no traceback."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "binventory", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert processes > 1 or "Traceback" not in done.stderr, done.stderr
    return done


def metrics(work: Path) -> list[dict[str, float]]:
    (path,) = (work / "full").glob("*/metrics.csv")
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def made(bins: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fine-tuned bundle, and the work folder in which it was trained without a break."""
    folder = tmp_path_factory.mktemp("made")
    done = run(*command(bins, weights, folder / "work", folder / "bundle", "full.norm=frozen"))
    assert done.returncode == 0, done.stderr
    return folder / "bundle", folder / "work"


def test_each_epoch_is_one_line_of_metrics_and_a_row_and_a_point(
    made: tuple[Path, Path], bins: Path, weights: Path
) -> None:
    bundle, work = made
    rows = metrics(work)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    (curve,) = (work / "full").glob("*/curve.svg")
    assert curve.read_text().count("<circle") >= 4 * 3
    again = run(*command(bins, weights, work, bundle, "full.norm=frozen", "full.save_seconds=7"))
    assert again.returncode == 0, again.stderr
    assert metrics(work) == rows, "a finished training is not done again"
    assert "epoch=" not in again.stderr
    fresh = bundles.load(bundle).manifest.figures["int8"]
    assert fresh["n"] > 20
    assert {"float_accuracy", "int8_accuracy", "difference_ci"} <= fresh.keys()


def test_the_bundle_goes_through_the_verbs(made: tuple[Path, Path], bins: Path, weights: Path, tmp_path: Path) -> None:
    bundle, work = made
    photo = next((bins / "bin-images").glob("*.jpg"))
    counted = run("count", "--bundle", bundle, photo, "--json")
    assert counted.returncode == 0, counted.stderr
    assert 0 <= json.loads(counted.stdout)["count"] <= 21
    judged = run("evaluate", "--bundle", bundle, "--data", bins, "--work", tmp_path / "elsewhere", "--json")
    figures = json.loads(judged.stdout)
    assert figures["n"] + figures["n_seen"] == 160
    assert figures["n_seen"] > 120, "what trunk and head have learnt from is not judged"
    quick = run("train", "--data", bins, "--from", bundle, "--work", work, "--out", tmp_path / "quick", "--json")
    assert quick.returncode == 0, quick.stderr
    heir = bundles.load(tmp_path / "quick")
    assert heir.trunk == bundles.load(bundle).trunk
    assert heir.manifest.kind == "quick"
    assert b",trunk\n" in heir.seen


def test_a_bundle_is_fine_tuned_further_from_where_it_stands(
    made: tuple[Path, Path], bins: Path, weights: Path, tmp_path: Path
) -> None:
    bundle, _ = made
    words = command(bins, weights, tmp_path / "work", tmp_path / "on", "full.epochs=1", "full.norm=frozen")
    place = words.index("--weights")
    words[place : place + 2] = ["--from", str(bundle)]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    first, further = bundles.load(bundle), bundles.load(tmp_path / "on")
    assert further.manifest.derived_from[0].startswith(first.manifest.name)
    assert first.trunk != further.trunk
    assert metrics(tmp_path / "work")[0]["train_loss"] < metrics(made[1])[0]["train_loss"]


def test_two_processes_train_the_same_network_as_one(
    made: tuple[Path, Path], bins: Path, weights: Path, tmp_path: Path
) -> None:
    words = command(bins, weights, tmp_path / "work", tmp_path / "bundle", "full.norm=frozen")
    done = run(*words, processes=2)
    assert done.returncode == 0, done.stderr
    for one, two in zip(metrics(made[1]), metrics(tmp_path / "work"), strict=True):
        assert one["photos"] == two["photos"], "each photo once an epoch"
        for name in ("train_loss", "validate_log_loss"):
            assert two[name] == pytest.approx(one[name], rel=1e-3)


def test_killed_in_mid_epoch_and_resumed_it_ends_the_same(
    made: tuple[Path, Path], bins: Path, weights: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    words = command(bins, weights, work, tmp_path / "bundle", "full.norm=frozen", "full.save_seconds=0")
    chance, kills = random.Random(5), 0
    while kills < 3:
        ran = subprocess.Popen([sys.executable, "-m", "binventory", *words], stderr=subprocess.DEVNULL, stdout=-3)
        before = stamps(work)
        while ran.poll() is None and stamps(work) == before:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        ran.kill()
        if ran.wait() == 0:
            break
        kills += 1
    assert kills, "it was never killed"
    done = run(*words)
    assert done.returncode == 0, done.stderr
    for one, two in zip(metrics(made[1]), metrics(work), strict=True):
        for name in ("photos", "train_loss", "validate_log_loss", "validate_accuracy"):
            assert two[name] == pytest.approx(one[name], rel=1e-4)


def stamps(work: Path) -> list[int]:
    """When the checkpoints in a work folder were written."""
    return [path.stat().st_mtime_ns for path in (work / "full").glob("*/checkpoint.pt")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "full.backbone=resnet51"], "Backbone 'resnet51' does not exist"),
        (["--set", "full.backbone=test_vit"], "do not fit test_vit"),
        (["--set", "full.frozen=99"], "nothing to learn"),
        (["--from", "open"], "exclude each other"),
        (["--set", "full.mean=[1]"], "one number each"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(
    words: list[str], told: str, bins: Path, weights: Path, tmp_path: Path
) -> None:
    done = run(*command(bins, weights, tmp_path / "work", tmp_path / "bundle"), *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_without_its_weights_cannot_be_fine_tuned(bins: Path, tmp_path: Path) -> None:
    done = run(
        "train", "--data", bins, "--recipe", "full", "--from", "open", "--work", tmp_path, "--out", tmp_path / "b"
    )
    assert done.returncode == 2
    assert "It holds no trunk.safetensors" in done.stderr
