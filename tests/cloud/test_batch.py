"""A batch over photos on S3: really run by the hosting app, gathered in order, never paid for twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from binventory import objects
from binventory.cloud import contract
from binventory.cloud.batch import Batch, answer_of, job_request
from clouds import IMAGE, ROLE, Cloud

pytestmark = pytest.mark.timeout(300)
BATCH = Batch(("s3://b/in/a.jpg", "s3://b/in/d/c.png"), "s3://b/in/", "s3://b/out", "batch-0123456789ab", kms="key")


def test_the_request_is_one_that_the_services_model_takes_and_stays_below_its_hundred_megabytes() -> None:
    request = job_request(BATCH, BATCH.id, "s3://b/out/x.manifest")
    assert not list(contract.problems("sagemaker", "CreateTransformJob", request))
    assert request["MaxPayloadInMB"] * request["MaxConcurrentTransforms"] <= 100


def test_no_key_is_asked_for_disks_that_machines_bring() -> None:
    assert job_request(BATCH, "j", "s3://b/m")["TransformResources"]["VolumeKmsKeyId"] == "key"
    request = job_request(replace(BATCH, instance="ml.g4dn.xlarge"), "j", "s3://b/m")
    assert "VolumeKmsKeyId" not in request["TransformResources"]
    assert request["TransformOutput"]["KmsKeyId"] == "key"


def test_the_manifest_names_what_is_counted_below_its_prefix() -> None:
    assert json.loads(BATCH.manifest) == [{"prefix": "s3://b/in/"}, "a.jpg", "d/c.png"]


@pytest.mark.parametrize("lying", ["s3://b/out/j/d/c.png.out", "s3://b/out/j/in/d/c.png.out"])
def test_an_answer_is_found_where_sagemaker_may_have_put_it(lying: str) -> None:
    assert answer_of("s3://b/in/d/c.png", "s3://b/in/", "s3://b/out/j", frozenset({lying})) == lying


def test_a_batch_counts_as_at_home_tells_what_it_could_not_and_is_paid_once(cloud: Cloud, bins: Path) -> None:
    source = f"{cloud.store}/photos"
    photos = sorted((bins / "bin-images").iterdir())[:4]
    for path in photos:
        objects.write(f"{source}/{path.name}", path.read_bytes())
    objects.write(f"{source}/notes.txt", b"no photo")
    words = ("cloud", "batch", "--bundle", "open", "--from", source, "--to", f"{cloud.store}/out", "--role", ROLE,
             "--image", IMAGE)  # fmt: skip
    near = cloud.rows("count", "--bundle", "open", *photos)
    far = cloud.rows(*words)
    assert [row["photo"] for row in far] == [f"{source}/{path.name}" for path in photos]
    assert [row["count"] for row in far] == [row["count"] for row in near]
    for one, other in zip(far, near, strict=True):  # each alone here, together there
        assert one["probs"] == pytest.approx(other["probs"], abs=1e-4)

    again = cloud.run(*words, "--csv")
    assert again.returncode == 0
    assert len(again.stdout.splitlines()) == 5
    assert len(cloud.books.transforms) == 1

    objects.write(f"{source}/bad.jpg", b"no picture")
    mixed = cloud.rows(*words, status=3)
    assert [row["photo"].rpartition("/")[2] for row in mixed if "error" in row] == ["bad.jpg"]
    assert "See job logs" in mixed[-1]["error"]["why"]
    assert len(mixed) == 5
    cloud.rows(*words, status=3)
    assert len(cloud.books.transforms) == 2
    assert cloud.rows("cloud", "alive")[0]["kind"] == "stored models"


def test_a_batch_that_fails_altogether_is_told(cloud: Cloud) -> None:
    source = f"{cloud.store}/others"
    objects.write(f"{source}/bad.jpg", b"no picture")
    words = ("cloud", "batch", "--bundle", "open", "--to", f"{cloud.store}/out", "--role", ROLE, "--image", IMAGE)
    done = cloud.run(*words, "--from", source)
    assert done.returncode == 4
    assert "ClientError: See job logs" in done.stderr
    assert "/aws/sagemaker/TransformJobs" in done.stderr
    done = cloud.run(
        "cloud", "batch", "--bundle", "open", "--from", f"{source}/none", "--to", cloud.store, "--role", ROLE
    )
    assert done.returncode == 3
    assert "holds no photos" in done.stderr
