"""Servers that answer ``/ping`` and ``/invocations``: ours, and a handler-based one with ``inference.py``."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from binventory.service import hosting
from binventory.service.engine import Engine
from binventory.service.hosting import Limits

ROOT = Path(__file__).parent.parent
PHOTOS = Path(__file__).parent / "photos"
LINES = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
JPEG = {"Content-Type": "image/jpeg"}
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 40


@dataclass(frozen=True, slots=True)
class Host:
    """A running server. ``log``: what it says on stdout and stderr."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The answer to a request for counts."""
        return httpx.post(f"{self.url}/invocations", content=body, headers=dict(headers), timeout=60)

    def send(self, body: bytes) -> bytes:
        """What ``Remote`` wants: a body of JSON lines for another."""
        answer = self.post(body, LINES)
        assert answer.status_code == 200, answer.text
        return answer.content

    def ping(self) -> httpx.Response:
        """What the server says of its health."""
        return httpx.get(f"{self.url}/ping", timeout=10)

    def comes_up(self) -> None:
        """Wait until a ping is answered with 200."""
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(httpx.TransportError):
                if self.ping().status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the server does not come up:\n{self.log.read_text(errors='replace')[-3000:]}")


@contextmanager
def hosted(folder: Path, *options: object, environment: Mapping[str, str] | None = None) -> Iterator[Host]:
    """``binventory serve --hosting`` on a free port of loopback, as its users start it; it may not be healthy yet."""
    log = folder / "serve.log"
    command = [sys.executable, "-W", "error", "-m", "binventory", "serve", "--port", "0", *map(str, options)]
    given = {**os.environ, "BINVENTORY_HOSTING": "1", **(environment or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=given)
    try:
        yield Host(_said(log, process), process, log)
    finally:
        _stop(process)


def _said(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that the server says it serves on."""
    until = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("serving on "):
                return line.removeprefix("serving on ")
        time.sleep(0.02)
    raise AssertionError(f"the server does not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def hosted_here(engine: Engine, limits: Limits) -> Iterator[str]:
    """The hosting application on a thread of this process, for engines that no bundle could be."""
    listening = hosting.listen("127.0.0.1", 0)
    server = hosting.server(engine, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _registered_ports(number: int) -> list[int]:
    """Free ports of loopback below 49152: multi-model-server refuses those that the system hands out."""
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


@contextmanager
def handler_based(folder: Path, bundle: Path) -> Iterator[Host]:
    """multi-model-server with the toolkit's handler and our ``inference.py`` beside a bundle, as in ``model.tar.gz``.

    Its own launcher would listen on all addresses; the configuration here keeps it to loopback.
    """
    import sagemaker_inference

    settings = Path(sagemaker_inference.__file__).parent / "etc"
    model, scratch = folder / "model", folder / "tmp"
    shutil.copytree(bundle, model, ignore=shutil.ignore_patterns("__*"))
    shutil.copytree(ROOT / "sagemaker" / "code", model / "code")
    scratch.mkdir()
    inference, management = _registered_ports(2)
    (folder / "mms.properties").write_text(
        (settings / "default-mms.properties").read_text() + "\n"
        "default_service_handler=sagemaker_inference.default_handler_service\n"
        "default_workers_per_model=1\nnumber_of_netty_threads=2\nvmargs=-Xmx256m -XX:-UseContainerSupport\n"
        f"inference_address=http://127.0.0.1:{inference}\nmanagement_address=http://127.0.0.1:{management}\n"
    )
    environment = {
        **os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "SAGEMAKER_PROGRAM": "inference.py",
        "LOG_LOCATION": str(folder / "logs"), "METRICS_LOCATION": str(folder / "logs"),
        "PYTHONPATH": os.pathsep.join([str(model / "code"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    command = [
        str(Path(sys.executable).parent / "multi-model-server"), "--start", "--foreground", "--model-store", "/",
        "--mms-config", str(folder / "mms.properties"), "--log-config", str(settings / "log4j2.xml"),
        "--models", f"model={model}",
    ]  # fmt: skip
    log = folder / "mms.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    host = Host(f"http://127.0.0.1:{inference}", process, log)
    try:
        host.comes_up()
        yield host
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the frontend is Java's, its workers Python's: all of them
        process.wait()
