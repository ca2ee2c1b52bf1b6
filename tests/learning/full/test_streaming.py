"""Fine-tuning from shards on S3: loss for loss what the folder gives, each photo once an epoch, nothing kept."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from binventory import objects, recipe
from binventory.cloud import upload
from binventory.data import catalogue
from binventory.data.catalogue import Catalogue
from binventory.errors import BinventoryError
from binventory.learning.full import network, run
from binventory.learning.full.processes import Processes
from binventory.recipe import LinkRecipe, Recipe
from faults import Proxy
from s3server import S3Server

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SETTINGS = ("full.backbone=test_resnet", "full.size=64", "full.epochs=2", "full.precision=fp32", "full.batch=16",
            "full.lr=0.002", "full.norm=frozen", "split.train=0.5", "split.validate=0.2", "split.calibrate=0.2",
            "split.test=0.1", "quick.rounds=30")  # fmt: skip
RECIPE = recipe.load("full", SETTINGS)
TIMED = ("seconds", "photos_per_second", "waiting")
TO = "s3://private/streaming"
MOST = 1_000_000


@pytest.fixture(scope="module")
def split(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A hundred and sixty drawn bins, split."""
    found = catalogue.build([str(bins)], tmp_path_factory.mktemp("split"), LinkRecipe())
    return catalogue.split_sides(found, RECIPE.split, RECIPE.seed)


@pytest.fixture(scope="module")
def shards(split: Catalogue, bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their shards, on S3 and in a folder."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ENDPOINT_URL", bucket.endpoint), ("ACCESS_KEY_ID", bucket.key),
                            ("SECRET_ACCESS_KEY", bucket.secret)):  # fmt: skip
            patch.setenv(f"AWS_{name}", value)
        upload.upload(split, upload.place(TO, None), RECIPE, MOST)
    upload.upload(split, upload.Folder(folder), RECIPE, MOST)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A network as small as this one is slower on several, which wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def streamed(settings: Recipe) -> Recipe:
    return replace(settings, full=replace(settings.full, pictures="streamed"))


def plan(data: str, settings: Recipe, weights: Path, work: Path) -> run.Plan:
    found = catalogue.split_sides(catalogue.build([data], work, LinkRecipe()), settings.split, settings.seed)
    start = network.from_timm(settings.full, weights)
    return run.planned(found, start, settings)


def metrics(planned: run.Plan) -> list[dict[str, str]]:
    with (planned.folder / "metrics.csv").open() as file:
        return [{name: one for name, one in row.items() if name not in TIMED} for row in csv.DictReader(file)]


def test_training_from_s3_is_training_from_the_folder_loss_for_loss(
    shards: Path, bins: Path, weights: Path, signed: S3Server, tmp_path: Path
) -> None:
    found = {}
    for name, data, settings in (
        ("folder", str(bins), RECIPE), ("s3 streamed", TO, streamed(RECIPE)), ("s3 kept", TO, RECIPE),
        ("channel streamed", str(shards), streamed(RECIPE)),
    ):  # fmt: skip
        planned = plan(data, settings, weights, tmp_path / name)
        trained = run._fine_tune(planned, Processes(0, 1, torch.device("cpu")), lambda _: None, lambda it, *_: it)
        found[name] = metrics(planned), planned.folder.name, trained.state_dict()
        kept = list((tmp_path / name).glob("pictures/*"))
        assert bool(kept) is ("streamed" not in name)
    rows, key, state = found.pop("folder")
    assert len(rows) == 2
    assert all(int(float(row["photos"])) == len(planned.sides.train) for row in rows)
    for other, other_key, other_state in found.values():
        assert other == rows, "the same figures to the last digit"
        assert other_key == key, "they go on where the other was killed"
        assert all(torch.equal(state[name], other_state[name]) for name in state)


ASSISTED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_streaming as told
from binventory.learning.full import run
from binventory.learning.full.processes import joined
with joined() as processes:
    planned = None
    if processes.first:
        planned = told.plan(told.TO, told.streamed(told.RECIPE), *map(Path, sys.argv[2:]))
    run._fine_tune(processes.told(planned), processes, lambda _: None, lambda items, *_: items)
"""


def test_two_processes_ask_for_each_photo_once_an_epoch(
    shards: Path, bins: Path, weights: Path, signed: S3Server, faulty: Proxy, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Seen from the server: one range request for each photo of train and validate and each epoch, whoever asked."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.endpoint)
    (tmp_path / "script.py").write_text(ASSISTED)
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", tmp_path / "script.py",
         here, weights, tmp_path / "work"],
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here.parents[1]), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    planned = plan(TO, streamed(RECIPE), weights, tmp_path / "work")
    asked = Counter(
        (one.path.rpartition("/")[2], {name.lower(): value for name, value in one.headers.items()}["range"])
        for one in faulty.requests
        if one.path.endswith(".tar")
    )
    parts = [one for row in (*planned.sides.train, *planned.sides.validate) if (one := objects.part(row.address))]
    wanted = {(one.file.rpartition("/")[2], f"bytes={one.offset}-{one.end - 1}") for one in parts}
    assert asked.keys() == wanted
    assert set(asked.values()) == {RECIPE.full.epochs}
    own = plan(str(bins), RECIPE, weights, tmp_path / "alone")
    run._fine_tune(own, Processes(0, 1, torch.device("cpu")), lambda _: None, lambda items, *_: items)
    for alone, both in zip(metrics(own), metrics(planned), strict=True):
        for name in ("train_loss", "validate_log_loss"):
            assert float(both[name]) == pytest.approx(float(alone[name]), rel=1e-3)


def test_faults_in_mid_epoch_are_survived_and_a_refusal_ends_it_in_a_sentence(
    shards: Path, weights: Path, signed: S3Server, faulty: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.endpoint)
    planned = plan(TO, streamed(RECIPE), weights, tmp_path / "work")
    alone = Processes(0, 1, torch.device("cpu"))
    faulty.fail(".tar", "503 SlowDown", "reset", "truncate", "reset in body", "500")
    run._fine_tune(planned, alone, lambda _: None, lambda items, *_: items)
    assert len(metrics(planned)) == 2
    faulty.always[".tar"] = "400 ExpiredToken"
    again = replace(planned, key="again")
    with pytest.raises(BinventoryError, match="he credentials have expired"):
        run._fine_tune(again, alone, lambda _: None, lambda items, *_: items)


def test_the_command_trains_from_s3_and_keeps_no_pictures(
    shards: Path, weights: Path, signed: S3Server, tmp_path: Path
) -> None:
    sets = [word for one in (*SETTINGS, "full.pictures=streamed", "full.epochs=1") for word in ("--set", one)]
    bundle, work = tmp_path / "bundle", tmp_path / "work"
    for words in (
        ["train", "--data", TO, "--recipe", "full", "--weights", weights, "--work", work, "--out", bundle, *sets],
        ["evaluate", "--data", TO, "--work", work, "--bundle", bundle, "--split", "test", "--json"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "binventory", *map(str, words)],
            capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] > 5
    assert not (work / "pictures").exists()
