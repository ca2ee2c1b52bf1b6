"""Training and tuning on SageMaker as a user types it, against the wire server, whose jobs really run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3server import S3Server
from wire import world
from wire.server import RefusalError, until
from wire.world import World

pytestmark = pytest.mark.timeout(400)
GROUP = "/aws/sagemaker/TrainingJobs"
DATA, TO = "s3://private/cloud/bins", "s3://private/cloud/site"
TINY = ("full.backbone=test_resnet", "full.size=64", "full.epochs=2", "full.precision=fp32", "full.batch=16",
        "split.train=0.5", "split.validate=0.2", "split.calibrate=0.2", "split.test=0.1",
        "quick.rounds=30")  # fmt: skip


@pytest.fixture(scope="module")
def there(bucket: S3Server, bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """SageMaker and S3, with a hundred and sixty drawn bins in a bucket."""
    with world.made(bucket, tmp_path_factory.mktemp("opt")) as made:
        made.store.push(bins, DATA)
        yield made


@pytest.fixture
def aws(there: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The environment of a user of that SageMaker."""
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    return there


def binventory(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command as its users do. Whatever happens, there is never a traceback of ours."""
    done = subprocess.run(
        [sys.executable, "-m", "binventory", *map(str, words)], capture_output=True, text=True, check=False, timeout=380
    )
    own = [line for line in done.stderr.splitlines() if not line.startswith("algo-")]
    assert "Traceback" not in "\n".join(own), done.stderr
    return done


def training(name: str, out: Path, *words: object) -> list[object]:
    """The words that train on SageMaker."""
    return ["train", "--on", "sagemaker", "--data", DATA, "--to", TO, "--name", name, "--out", out, *words]


def full(weights: Path, *settings: str) -> list[object]:
    sets = [word for one in (*TINY, *settings) for word in ("--set", one)]
    return ["--recipe", "full", "--weights", weights, *sets]


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.train
def test_bins_become_a_bundle_by_a_job_that_really_runs(aws: World, bins: Path, weights: Path, tmp_path: Path) -> None:
    """Fetch, upload, train there, judge here; the same command again sends no photo and finds the same job."""
    aws.store.push(bins, "s3://public/story")
    fetched = binventory("fetch", "--from", "s3://public/story", "--all", "--out", tmp_path / "bins")
    assert fetched.returncode == 0, fetched.stderr
    words = ["train", "--on", "sagemaker", "--data", tmp_path / "bins", "--to", TO, "--name", "binventory-story",
             "--out", tmp_path / "site", *full(weights), "--json"]  # fmt: skip
    done = binventory(*words)
    assert done.returncode == 0, done.stderr
    (told,) = rows(done)
    assert told["status"] == "Completed"
    assert told["bundle"] == f"{TO}/jobs/binventory-story/output/model.tar.gz"
    assert told["dollars"] == pytest.approx(told["billed_seconds"] * 1.408 * 1.2 / 3600)
    assert 0 < told["validate_log_loss"] < 10
    assert "at most $6.76" in done.stderr  # said before
    for line in ("Downloading:", "Training:", "epoch=2", "Completed:"):
        assert line in done.stderr
    assert (tmp_path / "site" / "bundle.json").exists()

    judged = binventory("evaluate", "--bundle", told["bundle"], "--data", bins, "--json")
    assert judged.returncode == 0, judged.stderr
    assert rows(judged)[0]["n"] > 0

    again = binventory(*words[:-1])
    assert again.returncode == 0, again.stderr
    assert "is there already" in again.stderr
    assert "160 photos lie in" in again.stderr and "; 0 bytes were sent" in again.stderr
    listed = rows(binventory("cloud", "jobs", "--json"))
    assert [(one["job"], one["status"]) for one in listed if one["job"] == "binventory-story"] == [
        ("binventory-story", "Completed")
    ]


@pytest.mark.train
def test_a_tuning_job_tries_recipes_and_tells_the_best(aws: World, weights: Path, tmp_path: Path) -> None:
    done = binventory(
        "tune", "--on", "sagemaker", "--data", DATA, "--to", TO, "--trials", 2, "--name", "binventory-tune",
        "--out", tmp_path / "best.toml", *full(weights, "full.epochs=1"), "--choose", "full.batch=8,16",
        "--range", "full.lr=1e-3:3e-3:log", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (told,) = rows(done)
    assert [one["status"] for one in told["trials"]] == ["Completed", "Completed"]
    best = min(told["trials"], key=lambda one: one["objective"])
    assert told["best"] == best
    assert best["settings"]["full.batch"] in ("8", "16")  # it came quoted twice
    assert told["billed_seconds"] == sum(one["billed"] for one in told["trials"])  # and not the wall clock
    recipe = (tmp_path / "best.toml").read_text()
    assert f"batch = {best['settings']['full.batch']}" in recipe
    assert "trial binventory-tune-001" in done.stderr
    # What the trial was given is what it learnt by.
    name = told["trials"][0]["name"]
    settings = " ".join(line.message for line in aws.logs.groups[GROUP][f"{name}/algo-1-1"])
    assert f"full.batch={told['trials'][0]['settings']['full.batch']}" in settings


@pytest.mark.train
def test_a_job_is_stopped_and_ctrl_c_only_stops_the_watching(aws: World, weights: Path, tmp_path: Path) -> None:
    words = training("binventory-long", tmp_path / "never", *full(weights, "full.epochs=1000"))
    with subprocess.Popen(
        [sys.executable, "-m", "binventory", *map(str, words)], stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stderr
        for line in watching.stderr:
            if "epoch=1 " in line:
                break
        watching.send_signal(signal.SIGINT)
        rest = watching.stderr.read()
    assert watching.returncode == 130
    assert "binventory cloud attach binventory-long" in rest
    assert "Traceback" not in rest
    assert aws.training.job("binventory-long").status == "InProgress"

    (stopped,) = rows(binventory("cloud", "stop", "binventory-long", "--json"))
    assert stopped["status"] in ("Stopping", "Stopped")
    until(lambda: aws.training.job("binventory-long").ended is not None, 60)
    attached = binventory("cloud", "attach", "binventory-long")
    assert attached.returncode == 4
    assert "error: Job binventory-long was stopped. Somebody stopped it. Try:" in attached.stderr
    assert binventory("cloud", "stop", "binventory-long").returncode == 0  # safe to run twice


@pytest.mark.train  # it needs no torch, but time
def test_a_job_that_fails_tells_the_cause_in_its_own_words(aws: World, tmp_path: Path) -> None:
    """Two photos are too few to learn from; the sentence comes from inside the job."""
    for name in ("00001", "00002"):
        aws.store.client.put_object(Bucket="private", Key=f"cloud/few/bin-images/{name}.jpg", Body=b"no photo")
    done = binventory("train", "--on", "sagemaker", "--data", "s3://private/cloud/few", "--to", TO,
                      "--name", "binventory-few", "--out", tmp_path / "site")  # fmt: skip
    assert done.returncode == 4
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert error.startswith("error: Job binventory-few failed. ")
    assert "Try: " in error
    assert "s billed on 1 x ml.m5.xlarge: $" in done.stderr  # it costs, all the same
    assert not (tmp_path / "site").exists()


FORBIDDEN = ("User: arn:aws:iam::123456789012:user/ann is not authorized to perform: {0} on resource: arn:aws:iam::"
             "123456789012:role/counting because no identity-based policy allows the {0} action")  # fmt: skip


@pytest.mark.parametrize(("operation", "refusal", "status", "said"), [
    ("CreateTrainingJob", RefusalError("AccessDeniedException", FORBIDDEN.format("iam:PassRole")), 3,
     "The permission iam:PassRole is missing on arn:aws:iam::123456789012:role/counting. Try: add it to your policy"),
    ("CreateTrainingJob", RefusalError("AccessDeniedException", FORBIDDEN.format("sagemaker:CreateTrainingJob")), 3,
     "The permission sagemaker:CreateTrainingJob is missing"),
    ("CreateTrainingJob", RefusalError(
        "ResourceLimitExceeded", "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 "
        "Instances, with current utilization of 0 Instances and a request delta of 1 Instances."), 4,
     "The account's quota 'ml.g5.xlarge for training job usage' is 0. Try: ask for"),
    ("CreateTrainingJob", RefusalError("ExpiredTokenException", "The security token is expired", 403), 3,
     "The AWS credentials have expired. Try: aws sso login"),
    ("CreateTrainingJob", b'{"TrainingJobArn": "arn:', 4, "AWS's answer broke off"),
])  # fmt: skip
def test_what_aws_refuses_ends_in_one_sentence_with_the_next_step(
    aws: World, tmp_path: Path, operation: str, refusal: RefusalError | bytes, status: int, said: str
) -> None:
    aws.wire.fail(operation, refusal)
    done = binventory(*training("binventory-refused", tmp_path / "site", "--instance", "ml.g5.xlarge"))
    assert done.returncode == status, done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: Job binventory-refused cannot be started. ")
    assert said in error


def test_a_bucket_that_is_not_there_is_named(aws: World, tmp_path: Path) -> None:
    done = binventory(
        "train", "--on", "sagemaker", "--data", DATA, "--to", "s3://nowhere/site", "--out", tmp_path / "s"
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "error: Bucket nowhere cannot be used. There is none of that name. "
        "Try: aws s3 mb s3://nowhere, or another --to."
    )


def test_photos_that_are_not_there_are_told_before_anything_runs(aws: World, tmp_path: Path) -> None:
    done = binventory("train", "--on", "sagemaker", "--data", "s3://private/none", "--to", TO, "--out", tmp_path / "s")
    assert done.returncode == 3
    assert "No S3 objects found under S3 URL" in done.stderr


def test_a_dry_run_prints_the_request_and_sends_nothing(aws: World, tmp_path: Path) -> None:
    before = len(aws.wire.asked)
    done = binventory(*training("binventory-dry", tmp_path / "site", "--dry-run", "--spot", "--kms-key", "k-1",
                                "--subnet", "subnet-1", "--security-group", "sg-1", "--tag", "team=receiving",
                                "--instance", "ml.c5.xlarge"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    (request,) = rows(done)
    assert request["EnableManagedSpotTraining"] is True
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == request["OutputDataConfig"]["KmsKeyId"] == "k-1"
    assert {"Key": "team", "Value": "receiving"} in request["Tags"]
    assert [one for one, _ in aws.wire.asked[before:] if one.startswith("Create")] == []


AWAY = ("train", "--data", DATA, "--out", "b", "--on", "sagemaker")


@pytest.mark.parametrize(("words", "said"), [
    (("train", "--data", "bins", "--out", "b", "--spot"), "--spot goes with --on sagemaker"),
    ((*AWAY, "--checkpoints", "c"), "--checkpoints goes with --on local"),
    (("train", "--data", DATA, "--out", "b", "--on", "moon"), "There is no place 'moon'"),
    (("train", "--data", "bins", "--out", "b", "--on", "sagemaker", "--to", TO), "bins"),
    ((*AWAY, "--to", TO, "--instance", "ml.m5.tiny"), "ml.m5.large"),
    ((*AWAY, "--to", TO, "--role", "r", "--instances", 2), "2 instances do no more than one"),
    (("cloud", "attach", "binventory-nobody"), "Job binventory-nobody does not exist"),
    (("cloud", "stop", "under_scored"), "under_scored"),
])  # fmt: skip
def test_what_does_not_go_together_is_told(aws: World, words: tuple[str, ...], said: str) -> None:
    done = binventory(*words)
    assert done.returncode in (2, 3), done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Try: " in done.stderr
