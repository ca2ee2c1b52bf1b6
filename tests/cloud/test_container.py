"""A training job as SageMaker starts it: with AWS's own toolkit and without, on one host and two, done or stopped."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import recipe
from binventory.cloud import container
from binventory.cloud.container import Ended, Job
from binventory.errors import InputError, UsageError
from optml import FILE, opt_ml

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("BINVENTORY_REAL", ROOT.parent / "shared"))
TOOLKIT = Path(sys.executable).parent / "train"
BASE = Path("/opt/ml")

pytestmark = pytest.mark.timeout(400)


def start(base: Path, *words: str | Path, **environ: str) -> subprocess.Popen[str]:
    """Start what a container starts: AWS's toolkit, or our own module."""
    return subprocess.Popen(
        [str(word) for word in words or (TOOLKIT,)],
        env=os.environ | {"SAGEMAKER_BASE_DIR": str(base), "OMP_NUM_THREADS": "1"} | environ,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=base,
    )  # fmt: skip


OWN = (sys.executable, "-m", "binventory.cloud.container", "train")


def done(started: subprocess.Popen[str], expected: int = 0) -> str:
    """What a job said, once it has ended as expected."""
    said, _ = started.communicate(timeout=300)
    assert started.returncode == expected, said[-3000:]
    return said


def evaluated(bundle: Path, data: Path, work: Path) -> dict[str, Any]:
    judged = subprocess.run(
        [sys.executable, "-m", "binventory", "evaluate", "--bundle", bundle, "--data", data, "--work", work, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stderr
    figures: dict[str, Any] = json.loads(judged.stdout)
    return figures


def parsed(hyperparameters: Mapping[str, Any], channels: Sequence[str] = ("train",), **resources: Any) -> Job:
    return container.parse(hyperparameters, resources, dict.fromkeys(channels, FILE), {}, BASE)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
).filter(lambda value: not isinstance(value, str) or recipe.parse_value(value) == value)


@given(VALUES, st.integers(1, 3))
def test_a_value_comes_out_as_set_would_have_it_however_often_it_was_quoted(value: Any, times: int) -> None:
    text = json.dumps(value)
    assert container.plain(text) == recipe.parse_value(text) == value
    for _ in range(times):
        text = json.dumps(text)
    assert container.plain(text) == value


@given(st.floats(1e-6, 1, exclude_min=True), st.sampled_from(["adamw", "sgd"]), st.integers(1, 512))
def test_a_tuning_jobs_hyperparameters_give_the_recipe_that_set_gives(rate: float, optimizer: str, batch: int) -> None:
    job = parsed({
        "recipe": '"full"', "full.lr": repr(rate), "full.optimizer": json.dumps(json.dumps(optimizer)),
        "full.batch": json.dumps(str(batch)), "_tuning_objective_metric": "validate_log_loss",
        "sagemaker_program": '"train_model.py"', "sagemaker_estimator_class_name": '"PyTorch"',
    })  # fmt: skip
    expected = recipe.load("full", (f"full.lr={rate!r}", f"full.optimizer={optimizer}", f"full.batch={batch}"))
    assert recipe.load(job.recipe, job.settings) == expected


@pytest.mark.parametrize(
    ("hyperparameters", "told"),
    [
        ({"full.learning_rate": "0.1"}, "Recipe setting full.learning_rate does not exist"),
        ({"full.batch": "0"}, "Recipe setting full.batch does not fit"),
        ({"recipe": '"recipe.toml"'}, "Recipe 'recipe.toml' does not exist"),
    ],
)
def test_a_hyperparameter_that_is_no_setting_is_refused_by_name(hyperparameters: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parsed(hyperparameters)


def test_channels_that_hold_no_photos_or_cannot_be_read_are_refused() -> None:
    with pytest.raises(InputError, match=r"no photos\. Its channels are: model, weights"):
        parsed({}, ("weights", "model"))
    with pytest.raises(InputError, match=r"Channel train cannot be read\. Its input mode is Pipe"):
        container.parse({}, {}, {"train": {"TrainingInputMode": "Pipe"}}, {}, BASE)
    with pytest.raises(UsageError, match="exclude each other"):
        parsed({"from": "open"}, ("train", "model"))
    with pytest.raises(InputError, match="contradicts itself"):
        parsed({}, hosts=["algo-1"], current_host="algo-2")


def test_every_channel_of_training_is_data_and_one_of_testing_is_refused() -> None:
    job = parsed({}, ("weights", "train", "model", "train-more"))
    assert job.data == (BASE / "input/data/train", BASE / "input/data/train-more")
    for name in ("test", "validation"):
        with pytest.raises(InputError, match=f"Channel {name} would be learnt from"):
            parsed({}, ("train", name))
    assert parsed({}).checkpoints == BASE / "checkpoints"
    told = container.parse({}, {}, {"train": FILE}, {"LocalPath": "/opt/ml/elsewhere"}, BASE)
    assert told.checkpoints == BASE / "elsewhere"


def test_hosts_meet_at_the_first_of_them_and_quick_needs_one_alone() -> None:
    hosts = {"hosts": ["algo-2", "algo-1", "algo-10"], "current_host": "algo-2", "network_interface_name": "eth1"}
    job = parsed({"recipe": "full"}, **hosts)
    assert (job.rank, job.hosts[0]) == (2, "algo-1")
    words = " ".join(container.command(job, Path("/tmp/w")))
    assert "--nnodes 3 --node-rank 2 --master-addr algo-1 --master-port 7777 --nproc-per-node 1 -m binventory" in words
    assert container.environment(job) == {"GLOO_SOCKET_IFNAME": "eth1", "NCCL_SOCKET_IFNAME": "eth1"}
    assert "torch" not in " ".join(container.command(parsed({"recipe": "quick"}, **hosts), Path("/tmp/w")))
    four = container.parse({"recipe": "full"}, {}, {"train": FILE}, {}, BASE, gpus=4)
    assert "--standalone --nproc-per-node 4" in " ".join(container.command(four, Path("/tmp/w")))


@pytest.mark.parametrize(
    ("status", "error", "begins"),
    [
        (3, "error: Nothing is there. Look. Try: again.", "Nothing is there. Look. Try: again."),
        (1, "ValueError: odd", "Training ended unexpectedly. ValueError: odd. Try: report it, with the log."),
        (-9, None, "Training was killed. SIGKILL came, most often because memory ran out."),
        (7, None, "Training ended unexpectedly. Its exit status was 7."),
    ],
)
def test_the_cause_is_our_own_sentence_or_names_what_happened(status: int, error: str | None, begins: str) -> None:
    assert container.cause(parsed({}), Ended(status, (), error, False)).startswith(begins)


def test_a_host_that_follows_points_to_the_one_that_leads() -> None:
    job = parsed({"recipe": "full"}, hosts=["algo-1", "algo-2"], current_host="algo-2")
    told = container.cause(job, Ended(1, (), "RuntimeError: Connection closed by peer", False))
    assert told.startswith("algo-2's part of the training ended unexpectedly. RuntimeError")
    assert told.endswith("Try: the log of algo-1, which leads.")


def test_a_job_that_cannot_begin_leaves_the_cause_first(tmp_path: Path) -> None:
    base = opt_ml(tmp_path / "ml", {"quick.roundz": "3"}, {})
    assert container.run(base, os.environ) == 2
    assert (base / "output" / "failure").read_text().startswith("Recipe setting quick.roundz does not exist.")
    (base / "input/config/hyperparameters.json").write_text("{")
    assert container.run(base, os.environ) == 3
    assert "hyperparameters.json cannot be read" in (base / "output" / "failure").read_text()[:200]
    (base / "input/config/hyperparameters.json").write_text('{"recipe": "quick"}')
    (base / "input/config/resourceconfig.json").write_text('{"hosts": 7}')
    assert container.run(base, os.environ) == 1
    told = (base / "output" / "failure").read_text()
    assert told.startswith("The job ended unexpectedly. TypeError: ")
    assert "Traceback" in told


def test_a_long_cause_is_cut_to_what_is_shown(tmp_path: Path) -> None:
    base = opt_ml(tmp_path / "ml", {f"quick.{'x' * 3000}": "3"}, {})
    assert container.run(base, os.environ) == 2
    told = (base / "output" / "failure").read_text()
    assert told.startswith("Recipe setting quick.xxx")
    assert len(told.rstrip()) == container.TOLD


def test_without_the_toolkit_a_job_leaves_a_bundle_and_only_its_members(bins: Path, tmp_path: Path) -> None:
    """A corrupt photo among them is told, and costs no job."""
    base = opt_ml(tmp_path / "ml", {"from": "open", "quick.rounds": "20"}, {"train": bins})
    (base / "input/data/train/bin-images/99999.jpg").write_bytes(b"no photo")
    said = done(start(base, *OWN, TRAINING_JOB_NAME="first-job"))
    assert "rejected: " in said
    assert json.loads((base / "model" / "bundle.json").read_text())["name"] == "first-job"
    left = list((base / "model").iterdir())
    assert all(path.is_file() and not path.is_symlink() for path in left)
    assert not (base / "output" / "failure").exists()
    assert not (base / "checkpoints").exists(), "quick has none"


def test_a_second_host_has_nothing_to_do_for_quick(bins: Path, tmp_path: Path) -> None:
    base = opt_ml(tmp_path / "ml", {"from": "open"}, {"train": bins}, ("localhost", "algo-1"), "localhost")
    assert "nothing to do" in done(start(base, *OWN))
    assert not (base / "model").exists()


def test_under_aws_toolkit_a_job_leaves_a_bundle_that_evaluate_reads(bins: Path, tmp_path: Path) -> None:
    base = opt_ml(tmp_path / "ml", {"from": '"open"', "quick.rounds": '"20"'}, {"train": bins})
    assert "Reporting training SUCCESS" in done(start(base))
    figures = evaluated(base / "model", bins, tmp_path / "work")
    assert figures["n"] + figures["n_seen"] == 160


def test_under_aws_toolkit_a_failing_job_leaves_the_cause_first(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    base = opt_ml(tmp_path / "ml", {"from": "open"}, {"train": tmp_path / "empty"})
    said = done(start(base), expected=1)  # the toolkit's own status, whatever the program's
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith(f"{base}/input/data/train holds no photos. ")
    assert "Reporting training FAILURE" in said
    assert not (base / "model" / "bundle.json").exists()


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_real_photos_under_aws_toolkit_leave_a_bundle_that_evaluate_reads(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    with (REAL / "abid-squashed" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[:400]
    for name in (
        f"{kind}/{row['id']}.{end}" for row in rows for kind, end in (("bin-images", "jpg"), ("metadata", "json"))
    ):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REAL / "abid-squashed" / name, photos / name)
    base = opt_ml(tmp_path / "ml", {"from": "open"}, {"train": photos})
    done(start(base))
    figures = evaluated(base / "model", photos, tmp_path / "work")
    assert figures["n"] > 20
    assert figures["n"] + figures["n_seen"] == len(rows)


SMALL = {
    "recipe": "full", "full.backbone": "test_resnet", "full.size": "64", "full.epochs": "3", "full.precision": "fp32",
    "full.batch": "16", "full.lr": "0.002", "full.norm": "frozen", "split.train": "0.5", "split.validate": "0.2",
    "split.calibrate": "0.2", "split.test": "0.1", "quick.rounds": "30",
}  # fmt: skip


@pytest.fixture(scope="module")
def network(weights: Path) -> Path:
    """The channel with the pretrained weights."""
    return weights.parent


def metrics(base: Path) -> list[dict[str, float]]:
    with (base / "output" / "data" / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def same(ones: list[dict[str, float]], others: list[dict[str, float]], within: float) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one["photos"] == other["photos"], "each photo once an epoch"
        for name in ("train_loss", "validate_log_loss"):
            assert other[name] == pytest.approx(one[name], rel=within)


@pytest.fixture(scope="module")
def alone(bins: Path, network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of recipe full on one host, under AWS's toolkit, done without a break."""
    base = opt_ml(tmp_path_factory.mktemp("alone") / "ml", SMALL, {"train": bins, "weights": network})
    said = done(start(base))
    assert "validate_log_loss=" in said
    return base


@pytest.mark.train
def test_a_network_is_fine_tuned_under_aws_toolkit(alone: Path, bins: Path, tmp_path: Path) -> None:
    figures = evaluated(alone / "model", bins, tmp_path / "work")
    assert figures["n"] + figures["n_seen"] == 160
    assert [row["epoch"] for row in metrics(alone)] == [1, 2, 3]
    assert (alone / "output" / "data" / "curve.svg").is_file()
    (kept,) = (alone / "checkpoints").rglob("*.*")
    assert kept.name == "checkpoint.pt", "and no picture of the work folder"


def begun(base: Path, started: subprocess.Popen[str]) -> None:
    """Wait until a job has written its first checkpoint."""
    while not list(base.glob("checkpoints/*/checkpoint.pt")):
        assert started.poll() is None, started.communicate()[0][-3000:]
        time.sleep(0.01)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.mark.train
def test_two_hosts_with_their_own_disks_train_the_network_that_one_trains_stopped_or_not(
    alone: Path, bins: Path, network: Path, tmp_path: Path
) -> None:
    """SIGTERM to one of them ends both after the same step; the first one's checkpoint is all that they go on from."""
    hosts = ("127.0.0.1", "localhost")
    often = SMALL | {"full.save_seconds": "0"}
    first, second = (opt_ml(tmp_path / host, often, {"train": bins, "weights": network}, hosts, host) for host in hosts)
    port = free_port()
    started = [start(base, *OWN, MASTER_PORT=port) for base in (first, second)]
    begun(first, started[0])
    started[1].send_signal(signal.SIGTERM)
    assert "stopped: The job was told to end." in done(started[1], expected=143)
    said, _ = started[0].communicate(timeout=300)
    assert "error: Training was stopped in epoch 1. SIGTERM came, and the checkpoint is saved." in said
    assert not (second / "checkpoints").exists()
    port = free_port()
    started = [start(base, MASTER_PORT=port) for base in (first, second)]
    said, follower = map(done, started)
    assert "training on 2 x cpu" in said
    assert "Reporting training SUCCESS" in follower
    same(metrics(alone), metrics(first), 1e-6)
    assert (first / "model" / "bundle.json").is_file()
    assert not any((second / "model").glob("*")), "the first host alone writes the model"


@pytest.mark.train
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_was_stopped_goes_on_from_its_checkpoint(
    how: signal.Signals, alone: Path, bins: Path, network: Path, tmp_path: Path
) -> None:
    base = opt_ml(tmp_path / "ml", SMALL | {"full.save_seconds": "0"}, {"train": bins, "weights": network})
    started = start(base, *OWN)
    begun(base, started)
    started.send_signal(how)
    if how is signal.SIGTERM:
        said = done(started, expected=143)
        assert "stopped: The job was told to end." in said
        assert not (base / "output" / "failure").exists()
    else:
        reap(base)
        done(started, expected=-how)
    assert not (base / "model" / "bundle.json").exists()
    done(start(base, *OWN))
    same(metrics(alone), metrics(base), 1e-6)


def reap(base: Path) -> None:
    """End the processes that a killed job has left, as the end of its container would."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        words = place.read_bytes().split(b"\0") if place.exists() else []
        if f"{base}/input/data/train".encode() in words:
            with suppress(ProcessLookupError):
                os.kill(int(place.parent.name), signal.SIGKILL)
