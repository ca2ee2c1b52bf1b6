"""The wire of the tests is worth trusting: it refuses what AWS's model refuses, and really runs what it takes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from s3server import S3Server
from wire.logs import Logs
from wire.server import Wire, serving, until
from wire.store import Store
from wire.training import Training

pytestmark = pytest.mark.timeout(120)
ROLE = "arn:aws:iam::123456789012:role/counting"
# What a job runs: it reads its channel and hyperparameters, and writes a model.
SCRIPT = """
import json, os, pathlib, signal, sys, time
hp = json.loads(os.environ["SM_HPS"])
files = sorted(path.name for path in pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*"))
print(f"files={','.join(files)} host={os.environ['SM_CURRENT_HOST']}", flush=True)
kept = pathlib.Path(os.environ["SM_MODEL_DIR"]).parent / "checkpoints" / "seen"
before = kept.read_text() if kept.exists() else ""
kept.write_text(before + "x")
if hp.get("wait"):
    print("waiting", flush=True)
    if not before: time.sleep(60)
if hp.get("fail"):
    pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("the disk is full")
    sys.exit(3)
print(f"epoch=1 validate_log_loss={hp.get('lr', 1) * 100} validate_accuracy=0.5", flush=True)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(before + "made of " + str(len(files)))
"""


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def training(wire: Wire, bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Training:
    store = Store(bucket)
    for number in range(3):
        store.client.put_object(Bucket="private", Key=f"wire/data/{number}.jpg", Body=b"jpeg")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("train_it.py")
        member.size = len(SCRIPT)
        tar.addfile(member, io.BytesIO(SCRIPT.encode()))
    store.client.put_object(Bucket="private", Key="wire/sourcedir.tar.gz", Body=packed.getvalue())
    return Training(wire, store, Logs(wire), tmp_path_factory.mktemp("opt"))


@pytest.fixture(scope="module")
def sagemaker(wire: Wire, training: Training) -> Any:
    return client(wire, "sagemaker")


def client(wire: Wire, service: str) -> Any:
    import boto3

    return boto3.client(service, endpoint_url=wire.endpoint, region_name="eu-central-1",
                        aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip


def job(name: str, count: int = 1, **hyperparameters: object) -> dict[str, Any]:
    program = {"sagemaker_program": "train_it.py", "sagemaker_submit_directory": "s3://private/wire/sourcedir.tar.gz"}
    given = {name: json.dumps(value) for name, value in (program | hyperparameters).items()}
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://private/wire/data/"}
    return {
        "TrainingJobName": name, "RoleArn": ROLE, "HyperParameters": given,
        "AlgorithmSpecification": {
            "TrainingImage": "image", "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "validate_log_loss", "Regex": r"\bvalidate_log_loss=([0-9.eE+-]+)"}],
        },
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://private/wire/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }  # fmt: skip


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(sagemaker.describe_training_job(TrainingJobName=name))
        return found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")

    until(over, 60)
    return found


def test_a_job_runs_by_the_real_toolkit_from_channel_to_artifact(
    wire: Wire, sagemaker: Any, training: Training
) -> None:
    sagemaker.create_training_job(**job("good", lr=0.25))
    found = ended(sagemaker, "good")
    assert found["TrainingJobStatus"] == "Completed", found
    steps = [step["Status"] for step in found["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert [one["Value"] for one in found["FinalMetricDataList"]] == [25.0]
    packed = training.store.read(found["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["model.txt"]
    logs = client(wire, "logs")
    streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="good/")
    name = streams["logStreams"][0]["logStreamName"]
    events = logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=name, startFromHead=True)
    assert "files=0.jpg,1.jpg,2.jpg host=127.0.0.1" in [event["message"] for event in events["events"]]
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_training_job(**job("good"))


def test_a_job_that_fails_tells_what_its_failure_file_tells(sagemaker: Any) -> None:
    sagemaker.create_training_job(**job("bad", fail=True))
    found = ended(sagemaker, "bad")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"] == "AlgorithmError: the disk is full, exit code: 1"


def test_a_job_is_stopped(sagemaker: Any, training: Training) -> None:
    sagemaker.create_training_job(**job("long", wait=True))
    until(lambda: "waiting" in str(training.logs.groups), 30)
    sagemaker.stop_training_job(TrainingJobName="long")
    assert ended(sagemaker, "long")["TrainingJobStatus"] == "Stopped"


def test_a_spot_job_that_is_interrupted_goes_on_from_its_checkpoints(sagemaker: Any, training: Training) -> None:
    wanted = job("spot", wait=True)
    wanted["EnableManagedSpotTraining"] = True
    wanted["StoppingCondition"]["MaxWaitTimeInSeconds"] = 120
    wanted["CheckpointConfig"] = {"S3Uri": "s3://private/wire/checkpoints/spot/"}
    sagemaker.create_training_job(**wanted)
    until(lambda: "spot/algo-1-1" in training.logs.groups["/aws/sagemaker/TrainingJobs"], 30)
    until(lambda: "waiting" in str(training.logs.groups["/aws/sagemaker/TrainingJobs"]["spot/algo-1-1"]), 30)
    training.interrupt("spot")
    found = ended(sagemaker, "spot")
    assert found["TrainingJobStatus"] == "Completed", found
    steps = [step["Status"] for step in found["SecondaryStatusTransitions"]]
    assert steps[:5] == ["Starting", "Downloading", "Training", "Interrupted", "Starting"]


def test_several_instances_share_a_sharded_channel(sagemaker: Any, training: Training) -> None:
    wanted = job("two", count=2)
    wanted["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    sagemaker.create_training_job(**wanted)
    assert ended(sagemaker, "two")["TrainingJobStatus"] == "Completed"
    streams = training.logs.groups["/aws/sagemaker/TrainingJobs"]
    printed = [[line.message for line in streams[f"two/algo-{host}-1"]] for host in (1, 2)]
    assert "files=0.jpg,2.jpg host=127.0.0.1" in printed[0]
    assert "files=1.jpg host=127.0.0.2" in printed[1]


@pytest.mark.parametrize(("place", "value", "said"), [
    (("TrainingJobName",), "under_scored", "does not match"),
    (("RoleArn",), "arn:aws:iam::12:role/counting", "does not match"),
    (("ResourceConfig", "InstanceType"), "ml.m5.tiny", "ml.m5.large"),
    (("AlgorithmSpecification", "TrainingInputMode"), "Fast", "FastFile"),
    (("AlgorithmSpecification", "MetricDefinitions"), [{"Name": "m", "Regex": "x" * 501}], "at most 500"),
    (("InputDataConfig",), [], "at least 1"),
    (("StoppingCondition", "MaxRuntimeInSeconds"), 0, "at least 1"),
    (("Tags",), [{"Key": "who", "Value": "ann!"}], "does not match"),
    (("Colour",), "red", "there is no such member"),
    (("InputDataConfig", 0, "DataSource", "S3DataSource", "S3Uri"), "s3://private/none/", "No S3 objects found"),
])  # fmt: skip
def test_what_the_model_refuses_is_refused(
    sagemaker: Any, wire: Wire, place: tuple[Any, ...], value: object, said: str
) -> None:
    """Past boto3's own checks, which know neither enumerations nor patterns."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    wanted = job("refused")
    inner: Any = wanted
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    unchecked = boto3.client("sagemaker", endpoint_url=wire.endpoint, region_name="eu-central-1",
                             aws_access_key_id="a", aws_secret_access_key="b",
                             config=Config(parameter_validation=False))  # fmt: skip
    if place == ("Colour",):  # boto3 leaves out what it does not know
        from wire.server import RefusalError, refuse_invalid

        with pytest.raises(RefusalError, match=said):
            refuse_invalid("sagemaker", "CreateTrainingJob", wanted)
        return
    with pytest.raises(ClientError, match="ValidationException") as caught:
        unchecked.create_training_job(**wanted)
    assert said in str(caught.value)
