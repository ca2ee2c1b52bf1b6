"""Counts all photos below an S3 prefix by a batch transform: machines come, count, and go; the answers lie on S3.

One object a photo in, one ``.out`` object out. Which photos are counted stands in a manifest, so that what else lies
below the prefix is neither sent nor paid for. Contract: ``create_transform_job`` of botocore's ``sagemaker``, and the
API reference of ``TransformOutput`` and ``TransformS3DataSource``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from binventory import objects, s3
from binventory.cloud import contract, images
from binventory.cloud.artefact import place
from binventory.cloud.endpoint import MOST_BATCH_MB
from binventory.cloud.session import Session, ask
from binventory.cloud.settling import waits
from binventory.counting import wire
from binventory.errors import BinventoryError, MissingError, OutsideError, PhotoError
from binventory.flow import ahead
from binventory.photo import SUFFIXES
from binventory.records import Count

PAYLOAD_MB = MOST_BATCH_MB
AT_ONCE = 4
KIND = "application/x-image"
SUFFIX = ".out"
_MOST_ANSWER = 1024 * 1024
Outcome = tuple[str, Count | BinventoryError]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is to be: the photos' addresses below ``source``, where answers go, and on what machines.

    ``model``: the name of the model, which bears its content in its name.
    """

    photos: tuple[str, ...]
    source: str
    target: str
    model: str
    instance: str = "ml.c6i.large"
    instances: int = 1
    kms: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """What the job is called: by its content, so that the same batch asked for twice is one job."""
        text = "\n".join((*self.photos, self.target, self.model))
        return f"binventory-batch-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def manifest(self) -> bytes:
        """The list of the photos as SageMaker's manifest files have it: a prefix, then keys below it."""
        root = self.source.rstrip("/") + "/"
        return json.dumps([{"prefix": root}, *(one.removeprefix(root) for one in self.photos)]).encode()

    def answers(self, job: str) -> str:
        """Where the answers of a job lie."""
        return f"{self.target.rstrip('/')}/{job}"


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has ended. ``failed``: why SageMaker calls it failed, which it does for a single bad photo, too."""

    job: str
    answers: str
    failed: str
    seconds: float
    """How long its machines were paid for, each; 0.0 where SageMaker does not tell."""


def job_request(batch: Batch, job: str, manifest: str) -> dict[str, Any]:
    """``create_transform_job``. ``manifest``: where the list of photos lies."""
    output: dict[str, Any] = {"S3OutputPath": batch.answers(job), "Accept": "application/json", "AssembleWith": "None"}
    resources: dict[str, Any] = {"InstanceType": batch.instance, "InstanceCount": batch.instances}
    if batch.kms:
        output["KmsKeyId"] = batch.kms
        if not images.has_local_disk(batch.instance):  # for whose disks SageMaker refuses a key
            resources["VolumeKmsKeyId"] = batch.kms
    own = {"binventory:batch": batch.source[:256]}
    return {
        "TransformJobName": job,
        "ModelName": batch.model,
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": PAYLOAD_MB,
        "MaxConcurrentTransforms": AT_ONCE,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 3},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": manifest}},
            "ContentType": KIND,
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": output,
        "TransformResources": resources,
        "Tags": [{"Key": key, "Value": value} for key, value in ({**dict(batch.tags), **own}).items()],
    }


def listed(source: str) -> tuple[str, ...]:
    """The photos below an S3 prefix. Raises InputError where there are none, or S3 refuses."""
    place(source)
    return tuple(objects.find(source, SUFFIXES))


def run(aws: Session, batch: Batch, again: bool, tell: Callable[[str, float], None]) -> Done:
    """Run a batch to its end, or go on with the same one asked for before; one that has ended with answers is not run
    and paid for twice, but where ``again`` is asked for.

    Raises as ``session.told`` does, OutsideError where the job was stopped or none of its photos could be counted.
    """
    sagemaker = aws.client("sagemaker")
    job, there = _next(sagemaker, batch, again)
    if there is None:
        manifest = f"{batch.target.rstrip('/')}/{job}.manifest"
        request = job_request(batch, job, manifest)
        contract.refuse("sagemaker", "CreateTransformJob", request, f"The batch {job} cannot be started")
        s3.write(manifest, batch.manifest, batch.kms)
        ask(sagemaker, "create_transform_job", f"The batch {job} cannot be started", **request)
    there = _followed(sagemaker, job, tell)
    aws.lend()
    status = str(there["TransformJobStatus"])
    if status == "Stopped":
        raise OutsideError(f"The batch {job} was stopped", "someone has stopped it", "run it again")
    reason = " ".join(str(there.get("FailureReason", "")).split()).rstrip(".")
    failed = (reason or "SageMaker gives no reason") if status == "Failed" else ""
    return Done(job, batch.answers(job), failed, _paid(there))


def _followed(sagemaker: Any, job: str, tell: Callable[[str, float], None]) -> dict[str, Any]:
    """A job as it stands when it has ended."""
    begun = time.monotonic()
    for pause in waits():
        there = ask(sagemaker, "describe_transform_job", f"The batch {job} cannot be looked at", TransformJobName=job)
        tell(str(there["TransformJobStatus"]), time.monotonic() - begun)
        if there["TransformJobStatus"] not in ("InProgress", "Stopping"):
            return there
        time.sleep(pause)
    raise AssertionError("waits do not end")


def outcomes(batch: Batch, done: Done) -> Iterator[Outcome]:
    """Every photo's outcome, in the photos' order, read from the answers. A photo without an answer is its error.

    Raises OutsideError where a failed job has left no answer at all.
    """
    lying = _answers(done.answers)
    if not lying and done.failed:
        raise OutsideError(f"The batch {done.job} failed", done.failed, f"look into the log group {LOG_GROUP}")
    yield from ahead(lambda photo: (photo, _outcome(photo, answer_of(photo, batch.source, done.answers, lying), done)),
                     batch.photos, threads=8)  # fmt: skip


LOG_GROUP = "/aws/sagemaker/TransformJobs"


def answer_of(photo: str, source: str, answers: str, lying: frozenset[str]) -> str | None:
    """Where a photo's answer lies: below the answers by the photo's place below the source.

    SageMaker's reference has the last folder of the source in that place, too; both are looked for.
    """
    root = source.rstrip("/")
    below = photo.removeprefix(f"{root}/")
    last = place(root)[1].rpartition("/")[2]
    likely = (f"{answers}/{below}{SUFFIX}", f"{answers}/{last}/{below}{SUFFIX}", f"{answers}/{place(photo)[1]}{SUFFIX}")
    return next((one for one in likely if one in lying), None)


def _outcome(photo: str, answer: str | None, done: Done) -> Count | BinventoryError:
    if answer is None:
        return PhotoError(f"{photo} was not counted", done.failed or "the job has left no answer for it",
                          f"look into the log group {LOG_GROUP}, or count it alone")  # fmt: skip
    try:
        return wire.outcomes(objects.read(answer, _MOST_ANSWER), [wire.ALONE])[0]
    except BinventoryError as error:
        return error


def _next(sagemaker: Any, batch: Batch, again: bool) -> tuple[str, dict[str, Any] | None]:
    """The name of the job that is to run, or that runs or has run already, and how that stands.

    One that was stopped, or failed without a single answer, is run anew.
    """
    job, number = batch.id, 1
    while (there := _described(sagemaker, job)) is not None:
        status = there["TransformJobStatus"]
        if status in ("InProgress", "Stopping"):
            break
        if not again and (status == "Completed" or (status == "Failed" and _answers(batch.answers(job)))):
            break
        number += 1
        job = f"{batch.id}-{number}"
    return job, there


def _answers(place: str) -> frozenset[str]:
    """The answers that lie somewhere."""
    try:
        return frozenset(objects.find(place, frozenset({SUFFIX})))
    except MissingError:
        return frozenset()


def _described(sagemaker: Any, job: str) -> dict[str, Any] | None:
    try:
        return ask(sagemaker, "describe_transform_job", f"The batch {job} cannot be looked at", TransformJobName=job)
    except MissingError:
        return None


def _paid(there: dict[str, Any]) -> float:
    begun, ended = there.get("TransformStartTime"), there.get("TransformEndTime")
    if isinstance(begun, datetime) and isinstance(ended, datetime):
        return max(0.0, (ended - begun).total_seconds())
    return 0.0
