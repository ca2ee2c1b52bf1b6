"""Parquet as tables, by DuckDB. A column is of whole numbers, numbers, yes and no, or, where it is mixed, of text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from binventory.book.exchange.cells import Cell, Line, heading, plain
from binventory.errors import InputError, OutsideError

if TYPE_CHECKING:
    import duckdb

_WHOLE = 2**53
_BATCH = 1_000


def read(data: bytes, name: str) -> Iterator[Line]:
    """The rows of a Parquet file. Raises InputError for what is none."""
    import duckdb

    try:
        with tempfile.TemporaryDirectory() as scratch, _base(scratch) as base:
            file = Path(scratch) / "table.parquet"
            file.write_bytes(data)
            described = base.execute("describe select * from read_parquet(?)", [str(file)]).fetchall()
            columns = heading([column for column, *_ in described], name)
            chosen = ", ".join(_chosen(column, kind) for column, kind, *_ in described)
            answer = base.execute(f"select {chosen} from read_parquet(?)", [str(file)])
            place = 0
            while rows := answer.fetchmany(_BATCH):
                for values in rows:
                    place += 1
                    row = dict(zip(columns, map(plain, values), strict=True))
                    if any(value is not None for value in row.values()):
                        yield place, row
    except (duckdb.Error, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or ["it cannot be read"])[0].replace(str(file), "it")[:200].rstrip(".")
        raise InputError(f"{name} is no Parquet", why, "write it anew") from None


def write(path: Path, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write the rows. Raises OutsideError where the disk fails."""
    import duckdb

    seen: dict[str, set[str]] = {column: set() for column in columns}
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "rows.jsonl"
        with lines.open("wb") as file:  # DuckDB reads lines far faster than parameters
            for row in rows:
                cells = {column: plain(row.get(column)) for column in columns}
                for column, cell in cells.items():
                    if cell is not None:
                        seen[column].add(_kind(cell))
                file.write(msgspec.json.encode(cells) + b"\n")
        kinds = ", ".join(f"{_quoted(column)}: '{_type(kinds)}'" for column, kinds in seen.items())
        table = f"read_json(?, format = 'newline_delimited', columns = {{{kinds}}})"
        try:
            with _base(scratch) as base:
                base.execute(f"copy (select * from {table}) to {_quoted(str(path))} (format parquet)", [str(lines)])
        except duckdb.Error as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise OutsideError(f"{name} cannot be written", reason, "free space on the disk") from None


@contextmanager
def _base(scratch: str) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    base = duckdb.connect(config={"memory_limit": "2GB", "temp_directory": scratch, "threads": 2})
    try:
        base.execute("set enable_progress_bar = false")
        yield base
    finally:
        base.close()


def _chosen(column: str, kind: str) -> str:
    """A column as it is asked for; times of a zone as text in UTC, since Python's would need a library of zones."""
    name = '"' + column.replace('"', '""') + '"'
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%fZ') as {name}"
    return name


def _kind(cell: Cell) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) > _WHOLE:
        return "long" if abs(cell) < 2**63 else "text"
    return {bool: "bool", int: "int", float: "float"}.get(type(cell), "text")


def _type(kinds: set[str]) -> str:
    if kinds == {"bool"}:
        return "BOOLEAN"
    if kinds and kinds <= {"int", "long"}:
        return "BIGINT"
    return "DOUBLE" if kinds and kinds <= {"int", "float"} else "VARCHAR"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
