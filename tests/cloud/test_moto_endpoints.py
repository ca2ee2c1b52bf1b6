"""The same verbs against moto's server, whose books are another's than our own wire's.

What moto does not do: nothing runs (an endpoint is InService and a batch Completed at once, without answers; the
runtime answers text, and no photo, with a fixed word), ``update_endpoint``, ``list_apps`` and
``list_mlflow_tracking_servers`` are not there,
``list_models`` filters nothing, names may be taken twice, instances of the last years are not known, and approving a
version empties its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from binventory import objects
from binventory.cloud import runtime, session
from clouds import IMAGE, ROLE, Cloud
from s3server import free_ports
from wire.hosting import Hosting
from wire.server import REGION, Wire

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Where moto's server listens."""
    from moto.server import ThreadedMotoServer

    (port,) = free_ports(1)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def books(moto: str, no_cloud_account: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A SageMaker that keeps books, with an empty bucket."""
    import boto3

    environment = {
        "AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(session, "ATTEMPTS", 1)  # what is not there does not come by asking again
    bucket = f"b{tmp_path.name.lower().replace('_', '-')[-40:]}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    nothing = Wire(moto)
    return Cloud(nothing, Hosting(nothing, None), environment, f"s3://{bucket}/x")  # type: ignore[arg-type]


def deploy(cloud: Cloud, *more: object) -> tuple[object, ...]:
    return ("cloud", "deploy", "--bundle", "open", "--name", "bins", "--role", ROLE, "--image", IMAGE, "--to",
            cloud.store, "--instance", "ml.m5.large", *more)  # fmt: skip


def test_an_endpoint_goes_through_its_states_in_motos_books(books: Cloud) -> None:
    (up,) = books.rows(*deploy(books, "--stop-after", "8h", "--scheduler-role", ROLE, "--max", "3"))
    assert up["outcome"] == "made"
    assert up["ended_by_aws"]
    (same,) = books.rows(*deploy(books, "--stop-after", "9h", "--scheduler-role", ROLE, "--max", "3"))
    assert same["outcome"] == "same"
    assert same["stop"] > up["stop"]

    done = books.run("cloud", "alive", "--json")
    assert done.stderr.count("cost is not known") == 2
    costs = {row["kind"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert costs["endpoint"]["month"] == pytest.approx(100.74)
    assert costs["endpoint"]["stop"] == same["stop"]
    assert costs["stored models"]["size"].endswith(" GB")

    assert runtime.sender(session.opened(), "bins")(b'{"photo": "a.jpg"}') == b"body"

    done = books.run(*deploy(books, "--keep", "--kms-key", "another"))
    assert done.returncode in (3, 4)
    assert done.stderr.splitlines()[-1].startswith("error: The endpoint bins cannot be updated. ")

    (down,) = books.rows("cloud", "undeploy", "bins")
    assert {"endpoint bins", "its schedule", "its scaling"} <= set(down["removed"])
    assert not down["left"]
    assert not books.run("cloud", "alive", "--json").stdout


def test_a_version_is_approved_and_deployed_in_motos_books(books: Cloud) -> None:
    done = books.run(*deploy(books, "--keep", "--group", "counting"))
    assert done.returncode == 0, done.stderr
    (moved,) = books.rows("cloud", "approve", "counting")
    assert moved["status"] == "Approved"
    (up,) = books.rows("cloud", "deploy", "--package", "counting", "--name", "other", "--role", ROLE, "--keep",
                        "--instance", "ml.m5.large")  # fmt: skip
    assert up["outcome"] == "made"
    assert [row["endpoint"] for row in books.rows("cloud", "undeploy", "--all")] == ["bins", "other"]


def test_a_batch_is_booked_and_has_no_answers_in_motos_books(books: Cloud, bins: Path) -> None:
    photo = next((bins / "bin-images").iterdir())
    objects.write(f"{books.store}/in/a.jpg", photo.read_bytes())
    rows = books.rows("cloud", "batch", "--bundle", "open", "--from", f"{books.store}/in", "--to",
                      f"{books.store}/out", "--role", ROLE, "--image", IMAGE, status=3)  # fmt: skip
    assert [row["error"]["why"] for row in rows] == ["the job has left no answer for it"]


def test_a_bucket_that_is_missing_is_told(books: Cloud) -> None:
    done = books.run(*(word if word != books.store else "s3://nowhere-at-all/x" for word in deploy(books, "--keep")))
    assert done.returncode == 3
    assert "the bucket nowhere-at-all does not exist" in done.stderr.lower()
