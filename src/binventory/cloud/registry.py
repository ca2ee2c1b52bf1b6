"""The model registry: a bundle goes in with its report, waits for approval, and comes out to be deployed.

Contract: ``create_model_package`` and its kin of botocore's ``sagemaker``; the report has the shape that SageMaker's
own model quality monitor writes, so that the console shows it as tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from binventory.cloud.endpoint import Packed
from binventory.cloud.session import Session, ask, pages
from binventory.counting.bundle import Manifest
from binventory.errors import InputError, MissingError, UsageError

Approval = Literal["Approved", "Rejected", "PendingManualApproval"]
CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png", "application/jsonlines")
ANSWER_TYPES = ("application/json", "application/jsonlines")
INSTANCES = ("ml.c7i.large", "ml.c7i.xlarge", "ml.c7i.2xlarge", "ml.c6i.large", "ml.c6i.xlarge", "ml.m5.large",
             "ml.m5.xlarge")  # fmt: skip
DIGEST = "binventory.data"
_FIGURES = ("n", "runs", "accuracy", "within_one", "mae", "rmse", "bias", "log_loss", "coverage_90", "mean_width_90")
_STRANGE = re.compile(r"[^\w .:/=+\-@]")
"""What no value of a package's metadata may hold, nor one of a tag."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model in the registry."""

    arn: str
    group: str
    number: int
    status: Approval
    made: datetime


def report(manifest: Manifest) -> dict[str, Any]:
    """What is known of a bundle, as SageMaker writes the quality of a model: its figures on the validate side.

    Half-widths of our 95 % intervals, over 1.96, stand where standard deviations are wanted: ours are over runs.
    """
    scored = manifest.figures.get("validate", {})

    def figure(name: str, interval: str = "") -> dict[str, object]:
        low, high = scored.get(interval) or (None, None)
        spread = (high - low) / 2 / 1.96 if low is not None and high is not None else "NaN"
        return {"value": scored[name], "standard_deviation": spread}

    classes = {"accuracy": figure("accuracy", "accuracy_ci")} if "accuracy" in scored else {}
    numbers = {name: figure(name) for name in ("mae", "rmse") if name in scored}
    return {
        **({"multiclass_classification_metrics": classes} if classes else {}),
        **({"regression_metrics": numbers} if numbers else {}),
        "binventory": {
            "bundle": manifest.name,
            "version": manifest.version,
            "licence": manifest.licence,
            "derived_from": list(manifest.derived_from),
            "learnt_from": manifest.learnt_from,
            "figures": manifest.figures,
        },
    }


def facts(manifest: Manifest, digest: str) -> dict[str, str]:
    """What stands beside a version in the registry, as ``CustomerMetadataProperties`` take it."""
    scored = manifest.figures.get("validate", {})
    numbers = {f"validate.{name}": f"{scored[name]:.6g}" for name in _FIGURES if name in scored}
    found = {
        DIGEST: digest,
        "binventory.version": manifest.version,
        "bundle": manifest.name,
        "kind": manifest.kind,
        "licence": manifest.licence,
        **numbers,
    }
    return {key: _STRANGE.sub(" ", value)[:256] or "-" for key, value in found.items()}


def package_request(
    group: str, model: Packed, manifest: Manifest, digest: str, quality: str, sha256: str
) -> dict[str, Any]:
    """``create_model_package``. ``quality``: where the report lies; ``sha256``: of its bytes."""
    container = {"Image": model.image, "ModelDataUrl": model.data}
    if model.environment:
        container["Environment"] = dict(model.environment)  # type: ignore[assignment]
    source = {"ContentType": "application/json", "S3Uri": quality, "ContentDigest": f"sha256:{sha256}"}
    return {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": f"Counts items in photos of bins: bundle {manifest.name}, {manifest.kind}"[:1024],
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": list(ANSWER_TYPES),
            "SupportedRealtimeInferenceInstanceTypes": list(INSTANCES),
            "SupportedTransformInstanceTypes": list(INSTANCES),
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelMetrics": {"ModelQuality": {"Statistics": source}},
        "CustomerMetadataProperties": facts(manifest, digest),
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
    }


def report_bytes(manifest: Manifest) -> bytes:
    """The report as it lies on S3."""
    return json.dumps(report(manifest), indent=1, sort_keys=True).encode() + b"\n"


def registered(
    aws: Session, group: str, model: Packed, manifest: Manifest, digest: str, quality: str, sha256: str,
    tags: list[dict[str, str]],
) -> Version:  # fmt: skip
    """A bundle's version in a group, made where it has none of this content and image yet. Raises as ``told`` does."""
    sagemaker = aws.client("sagemaker")
    what = f"The model {manifest.name} cannot be registered in {group}"
    check_group(group)
    try:
        ask(sagemaker, "describe_model_package_group", what, ModelPackageGroupName=group)
    except MissingError:
        try:
            told = "Models that count items in photos of bins (binventory)"
            ask(sagemaker, "create_model_package_group", what, ModelPackageGroupName=group,
                ModelPackageGroupDescription=told, Tags=tags)  # fmt: skip
        except InputError as error:  # another one was quicker
            if "exist" not in error.why.lower():
                raise
    for version in versions(aws, group):
        found = ask(sagemaker, "describe_model_package", what, ModelPackageName=version.arn)
        containers = found.get("InferenceSpecification", {}).get("Containers", [{}])
        same = found.get("CustomerMetadataProperties", {}).get(DIGEST) == digest
        if same and containers[0].get("Image") == model.image:
            return version
    request = package_request(group, model, manifest, digest, quality, sha256)
    made = ask(sagemaker, "create_model_package", what, **request)
    return _version(ask(sagemaker, "describe_model_package", what, ModelPackageName=made["ModelPackageArn"]))


def versions(aws: Session, group: str, status: Approval | None = None) -> list[Version]:
    """The versions of a group, the newest first. Raises MissingError where there is no such group."""
    only = {"ModelApprovalStatus": status} if status else {}
    found = pages(aws.client("sagemaker"), "list_model_packages", f"The models of {group} cannot be listed",
                  "ModelPackageSummaryList", ModelPackageGroupName=group, SortBy="CreationTime",
                  SortOrder="Descending", **only)  # fmt: skip
    return sorted(map(_version, found), key=lambda version: version.number, reverse=True)


def approved(aws: Session, name: str) -> Version:
    """The version of an ARN, or the newest approved one of a group. Raises InputError where it is not approved."""
    if is_version(name):
        found = _described(aws, name)
        if found.status != "Approved":
            raise InputError(f"{name} may not be deployed", f"it is {_words(found.status)}",
                             f"binventory cloud approve {name}")  # fmt: skip
        return found
    there = versions(aws, _group(name), "Approved")
    there = [one for one in there if one.status == "Approved"]
    if not there:
        raise InputError(f"{name} has no model to deploy", "none of its versions is approved",
                         f"binventory cloud approve {name}")  # fmt: skip
    return there[0]


def move(aws: Session, name: str, to: Approval, why: str) -> Version:
    """Approve or reject the version of an ARN, or the newest of a group that waits. Safe to ask twice.

    Raises InputError where none waits.
    """
    if is_version(name):
        found = _described(aws, name)
    else:
        there = versions(aws, _group(name))
        waiting = [one for one in there if one.status == "PendingManualApproval"]
        if not waiting and there and there[0].status == to:
            return there[0]
        if not waiting:
            raise InputError(f"{name} has no version that waits for approval",
                             "all have been decided" if there else "it has none",
                             "its version's ARN" if there else "binventory cloud deploy --bundle")  # fmt: skip
        found = waiting[0]
    if found.status == to:
        return found
    ask(aws.client("sagemaker"), "update_model_package", f"{found.arn} cannot be moved to {_words(to)}",
        ModelPackageArn=found.arn, ModelApprovalStatus=to, ApprovalDescription=why[:1024])  # fmt: skip
    return _described(aws, found.arn)


def is_version(name: str) -> bool:
    """Whether a name is a version's ARN, not a group's name or ARN."""
    return re.fullmatch(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}:model-package/[a-zA-Z0-9-]+/\d+", name) is not None


def check_group(name: str) -> str:
    """The same name. Raises UsageError for what no group can be called."""
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name):
        raise UsageError(f"A model group cannot be called {name!r}", "names are letters, digits and inner hyphens",
                         "--group bins")  # fmt: skip
    return name


def _group(name: str) -> str:
    return name.rpartition("/")[2] if name.startswith("arn:") else check_group(name)


def _described(aws: Session, arn: str) -> Version:
    what = f"The model {arn} cannot be looked at"
    return _version(ask(aws.client("sagemaker"), "describe_model_package", what, ModelPackageName=arn))


def _version(found: Mapping[str, Any]) -> Version:
    return Version(
        str(found["ModelPackageArn"]),
        str(found.get("ModelPackageGroupName", "")),
        int(found.get("ModelPackageVersion") or 0),
        found.get("ModelApprovalStatus", "PendingManualApproval"),
        found["CreationTime"],
    )


def _words(status: str) -> str:
    return {"PendingManualApproval": "waiting for approval"}.get(status, status.lower())
