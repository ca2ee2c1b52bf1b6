"""Batch transform of the wire: the hosting app is called for each object, and what it answers is written to S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wire.container import stood_up
from wire.hosting import Hosting, locked, missing, now, remember
from wire.server import RefusalError, Reply, arn, paged
from wire.store import Store, split


def install(books: Hosting) -> None:
    """Let the wire answer for batch transforms."""
    for name, answer in (("CreateTransformJob", _create_transform), ("DescribeTransformJob", _describe_transform),
                         ("ListTransformJobs", _list_transforms)):  # fmt: skip
        books.wire.on(f"SageMaker.{name}", locked(books, answer))


def _create_transform(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["TransformJobName"]
    if name in books.transforms:
        raise RefusalError("ResourceInUse", f"Job name must be unique within an AWS account and region, {name} exists.")
    if request["ModelName"] not in books.models:
        raise missing("model", request["ModelName"])
    if request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", 6) > 100:
        raise RefusalError("ValidationException", "MaxConcurrentTransforms * MaxPayloadInMB must not exceed 100 MB.")
    place = arn("transform-job", name)
    books.transforms[name] = {
        **request, "TransformJobArn": place, "TransformJobStatus": "InProgress", "CreationTime": now(),
    }  # fmt: skip
    remember(books, place, request)
    books.later(_transform, books, name)
    return {"TransformJobArn": place}


def _transform(books: Hosting, name: str) -> None:
    """Call the model for each object, and write what it answers; one that fails leaves nothing and fails the job."""
    job = books.transforms[name]
    begun = now()
    more = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(job["MaxPayloadInMB"])}
    model, reason = stood_up(books, books.models[job["ModelName"]], more)
    failed = 0
    if model:
        try:
            for address, below in _inputs(books.store, job["TransformInput"]["DataSource"]["S3DataSource"]):
                most = job["MaxPayloadInMB"] * 1024 * 1024
                data = books.store.read(address)
                answer = Reply(b"", 413) if len(data) > most else model.call(
                    "POST", "/invocations", data, {"Content-Type": job["TransformInput"]["ContentType"],
                                                   "Accept": job["TransformOutput"]["Accept"]})  # fmt: skip
                if answer.status == 200:
                    _put(books.store, f"{job['TransformOutput']['S3OutputPath']}/{below}.out", answer.body)
                else:
                    failed += 1
        except Exception as error:  # whatever it was, the job has failed
            reason = f"InternalServerError: {error}"
        model.end()
    if failed:
        reason = "ClientError: See job logs for more information"
    with books.wire.lock:
        said = {"FailureReason": reason} if reason else {}
        job.update(TransformJobStatus="Failed" if reason else "Completed", TransformStartTime=begun,
                   TransformEndTime=now(), **said)  # fmt: skip


def _put(store: Store, uri: str, data: bytes) -> None:
    bucket, key = split(uri)
    store.client.put_object(Bucket=bucket, Key=key, Body=data)


def _inputs(store: Store, source: Mapping[str, str]) -> list[tuple[str, str]]:
    """The objects of a source by address and by what stands for them in the output."""
    bucket, prefix = split(source["S3Uri"])
    if source["S3DataType"] == "S3Prefix":
        return [(f"s3://{bucket}/{key}", key.removeprefix(prefix).strip("/")) for key in store.keys(source["S3Uri"])]
    first, *keys = json.loads(store.read(source["S3Uri"]))
    return [(first["prefix"] + key, key) for key in keys]


def _describe_transform(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["TransformJobName"]
    if name not in books.transforms:
        raise missing("transform job", name)
    return {key: value for key, value in books.transforms[name].items() if key != "Tags"}


def _list_transforms(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    keys = ("TransformJobName", "TransformJobArn", "CreationTime", "TransformJobStatus")
    rows = [{key: one[key] for key in keys} for one in books.transforms.values()
            if request.get("StatusEquals", one["TransformJobStatus"]) == one["TransformJobStatus"]]  # fmt: skip
    return paged(rows, request, "TransformJobSummaries")
