"""A model goes into the registry with its report, waits, is approved, and is deployed from there."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from binventory import objects
from binventory.cloud import contract, registry
from binventory.cloud.endpoint import Packed
from binventory.counting import bundle as bundles
from clouds import IMAGE, ROLE, Cloud

pytestmark = pytest.mark.timeout(300)
DEPLOY = ("cloud", "deploy", "--role", ROLE, "--keep", "--instance", "ml.m5.large")


def test_the_report_has_sagemakers_own_shape_and_our_figures() -> None:
    manifest = bundles.load("abid").manifest
    report = registry.report(manifest)
    accuracy = report["multiclass_classification_metrics"]["accuracy"]
    assert accuracy["value"] == manifest.figures["validate"]["accuracy"]
    assert 0 < accuracy["standard_deviation"] < 0.1
    assert set(report["regression_metrics"]) == {"mae", "rmse"}
    assert report["binventory"]["licence"] == manifest.licence
    request = registry.package_request("bins", Packed(IMAGE, "s3://b/m.tar.gz", {"A": "b"}), manifest, "0" * 16,
                                       "s3://b/e.json", "0" * 64)  # fmt: skip
    assert not list(contract.problems("sagemaker", "CreateModelPackage", request))
    for value in request["CustomerMetadataProperties"].values():
        assert re.fullmatch(r"[\w .:/=+\-@]{1,256}", value)


def test_what_is_deployed_is_registered_once_and_only_what_is_approved_is_deployed_from_there(cloud: Cloud) -> None:
    words = (*DEPLOY, "--bundle", "open", "--name", "one", "--image", IMAGE, "--to", cloud.store, "--group", "bins")
    for _ in range(2):
        done = cloud.run(*words)
        assert done.returncode == 0, done.stderr
        assert "PendingManualApproval" in done.stderr
    ((arn, package),) = cloud.books.packages.items()
    source = package["ModelMetrics"]["ModelQuality"]["Statistics"]
    report = objects.read(source["S3Uri"], 1 << 20)
    assert source["ContentDigest"] == f"sha256:{hashlib.sha256(report).hexdigest()}"
    assert "multiclass_classification_metrics" in json.loads(report)

    from_registry = (*DEPLOY, "--package", "bins", "--name", "two")
    done = cloud.run(*from_registry)
    assert done.returncode == 3
    assert "None of its versions is approved. Try: binventory cloud approve bins" in done.stderr
    for _ in range(2):
        (moved,) = cloud.rows("cloud", "approve", "bins")
        assert moved == {"package": arn, "status": "Approved"}
    done = cloud.run(*from_registry)
    assert done.returncode == 0, done.stderr

    from binventory.cloud import runtime, session

    assert runtime.bundle_of(session.opened(), "two").manifest.name == bundles.load("open").manifest.name
    (moved,) = cloud.rows("cloud", "approve", arn, "--reject")
    assert moved["status"] == "Rejected"
    done = cloud.run(*DEPLOY, "--package", arn, "--name", "three")
    assert done.returncode == 3
    assert "It is rejected" in done.stderr
    assert len(cloud.rows("cloud", "undeploy", "--all")) == 2
