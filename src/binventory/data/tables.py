"""The catalogue's tables, and the one DuckDB file of the work folder that holds them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from binventory import objects
from binventory.errors import InputError, OutsideError, UsageError

FILE = "catalogue.duckdb"
FORMAT = 5
"""Raised when the tables or what a look finds change: all but what is ``LASTING`` is then made anew."""

TABLES = {
    "photos": "id text primary key, source text, address text, sha256 text, width int, height int, "
    "likeness text, brightness double, contrast double, sharpness double, count int, counted_by text, "
    "has_record bool, flags text[]",
    "records": "id text, address text, photo bool, quantity int, flags text[]",
    "items": "id text, sku text, asin text, name text, quantity bigint, height double, length double, "
    "width double, weight double",
    "carried": "id text, line int, quantity bigint, height double, length double, width double, weight double",
    "rejects": "id text, address text, what text, why text, next text",
    "notes": "note text",
    "links": "one text, other text, why text",
    "runs": "id text, run text",
    "sides": "id text primary key, side text, reason text",
    "cleaned": "id text, rule text, reason text",
}
"""What ``binventory sql`` can ask. ``records`` holds one record an id, ``photo`` whether its photo is there, too;
``items`` their lines, in inches and pounds, and ``carried`` those that shards tell of, which name no article; ``count``
is null where no label is known. ``cleaned`` holds what is left out of learning, once for each rule that rejects it."""

LASTING = {"sides", "cleaned"}
"""What was decided, and outlives a change of format."""

KEPT = {
    "looks": "address text, stamp text, sha256 text, width int, height int, likeness text, brightness double, "
    "contrast double, sharpness double, what text, why text, next text",
    "reads": "address text, stamp text, quantity int, flags text[], products text[], what text, why text, next text",
    "lines": "address text, sku text, asin text, name text, quantity bigint, height double, length double, "
    "width double, weight double",
    "registrations": "one text, other text, agreement double",
    "shards": "address text, manifest text",
}
"""What was found in a file or a pair of them, kept so that it is not looked for again; ``shards`` says which manifest's
cleaning was taken over."""


def query(work: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of a query; the catalogue itself cannot be changed by it. Raises UsageError."""
    with opened(work, read_only=True) as base, _sql_told():
        base.execute("set enable_external_access = false")
        answer = base.sql(sql)
        if answer is None:
            raise _asks_nothing()
        return list(answer.columns), answer.fetchall()


def export(work: Path, sql: str, path: Path) -> None:
    """Write a query's answer as Parquet. Raises UsageError for a query that does not run."""
    with opened(work, read_only=True) as base, objects.replacing(path) as temporary, _sql_told():
        quoted = str(temporary).replace("'", "''")
        base.execute(f"set allowed_paths = ['{quoted}']")
        base.execute("set enable_external_access = false")
        answer = base.sql(sql)
        if answer is None:
            raise _asks_nothing()
        answer.write_parquet(str(temporary))


def _asks_nothing() -> UsageError:
    return UsageError("The query does not run", "it asks nothing", f"a select over {', '.join(TABLES)}")


@contextmanager
def opened(work: Path, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """The work folder's database, its tables there. Raises InputError where none is to be read, OutsideError where the
    disk fails or another process writes to it."""
    path = work / FILE
    if read_only and not path.is_file():
        raise InputError(f"{work} holds no catalogue", f"there is no {FILE} in it", "binventory catalogue --data DIR")
    try:
        work.mkdir(parents=True, exist_ok=True)
        base = duckdb.connect(str(path), read_only=read_only)
    except (duckdb.Error, OSError) as error:
        busy = "lock" in str(error)
        why = "another binventory is writing to it" if busy else str(error).splitlines()[0]
        next = "wait for it to end" if busy else "look at the file; another --work begins anew, without its sides"
        raise OutsideError(f"{path} cannot be opened", why, next) from None
    try:
        if not read_only:
            _make_tables(base)
        elif _format_of(base) != FORMAT:
            raise InputError(f"{path} is of another version", f"its format is not {FORMAT}",
                             "binventory catalogue --data DIR brings it up to date and keeps its sides")  # fmt: skip
        yield base
    except (duckdb.Error, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0].rstrip(".")
        done = "read" if read_only else "written"
        raise OutsideError(f"{path} cannot be {done}", reason, "free space on the disk, and run it again") from None
    finally:
        base.close()


def _format_of(base: duckdb.DuckDBPyConnection) -> int | None:
    """The format of the tables, None where there are none."""
    if not base.execute("select 1 from information_schema.tables where table_name = 'format'").fetchall():
        return None
    row = base.execute("select number from format").fetchone()
    return row[0] if row else None


def _make_tables(base: duckdb.DuckDBPyConnection) -> None:
    base.execute("create table if not exists format (number int)")
    if _format_of(base) != FORMAT:
        base.begin()
        for table in (TABLES | KEPT).keys() - LASTING:
            base.execute(f"drop table if exists {table}")
        base.execute("delete from format")
        base.execute("insert into format values (?)", [FORMAT])
        base.commit()
    for table, columns in (TABLES | KEPT).items():
        base.execute(f"create table if not exists {table} ({columns})")


@contextmanager
def _sql_told() -> Iterator[None]:
    try:
        yield
    except duckdb.IOException:
        raise  # the disk's trouble, not the query's
    except duckdb.Error as error:
        if "pytz" in str(error):
            raise UsageError(
                "The query does not run", "it answers with times of a zone", "cast them: ::timestamp"
            ) from None
        tables = ", ".join(TABLES)
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UsageError("The query does not run", reason, f"a select over {tables}") from None


def insert(base: duckdb.DuckDBPyConnection, table: str, rows: Iterable[object]) -> None:
    """Insert records by column name. By way of a file of JSON lines, which DuckDB reads far faster than parameters."""
    columns = {name: kind for name, kind, *_ in base.execute(f"describe {table}").fetchall()}
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        encode = msgspec.json.Encoder().encode
        written = 0
        for row in rows:
            file.write(encode(row) + b"\n")
            written += 1
        file.flush()
        if written:
            names = ", ".join(columns)
            base.execute(
                f"insert into {table} ({names}) select {names} from "
                f"read_json(?, format='newline_delimited', columns={columns}, maximum_object_size=67108864)",
                [file.name],
            )


def replace(base: duckdb.DuckDBPyConnection, table: str, rows: Iterable[object]) -> None:
    """Fill a table anew: a fresh one, since emptying and refilling a keyed one in a transaction trips its index."""
    base.execute(f"create or replace table {table} ({TABLES[table]})")
    insert(base, table, rows)
