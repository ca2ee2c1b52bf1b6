"""What the tests of the cloud share: a SageMaker of our own on loopback beside the real S3 server, and who asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s3server import S3Server
from wire import hosting
from wire.hosting import Hosting
from wire.server import REGION, Wire, serving

ROLE = "arn:aws:iam::123456789012:role/counting"


@dataclass(frozen=True, slots=True)
class Cloud:
    """The wire, the books of what serves, and the environment in which AWS is these."""

    wire: Wire
    books: Hosting
    environment: dict[str, str]
    store: str

    def run(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """The command as its users type it. Whatever happens, there is never a traceback."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
            capture_output=True, text=True, check=False, timeout=120, env={**keep, **self.environment, **more},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def rows(self, *words: object, status: int = 0) -> list[dict[str, Any]]:
        """What the command prints as JSON, a line each."""
        done = self.run(*words, "--json")
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def cloud(bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A SageMaker for a module's tests, with S3 where the real server is."""
    environment = {
        "AWS_ENDPOINT_URL_S3": bucket.endpoint, "AWS_ACCESS_KEY_ID": bucket.key,
        "AWS_SECRET_ACCESS_KEY": bucket.secret, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cloud-cache")),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, serving() as wire:
        environment["AWS_ENDPOINT_URL"] = wire.endpoint
        books = hosting.install(wire)
        wire.on("SageMaker.ListTrainingJobs", lambda request: {"TrainingJobSummaries": []})
        for name, value in environment.items():
            patch.setenv(name, value)
        yield Cloud(wire, books, environment, f"s3://private/{tmp_path_factory.mktemp('store').name}")


@pytest.fixture(autouse=True)
def no_cloud_account() -> None:
    """In place of the fixture of this name for all tests: the module's fixture says where AWS is."""


@pytest.fixture(scope="module")
def site(bins: Path, tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Path:
    """A bundle that has learnt from some of the drawn bins."""
    out = tmp_path_factory.mktemp("made") / "site"
    work = tmp_path_factory.mktemp("site-work")
    done = cloud.run("train", "--data", bins, "--from", "open", "--work", work, "--out", out, "--json",
                     "--set", "split.train=0.5", "--set", "split.validate=0.15", "--set", "split.calibrate=0.15",
                     "--set", "split.test=0.2", "--set", "quick.ridge=[0.001,0.0003]")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out
