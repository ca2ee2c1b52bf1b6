"""The model registry of the wire: groups, their versions, and approval."""

from __future__ import annotations

from typing import Any

from wire.hosting import Hosting, locked, missing, new, now, remember
from wire.server import RefusalError, arn, paged


def install(books: Hosting) -> None:
    """Let the wire answer for the registry."""
    for name, answer in (
        ("CreateModelPackageGroup", _create_group), ("DescribeModelPackageGroup", _describe_group),
        ("CreateModelPackage", _create_package), ("DescribeModelPackage", _describe_package),
        ("ListModelPackages", _list_packages), ("UpdateModelPackage", _update_package),
    ):  # fmt: skip
        books.wire.on(f"SageMaker.{name}", locked(books, answer))


def _create_group(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelPackageGroupName"]
    new(books.groups, "model-package-group", name)
    books.groups[name] = request
    remember(books, arn("model-package-group", name), request)
    return {"ModelPackageGroupArn": arn("model-package-group", name)}


def _describe_group(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelPackageGroupName"]
    if name not in books.groups:
        raise _no_group(name)
    return {
        "ModelPackageGroupName": name, "ModelPackageGroupArn": arn("model-package-group", name), "CreationTime": now(),
        "CreatedBy": {}, "ModelPackageGroupStatus": "Completed",
    }  # fmt: skip


def _no_group(name: str) -> RefusalError:
    place = arn("model-package-group", name)
    return RefusalError("ValidationException", f"ModelPackageGroup {place} does not exist.")


def _create_package(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    group = request["ModelPackageGroupName"]
    if "Tags" in request:
        raise RefusalError("ValidationException", "Tags are not supported for versioned model packages.")
    if group not in books.groups:
        raise missing("model-package-group", group)
    number = 1 + sum(one["ModelPackageGroupName"] == group for one in books.packages.values())
    place = arn("model-package", f"{group}/{number}")
    books.packages[place] = {
        **request, "ModelPackageArn": place, "ModelPackageVersion": number, "CreationTime": now(),
        "ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []},
    }  # fmt: skip
    return {"ModelPackageArn": place}


def _describe_package(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    place = request["ModelPackageName"]
    if place not in books.packages:
        raise RefusalError("ValidationException", f"ModelPackage {place} does not exist.")
    return books.packages[place]


def _list_packages(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    group, status = request.get("ModelPackageGroupName"), request.get("ModelApprovalStatus")
    if group not in books.groups:
        raise _no_group(str(group))
    keys = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime", "ModelPackageStatus",
            "ModelApprovalStatus")  # fmt: skip
    rows = [{key: one[key] for key in keys} for one in books.packages.values()
            if one["ModelPackageGroupName"] == group and status in (None, one["ModelApprovalStatus"])]  # fmt: skip
    if request.get("SortOrder") == "Descending":
        rows.reverse()
    return paged(rows, request, "ModelPackageSummaryList")


def _update_package(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    found = _describe_package(books, {"ModelPackageName": request["ModelPackageArn"]})
    found.update({key: value for key, value in request.items() if key != "ModelPackageArn"})
    return {"ModelPackageArn": request["ModelPackageArn"]}
