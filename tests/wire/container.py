"""The container of a model: its archive unpacked as SageMaker does at /opt/ml/model, and our hosting app over it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3server import free_ports
from wire.server import Reply

if TYPE_CHECKING:
    from wire.hosting import Hosting

_READY_S = 60


@dataclass(slots=True)
class Container:
    """A running hosting app, over a folder into which the model's archive was unpacked."""

    folder: tempfile.TemporaryDirectory[str]
    process: subprocess.Popen[bytes]
    port: int

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """What the app answers, whatever its status. Raises OSError where it does not."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, dict(headers or {}), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Reply(answer.read(), answer.status, {"Content-Type": answer.headers.get("Content-Type", "")})
        except urllib.error.HTTPError as error:
            return Reply(error.read(), error.code, {"Content-Type": error.headers.get("Content-Type", "")})

    def healthy(self) -> bool:
        """Whether ``/ping`` says 200."""
        try:
            return self.call("GET", "/ping").status == 200
        except OSError:
            return False

    def end(self) -> None:
        """End it as SageMaker does: SIGTERM, and SIGKILL where that does not do."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.folder.cleanup()


def stood_up(
    books: Hosting, model: Mapping[str, Any], more: Mapping[str, str] | None = None
) -> tuple[Container | None, str]:
    """The container of a model, up and healthy; or None, and why. ``more``: what a batch adds to its environment."""
    given = model["PrimaryContainer"]
    if package := given.get("ModelPackageName"):
        given = books.packages[package]["InferenceSpecification"]["Containers"][0]
    folder = tempfile.TemporaryDirectory(prefix="binventory-endpoint-")
    with tarfile.open(fileobj=io.BytesIO(books.store.read(given["ModelDataUrl"])), mode="r:gz") as archive:
        archive.extractall(folder.name, filter="data")
    if given["Image"] in books.broken:
        folder.cleanup()
        return None, "The primary container for production variant AllTraffic did not pass the ping health check."
    process, port = _serve(folder.name, {**given.get("Environment", {}), **(more or {})})
    container = Container(folder, process, port)
    until = time.monotonic() + _READY_S
    while time.monotonic() < until and process.poll() is None:
        if container.healthy():
            return container, ""
        time.sleep(0.1)
    container.end()
    return None, "The primary container for production variant AllTraffic did not pass the ping health check."


def _serve(model: str, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    (port,) = free_ports(1)
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SM_", "SAGEMAKER_"))}
    command = [sys.executable, "-m", "binventory", "serve", "--hosting", "--bundle", model, "--host", "127.0.0.1",
               "--port", str(port)]  # fmt: skip
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env={**keep, **environment}, stdout=quiet, stderr=quiet, start_new_session=True)
    return process, port
