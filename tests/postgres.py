"""A real PostgreSQL server on loopback, from the system's packages."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from binventory.book.store import opened
from s3server import free_ports

MISSING = "no PostgreSQL server can be had"
PASSWORD = "a-password-to-be-kept"
_START_TIMEOUT_S = 40

# Ends the server when its standard input closes, and so with the tests, however they end. Its data are thrown away.
_UNTIL_STDIN_CLOSES = '"$@" & read -r _; kill -QUIT $!; wait $!'


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server, and where it keeps its socket."""

    port: int
    folder: Path
    numbers: Iterator[int]

    def url(self, name: str, password: str = PASSWORD) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{name}"

    def database(self, template: str = "template0") -> str:
        """The address of a new database, a copy of ``template``."""
        import psycopg

        name = f"book{next(self.numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)


def binaries() -> Path | None:
    """Where ``initdb`` and ``postgres`` are, the newest first."""
    named = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: -float(place.parent.name))
    return next((place for place in [*places, *([Path(named).parent] if named else [])]
                 if (place / "initdb").exists()), None)  # fmt: skip


@contextmanager
def serving(binaries: Path) -> Iterator[Postgres | None]:
    """A server with a database ``made``, an empty book, or None where it does not come up."""
    root = os.geteuid() == 0  # whom PostgreSQL does not run as
    folder = Path(tempfile.mkdtemp(prefix="binventory-pg-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if root:
            postgres = pwd.getpwnam("postgres")
            for place in (folder, folder / "password"):
                os.chown(place, postgres.pw_uid, postgres.pw_gid)
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
             "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **user,  # type: ignore[call-overload]
        )  # fmt: skip
        (port,) = free_ports(1)
        command = [binaries / "postgres", "-D", folder / "data", "-p", str(port),
                   "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
                   "-c", "fsync=off", "-c", "max_connections=60"]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                ["sh", "-c", _UNTIL_STDIN_CLOSES, "sh", *command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True, **user,
            )  # type: ignore[call-overload]  # fmt: skip
        try:
            server = Postgres(port, folder, count())
            yield server if _comes_up(server) else None
        finally:
            process.communicate()
    except (OSError, KeyError, subprocess.CalledProcessError):
        yield None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _comes_up(server: Postgres) -> bool:
    import psycopg

    until = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < until:
        with suppress(psycopg.Error):
            with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE made TEMPLATE template0")
            with opened(server.url("made"), str(server.folder)):
                return True
        time.sleep(0.1)
    return False
