"""Asks an endpoint: bytes out, bytes in, over ``sagemaker-runtime``; and tells which bundle an endpoint runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from binventory.cloud import endpoint as endpoints
from binventory.cloud import settling
from binventory.cloud.session import Session, ask, told
from binventory.counting import bundle as bundles
from binventory.counting.bundle import Bundle
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError

LINES = "application/jsonlines"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered."""

    body: bytes
    kind: str
    variant: str


def sender(aws: Session, name: str) -> Callable[[bytes], bytes]:
    """A function that sends JSON lines to an endpoint and gives back the lines of its answer.

    It raises as ``asked`` does.
    """
    client = aws.client("sagemaker-runtime")

    def send(body: bytes) -> bytes:
        return asked(client, name, body, LINES, LINES).body

    return send


def asked(client: Any, name: str, body: bytes, kind: str, accept: str = "application/json") -> Answer:
    """One request to an endpoint: ``body`` of media type ``kind``.

    Raises InputError for what the model refuses or an endpoint that is not there, OutsideError where the model fails,
    is not ready, is too slow, or the network breaks.
    """
    from botocore.exceptions import ClientError

    what = f"The endpoint {name} gives no answer"
    with told(what, "sagemaker"):
        try:
            answer = client.invoke_endpoint(EndpointName=name, Body=body, ContentType=kind, Accept=accept)
        except ClientError as error:
            if (known := _refused(name, error.response)) is not None:
                raise known from None
            raise
        came = answer["Body"].read()
    return Answer(came, str(answer.get("ContentType", "")), str(answer.get("InvokedProductionVariant", "")))


def most_bytes(aws: Session, name: str) -> int:
    """How large a request an endpoint takes, in bytes. Whoever may not look at it gets the real-time limit.

    Raises MissingError where there is no such endpoint.
    """
    try:
        there = settling.described(aws, name)
    except InputError:
        return endpoints.MOST_BYTES
    if there is None:
        raise _missing(name)
    variants = there.get("ProductionVariants", [])
    serverless = any(one.get("CurrentServerlessConfig") or one.get("DesiredServerlessConfig") for one in variants)
    return endpoints.MOST_SERVERLESS_BYTES if serverless else endpoints.MOST_BYTES


def bundle_of(aws: Session, name: str) -> Bundle:
    """The bundle that an endpoint runs, read from its model's data on S3.

    Raises MissingError where there is no such endpoint, BundleError where it runs something else, and as
    ``session.told`` does.
    """
    return bundles.load(data_of(aws, name))


def data_of(aws: Session, name: str) -> str:
    """Where the model's data of an endpoint lie: endpoint, configuration, model, archive."""
    what = f"What the endpoint {name} runs cannot be told"
    sagemaker = aws.client("sagemaker")
    there = settling.described(aws, name)
    if there is None:
        raise _missing(name)
    config = ask(sagemaker, "describe_endpoint_config", what, EndpointConfigName=there["EndpointConfigName"])
    model = ask(sagemaker, "describe_model", what, ModelName=config["ProductionVariants"][0]["ModelName"])
    container = model.get("PrimaryContainer") or (model.get("Containers") or [{}])[0]
    if package := container.get("ModelPackageName"):
        found = ask(sagemaker, "describe_model_package", what, ModelPackageName=package)
        container = found["InferenceSpecification"]["Containers"][0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    address = container.get("ModelDataUrl") or source.get("S3Uri")
    if not address:
        raise InputError(what, "its model has no data on S3", "--bundle, the bundle that it runs")
    return str(address)


def _missing(name: str) -> MissingError:
    return MissingError(f"The endpoint {name} does not exist", "SageMaker knows none of that name in this region",
                        "binventory cloud alive, or check AWS_REGION")  # fmt: skip


def _refused(name: str, response: dict[str, Any]) -> BinventoryError | None:
    """What the runtime's own errors mean; None for those that all services share."""
    code = response.get("Error", {}).get("Code", "")
    message = " ".join(str(response.get("Error", {}).get("Message", "")).split())
    if code == "ModelError":
        return _of_model(name, response, message)
    if code == "ValidationError" and re.search(r"not found|could not find", message, re.IGNORECASE):
        return _missing(name)
    if code == "ModelNotReadyException":
        return OutsideError(
            f"The endpoint {name} is not ready", message or "it is still loading", "ask again in a minute"
        )
    return None


def _of_model(name: str, response: dict[str, Any], message: str) -> BinventoryError:
    """What the model's own server answered, with its status: below 500 the request is at fault, else the model."""
    status = int(response.get("OriginalStatusCode") or 500)
    said = " ".join(str(response.get("OriginalMessage") or message).split())[:300].rstrip(".")
    log = f"look into the log group {endpoints.log_group(name)}"
    if status == 413:
        return InputError(f"The endpoint {name} takes no request so large", said, "send fewer or smaller photos")
    if status < 500:
        return InputError(f"The endpoint {name} refuses the request", said or f"it answers {status}", log)
    if "timed out" in message.lower() or "timeout" in said.lower():
        return OutsideError(f"The endpoint {name} was too slow", said or "a model has a minute to answer",
                            "send fewer photos at once, or deploy more memory or a larger instance")  # fmt: skip
    return OutsideError(f"The model at the endpoint {name} failed", said or f"it answers {status}", log)
