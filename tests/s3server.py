"""A real S3 server, SeaweedFS, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT_S = 40
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip

# Ends the server when its standard input closes, and so with the tests, however they end. Its data are thrown away,
# and the sockets that it leaves in /tmp, each named after a port, are removed.
_UNTIL_STDIN_CLOSES = """
"$@" & read -r _; kill -KILL $!; wait $!
for port in $PORTS; do rm -f /tmp/seaweedfs-*-$port.sock; done
"""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server. Everyone may read and list its bucket ``public``; ``private`` wants the credentials."""

    endpoint: str
    key: str
    secret: str


@contextmanager
def serving(weed: Path, folder: Path) -> Iterator[S3Server | None]:
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
    environment["WEED_S3_SSE_KEY"] = "what objects are encrypted with"
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
