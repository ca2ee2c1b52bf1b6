"""From a book's address to a database that can be read and written, and its errors as one sentence each.

An address is a path or ``sqlite:///PATH`` (SQLite), or ``postgresql://USER@HOST/DATABASE`` (psycopg 3). A book that is
not there is made. No message holds a URL's password.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, func, inspect, make_url, pool, select, text

from binventory import objects
from binventory.book import schema
from binventory.errors import BinventoryError, InputError, OutsideError, UsageError

_PATIENCE_S = 60
"""How long a writer waits for the one before it."""
_SILENCE_S = 30
"""How long a writer on PostgreSQL may say nothing, its machine asleep or gone, before the server ends it."""
_LOCK = 0x62696E76
"""What writers on PostgreSQL queue for: one number for the book of a database."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a book is. ``path``: of the file, None on PostgreSQL. ``name``: as people may read it."""

    url: URL
    path: str | None
    name: str


def place(address: str) -> Place:
    """What an address names. Raises UsageError where it is none of a book."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address):
        if not address or "\0" in address:
            raise UsageError("A book's address is empty", "it is a path or a URL", "--book PATH")
        path = os.path.abspath(address)
        return Place(URL.create("sqlite", database=path), path, address)
    try:
        url = make_url(address)
    except (exc.ArgumentError, ValueError):
        raise UsageError("A book's URL cannot be read", f"it begins with {address.partition('://')[0]}://",
                         "postgresql://USER@HOST:PORT/DATABASE") from None  # fmt: skip
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return Place(url, os.path.abspath(url.database), url.database)
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        url = url.set(drivername="postgresql+psycopg")
        return Place(url, None, url.set(drivername="postgresql").render_as_string(hide_password=True))
    raise UsageError(f"{url.get_backend_name()} holds no book", "a book is a SQLite file or on PostgreSQL",
                     "--book PATH, or --book postgresql://USER@HOST/DATABASE")  # fmt: skip


@contextmanager
def connected(place: Place) -> Iterator[Engine]:
    """A database that holds a book, made where there was none, not yet looked at for its version.

    Raises OutsideError where disk or server fail, UsageError where psycopg is missing.
    """
    if place.path is not None:
        if not os.path.lexists(place.path):
            _make(place.path, place.name)
        if not os.path.isfile(place.path):
            raise InputError(f"{place.name} is no book", "it is no regular file", "give another --book")
        if not os.path.getsize(place.path):
            raise InputError(f"{place.name} is empty", "a book never is", "remove it, or give another --book")
    engine = _engine(place)
    with _disposed(engine):
        if place.path is None:
            _fill_empty(engine, place.name)
        yield engine


def refuse_other_versions(engine: Engine, name: str) -> str:
    """The revision of a book, where it is this version's. Raises InputError where it is none, older or newer."""
    found = revision(engine, name)
    if found == schema.REVISIONS[-1]:
        return found
    if found in schema.REVISIONS:
        raise InputError(f"{name} is a book of an older version", f"it stands at {found}, this version at "
                         f"{schema.REVISIONS[-1]}", f"binventory book migrate --book {name}")  # fmt: skip
    raise InputError(f"{name} is a book of a newer version", f"it stands at {found}, this version knows up to "
                     f"{schema.REVISIONS[-1]}", "install that version of binventory")  # fmt: skip


def revision(engine: Engine, name: str) -> str:
    """At which migration a book stands. Raises InputError where the database is no book."""
    with told(name), engine.connect() as connection:
        if not inspect(connection).has_table(schema.VERSIONS):
            raise InputError(f"{name} is no book", "it is another program's database", "give another --book")
        found: str | None = connection.scalar(text(f"SELECT version_num FROM {schema.VERSIONS}"))
        return found or "an unknown one"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction with no other writer beside it, committed where the block ends without an error."""
    # Whatever the server's default is: what stood when the lock was asked for is not what stands when it is had.
    level = {"isolation_level": "READ COMMITTED"} if engine.dialect.name == "postgresql" else {}
    with engine.execution_options(writing=True, **level).begin() as connection:
        if connection.dialect.name == "postgresql":
            silence = func.set_config("idle_in_transaction_session_timeout", f"{_SILENCE_S}s", True)
            connection.execute(select(func.set_config("lock_timeout", f"{_PATIENCE_S}s", True), silence))
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the book as it is now, whatever is entered meanwhile."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


def _engine(place: Place) -> Engine:
    if place.path is None:
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise UsageError(f"{place.name} cannot be opened", "PostgreSQL needs psycopg, which is not installed",
                             "pip install 'binventory[postgres]'") from None  # fmt: skip
        waits: dict[str, object] = {} if "connect_timeout" in place.url.query else {"connect_timeout": 10}
        return create_engine(place.url, connect_args=waits, pool_pre_ping=True)
    engine = create_engine("sqlite://", creator=lambda: _sqlite(place.path or ""), poolclass=pool.QueuePool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        alone = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if alone else "BEGIN")

    return engine


def _sqlite(path: str) -> sqlite3.Connection:
    # mode=rw: a file that has gone is not made anew, empty. isolation_level None: transactions begin as we say.
    connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_PATIENCE_S, isolation_level=None,
                                 check_same_thread=False)  # fmt: skip
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-32768")
    return connection


def _make(path: str, name: str) -> None:
    """Make an empty book beside its place and link it there: two that do so at once end with one whole book."""
    folder = os.path.dirname(path)
    if os.path.lexists(f"{path}-wal") and not os.path.lexists(path):  # SQLite would play it into the new book
        raise InputError(f"{name} has gone", f"its log {name}-wal is still there, with what was entered last",
                         f"put {name} back, or remove the log, too")  # fmt: skip
    full = (errno.ENOSPC, errno.EDQUOT)
    try:
        objects.make_folder(Path(folder))
        with tempfile.TemporaryDirectory(prefix=f".{os.path.basename(path)[:32]}.", dir=folder) as scratch:
            new = os.path.join(scratch, "book")
            engine = _engine(Place(URL.create("sqlite"), new, name))
            with told(name), closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            with told(name), _disposed(engine), writing(engine) as filled:
                _fill(filled)
            with suppress(FileExistsError):
                os.link(new, path)
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    except OSError as error:
        next = "free space on the disk" if error.errno in full else "choose another place: --book PATH"
        raise OutsideError(f"{name} cannot be made", error.strerror or str(error), next) from None


@contextmanager
def _disposed(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


def _fill_empty(engine: Engine, name: str) -> None:
    with told(name):
        with engine.connect() as connection:
            if inspect(connection).get_table_names():
                return
        with writing(engine) as connection:
            if not inspect(connection).get_table_names():
                _fill(connection)


def _fill(connection: Connection) -> None:
    from binventory.book import migrations

    migrations.upgrade(connection)


@contextmanager
def told(name: str) -> Iterator[None]:
    """What databases say, as one sentence for the book's user. Raises OutsideError, or InputError for no book."""
    try:
        yield
    except (exc.DBAPIError, sqlite3.Error) as error:
        cause: Any = error.orig if isinstance(error, exc.DBAPIError) else error
        if isinstance(cause, sqlite3.Error):
            raise _sqlite_said(name, cause) from None
        raise _postgresql_said(name, cause) from None
    except exc.TimeoutError:
        raise OutsideError(f"{name} is busy", "too many ask at once", "try again") from None


def _sqlite_said(name: str, error: sqlite3.Error) -> BinventoryError:
    code = getattr(error, "sqlite_errorname", None) or ""
    why = str(error) or code
    if code.startswith("SQLITE_FULL"):
        return OutsideError(f"{name} cannot be written", "the disk is full", "free space on the disk")
    if code.startswith("SQLITE_READONLY"):
        return OutsideError(f"{name} cannot be written", "it or its disk is read-only", "check its rights and its disk")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return OutsideError(f"{name} is locked", "another program has been writing for a minute", "end it, or wait")
    if code.startswith("SQLITE_NOTADB"):
        return InputError(f"{name} is no book", "it is no SQLite file", "give another --book")
    if code.startswith("SQLITE_CORRUPT"):
        return InputError(f"{name} is damaged", why, "binventory book restore BACKUP --book NEW")
    if code.startswith("SQLITE_CANTOPEN"):
        return OutsideError(f"{name} cannot be opened", "its disk or its folder's rights refuse",
                            "check that its folder can be written")  # fmt: skip
    return OutsideError(f"{name} cannot be used", why, "free space on its disk, or check it")


_STATES = {
    "53100": ("the server's disk is full", "free space there"),
    "53300": ("the server has too many connections", "try again"),
    "25P03": ("this writer was silent for too long", "try again"),
    "25006": ("the server takes no writes", "give the address of the primary"),
    "42501": ("its user lacks the rights", "have them granted by its owner"),
    "55P03": ("another program has been writing for a minute", "end it, or wait"),
}


def _postgresql_said(name: str, error: Any) -> BinventoryError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = re.sub(r"^.*?(FATAL|ERROR):\s*", "", lines[0] if lines else type(error).__name__)
    unknown = (said, "check that the server runs, and its address")
    why, next = _STATES.get(getattr(error, "sqlstate", None) or "", unknown)
    return OutsideError(f"{name} cannot be used", why.rstrip("."), next)
