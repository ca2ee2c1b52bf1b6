"""What the tests of the cloud share: a SageMaker of our own on loopback beside the real S3 server, and who asks it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binventory.cli import main
from s3server import S3Server
from wire import beside, hosting, packages, transform
from wire.hosting import Hosting
from wire.server import REGION, Wire, serving
from wire.store import Store

ROLE = "arn:aws:iam::123456789012:role/counting"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/binventory:0.1.0"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command has ended, and what it has printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """The wire, the books of what serves, and the environment in which AWS is these."""

    wire: Wire
    books: Hosting
    environment: dict[str, str]
    store: str

    def typed(self, *words: object) -> Done:
        """The command in a process of its own, as its users type it. There is never a traceback."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
            capture_output=True, text=True, check=False, timeout=120, env={**keep, **self.environment},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def run(self, *words: object) -> Done:
        """The command in this process, which spares it its start."""
        out, err, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["binventory", *map(str, words)])
            try:
                main()
            except SystemExit as end:
                status = int(end.code or 0)
        return Done(status, out.getvalue(), err.getvalue())

    def rows(self, *words: object, status: int = 0) -> list[dict[str, Any]]:
        """What the command prints as JSON, a line each."""
        done = self.run(*words, "--json")
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def standing(bucket: S3Server, folder: Path) -> Iterator[Cloud]:
    """A SageMaker, with S3 where the real server is. ``folder``: for caches."""
    environment = {
        "AWS_ENDPOINT_URL_S3": bucket.endpoint, "AWS_ACCESS_KEY_ID": bucket.key,
        "AWS_SECRET_ACCESS_KEY": bucket.secret, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }  # fmt: skip
    with serving() as wire:
        environment["AWS_ENDPOINT_URL"] = wire.endpoint
        books = hosting.install(wire, Store(bucket))
        beside.install(books)
        transform.install(books)
        packages.install(books)
        wire.on("SageMaker.ListTrainingJobs", lambda _: {"TrainingJobSummaries": []})
        yield Cloud(wire, books, environment, f"s3://private/{folder.name}")
