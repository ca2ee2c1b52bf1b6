"""The verbs of jobs against moto's server, which keeps SageMaker's books.

moto runs nothing: a job is Completed as soon as it is made, its figures are moto's own invention, and no artifact is
written. It lets two jobs have one name, and has neither StopTrainingJob nor the list of a tuning job's trials. All
that is shown against the wire server (``tests/cli/test_jobs_verbs.py``); here stands that another's reading of
SageMaker's requests and answers agrees with ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import motoserver
from binventory.cloud import batch as batches
from binventory.cloud import following, jobs, launching, session
from binventory.cloud.batch import Batch
from binventory.cloud.jobs import Channel, JobPlan, TuningPlan
from binventory.cloud.launching import Parts

pytestmark = pytest.mark.timeout(120)
ROLE = "arn:aws:iam::123456789012:role/counting"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (Path(sys.executable).parent / "moto_server").exists():
        pytest.skip("moto is not installed")
    with motoserver.serving(tmp_path_factory.mktemp("moto")) as endpoint:
        assert endpoint, "moto's server does not start"
        yield endpoint


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> session.Session:
    for name, value in {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return session.opened()


def plan(name: str) -> JobPlan:
    return JobPlan(
        name, ROLE, "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1", "s3://site", "s3://site/source.tar.gz",
        "train_model.py", (Channel("train", "s3://site/bins/"),), (("recipe", "full"), ("full.epochs", "2")),
        tags=(("team", "receiving"),),
    )  # fmt: skip


def test_a_training_job_is_made_as_asked_and_followed_to_its_end(aws: session.Session) -> None:
    wanted = jobs.training_request(plan("binventory-one"))
    sagemaker = aws.client("sagemaker")
    session.ask(sagemaker, "create_training_job", "It cannot start", **wanted)
    there = session.ask(sagemaker, "describe_training_job", "It cannot be seen", TrainingJobName="binventory-one")
    # moto puts metric definitions of its own in the place of ours, and knows no Environment.
    for name in ("HyperParameters", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition",
                 "CheckpointConfig", "RoleArn"):  # fmt: skip
        assert there[name] == wanted[name]
    tags = session.ask(sagemaker, "list_tags", "No tags", ResourceArn=there["TrainingJobArn"])["Tags"]
    assert {"Key": "team", "Value": "receiving"} in tags
    *_, state = following.follow(aws, "binventory-one", lambda: None)
    assert isinstance(state, following.State)
    assert state.status == "Completed"
    assert state.artifacts == "s3://site/jobs/binventory-one/output/model.tar.gz"


def test_a_tuning_job_is_made_as_asked(aws: session.Session) -> None:
    wanted = jobs.tuning_request(TuningPlan(plan("binventory-two"), 4, 2, "Hyperband"))
    sagemaker = aws.client("sagemaker")
    session.ask(sagemaker, "create_hyper_parameter_tuning_job", "It cannot start", **wanted)
    there = session.ask(sagemaker, "describe_hyper_parameter_tuning_job", "It cannot be seen",
                        HyperParameterTuningJobName="binventory-two")  # fmt: skip
    for name in ("HyperParameterTuningJobConfig", "TrainingJobDefinition"):
        assert there[name] == wanted[name]
    assert following.tuning(there, []).status == "Completed"


def test_what_a_job_is_given_is_encrypted_by_the_key_that_was_named(aws: session.Session, tmp_path: Path) -> None:
    client = aws.client("s3")
    client.create_bucket(Bucket="keyed")
    (tmp_path / "sourcedir.tar.gz").write_bytes(b"source")
    sent = "s3://keyed/source/sourcedir.tar.gz"
    launching.send(aws, Parts(((sent, tmp_path / "sourcedir.tar.gz"),), "alias/site"))
    session.ask(aws.client("sagemaker"), "create_model", "No model", ModelName="bins", ExecutionRoleArn=ROLE)
    batch = Batch(("s3://keyed/in/a.jpg",), "s3://keyed/in/", "s3://keyed/out", "bins", kms="alias/site")
    batches.run(aws, batch, False, lambda *_: None)
    for key in ("source/sourcedir.tar.gz", f"out/{batch.id}.manifest"):
        head = client.head_object(Bucket="keyed", Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/site")


def test_a_job_that_is_not_there_is_told(aws: session.Session) -> None:
    with pytest.raises(Exception, match="Job nobody does not exist"):
        following.look(aws, "nobody")


def test_the_verb_starts_a_job_and_attach_finds_it(aws: session.Session, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="site")
    s3.put_object(Bucket="site", Key="bins/metadata/00001.json", Body=b"{}")

    def run(*words: str) -> list[dict[str, Any]]:
        done = subprocess.run([sys.executable, "-m", "binventory", *words], capture_output=True, text=True,
                              check=False, env=os.environ | {"BINVENTORY_ROLE": "counting"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (started,) = run("train", "--on", "sagemaker", "--data", "s3://site/bins", "--to", "s3://site", "--recipe", "quick",
                     "--name", "binventory-three", "--no-wait", "--json", "--out", str(tmp_path / "b"))  # fmt: skip
    assert started["job"] == "binventory-three"
    (source,) = s3.list_objects_v2(Bucket="site", Prefix="source/")["Contents"]
    assert source["Key"].endswith("/sourcedir.tar.gz")
    (attached,) = run("cloud", "attach", "binventory-three", "--json")
    assert attached["status"] == "Completed"
    assert attached["bundle"] == "s3://site/jobs/binventory-three/output/model.tar.gz"
