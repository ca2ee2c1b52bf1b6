"""moto's server on loopback: AWS's books without what they are about."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3server import free_ports

_START_TIMEOUT_S = 60
# Ends the server when its standard input closes, and so with the tests, however they end.
_UNTIL_STDIN_CLOSES = '"$@" & read -r _; kill -KILL $!; wait $!'


@contextmanager
def serving(folder: Path) -> Iterator[str | None]:
    """The server's address until the block ends, or None where it does not come up."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_STDIN_CLOSES, "sh", *command],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        yield endpoint if _comes_up(endpoint) else None
    finally:
        process.communicate()


def _comes_up(endpoint: str) -> bool:
    until = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    return False
