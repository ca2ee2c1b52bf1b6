"""The catalogue: every photo, record, run and side of one or more sources, in one DuckDB file of the work folder.

The data folders are only read. Photos already looked at are not opened again; sides, once given, stay.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from binventory import objects, photo
from binventory.data import layout, links, merge, split
from binventory.data.layout import Found, Reject, Source
from binventory.data.links import Link
from binventory.data.merge import Entry, Look
from binventory.data.split import Placement
from binventory.errors import BinventoryError, InputError, OutsideError, UsageError
from binventory.flow import Track, ahead, chunks, untracked
from binventory.recipe import LinkRecipe, SplitRecipe
from binventory.records import BinRecord

FILE = "catalogue.duckdb"
FORMAT = 2
"""Raised when the tables or what a look finds change: all but the sides is then made anew."""

TABLES = {
    "looks": "address text primary key, stamp text, sha256 text, width int, height int, likeness text, "
    "what text, why text, next text",
    "registrations": "one text, other text, agreement double, primary key (one, other)",
    "photos": "id text primary key, source text, address text, sha256 text, width int, height int, "
    "likeness text, count int, counted_by text, has_record bool, flags text[]",
    "items": "id text, sku text, asin text, name text, quantity bigint, height double, length double, "
    "width double, weight double",
    "rejects": "id text, address text, what text, why text, next text",
    "notes": "note text",
    "links": "one text, other text, why text",
    "runs": "id text primary key, run text",
    "sides": "id text primary key, side text, reason text",
}
"""What ``binventory sql`` can ask. ``items`` are inches and pounds; ``count`` is null where no label is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photo as learning meets it. ``count`` None: not labelled. ``side`` "": not split yet."""

    id: str
    address: str
    sha256: str
    likeness: str
    count: int | None
    run: str
    side: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a work folder holds, read: photos by id, the links between them, what was refused, and what to know."""

    work: Path
    rows: tuple[Row, ...]
    links: tuple[Link, ...]
    rejects: tuple[Reject, ...]
    notes: tuple[str, ...] = ()

    def side(self, name: str) -> tuple[Row, ...]:
        """The labelled photos of a side."""
        return tuple(row for row in self.rows if row.side == name and row.count is not None)


def work_for(sources: Sequence[str]) -> Path:
    """The default work folder: in the user's cache, named by the resolved sources, whatever they hold."""
    from platformdirs import user_cache_path

    places = sorted(_resolved(sources))
    key = hashlib.sha256("\n".join(places).encode()).hexdigest()[:12]
    return user_cache_path("binventory") / "work" / f"{Path(places[0]).name}-{key}"


def build(sources: Sequence[str], work: Path, recipe: LinkRecipe, track: Track = untracked) -> Catalogue:
    """Catalogue the sources into ``work``: list, look at new photos, merge, link. Safe to kill and run again.

    Raises InputError where a source is no folder or holds no photo, OutsideError where the disk or S3 fails.
    """
    scanned = [layout.scan(one) for one in _resolved(sources)]
    with _database(work) as base:
        looks = _look(base, [found for source in scanned for found in source.photos], track)
        records, record_rejects = _read_records(scanned, track)
        entries, rejects = merge.merge(scanned, looks, records)
        found = _link(base, entries, records, recipe, track)
        run_of = links.runs((entry.id for entry in entries), found)
        base.begin()
        _replace(base, "photos", entries)
        _replace(base, "items", _items(entries, records))
        _replace(base, "rejects", map(_reject_row, (*record_rejects, *rejects)))
        _replace(base, "notes", ({"note": note} for note in map(_labels_without_photos, scanned) if note))
        _replace(base, "links", found)
        _replace(base, "runs", ({"id": id, "run": run} for id, run in run_of.items()))
        base.commit()
    return read(work)


def _resolved(sources: Sequence[str]) -> list[str]:
    """The sources as whole addresses, each once, in the order given."""
    return list(dict.fromkeys(one if objects.is_remote(one) else str(Path(one).resolve()) for one in sources))


def split_sides(
    catalogue: Catalogue, shares: SplitRecipe, seed: int, hold_out: Sequence[str] = (), given: Mapping[str, str] = {}
) -> Catalogue:
    """Give every photo its side and store it. ``given``: sides chosen elsewhere, for photos that have none yet.

    Raises LeakError where the given sides leak or a held-out photo was learnt from, UsageError for an unknown side.
    """
    ids = [row.id for row in catalogue.rows]
    known = set(ids)
    unknown = sorted(set(given.values()) - {*split.SIDES, split.HELD})
    if unknown:
        raise UsageError(f"Side {unknown[0]!r} does not exist", "a photo has one side", ", ".join(split.SIDES))
    with _database(catalogue.work) as base:
        stored = {
            id: Placement(side, reason)
            for id, side, reason in base.execute("select id, side, reason from sides").fetchall()
        }
        for id, side in given.items():
            if id in known:
                stored.setdefault(id, Placement(side, "given"))
        if given:
            touched = [link for link in catalogue.links if link.one in given or link.other in given]
            split.refuse_leaks(touched, {id: one.side for id, one in stored.items() if id in known})
        placed = split.place(ids, catalogue.links, stored, shares, seed, [id for id in hold_out if id in known])
        split.refuse_leaks(catalogue.links, {id: one.side for id, one in placed.items()})
        base.begin()
        base.execute("create temp table placed (id text, side text, reason text)")
        _insert(base, "placed", ({"id": id, "side": one.side, "reason": one.reason} for id, one in placed.items()))
        base.execute("insert or replace into sides select id, side, reason from placed")
        base.commit()
    return read(catalogue.work)


def read(work: Path) -> Catalogue:
    """The catalogue that a work folder holds. Raises InputError where there is none."""
    with _database(work, read_only=True) as base:
        rows = base.execute(
            "select id, address, sha256, likeness, count, run, coalesce(side, '') from photos join runs using (id) "
            "left join sides using (id) order by id"
        ).fetchall()
        found = base.execute("select one, other, why from links order by all").fetchall()
        rejects = base.execute("select id, address, what, why, next from rejects order by all").fetchall()
        notes = base.execute("select note from notes").fetchall()
    return Catalogue(
        work,
        tuple(Row(*row) for row in rows),
        tuple(Link(*link) for link in found),
        tuple(Reject(id, address, InputError(*error)) for id, address, *error in rejects),
        tuple(note for (note,) in notes),
    )


def query(work: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of a query; the catalogue itself cannot be changed by it. Raises UsageError."""
    with _database(work, read_only=True) as base, _sql_told():
        base.execute("set enable_external_access = false")
        answer = base.sql(sql)
        if answer is None:
            raise _asks_nothing()
        return list(answer.columns), answer.fetchall()


def export(work: Path, sql: str, path: Path) -> None:
    """Write a query's answer as Parquet. Raises UsageError for a query that does not run."""
    with _database(work, read_only=True) as base, objects.replacing(path) as temporary, _sql_told():
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
def _database(work: Path, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
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
        yield base
    except (duckdb.Error, MemoryError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0].rstrip(".")
        done = "read" if read_only else "written"
        raise OutsideError(f"{path} cannot be {done}", reason, "free space on the disk, and run it again") from None
    finally:
        base.close()


def _make_tables(base: duckdb.DuckDBPyConnection) -> None:
    base.execute("create table if not exists format (number int)")
    if base.execute("select number from format").fetchall() != [(FORMAT,)]:
        base.begin()
        for table in TABLES.keys() - {"sides"}:
            base.execute(f"drop table if exists {table}")
        base.execute("delete from format")
        base.execute("insert into format values (?)", [FORMAT])
        base.commit()
    for table, columns in TABLES.items():
        base.execute(f"create table if not exists {table} ({columns})")


@contextmanager
def _sql_told() -> Iterator[None]:
    try:
        yield
    except duckdb.IOException:
        raise  # the disk's trouble, not the query's
    except duckdb.Error as error:
        tables = ", ".join(TABLES)
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UsageError("The query does not run", reason, f"a select over {tables}") from None


def _insert(base: duckdb.DuckDBPyConnection, table: str, rows: Iterable[object]) -> None:
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


def _replace(base: duckdb.DuckDBPyConnection, table: str, rows: Iterable[object]) -> None:
    # Truncating and refilling a keyed table in one transaction trips DuckDB's index; a fresh table does not.
    base.execute(f"create or replace table {table} ({TABLES[table]})")
    _insert(base, table, rows)


def _look(base: duckdb.DuckDBPyConnection, found: Sequence[Found], track: Track) -> dict[str, Look]:
    """A look at every photo, taken from the catalogue where the file has not changed since."""
    known = {row[0]: Look(*row) for row in base.execute("select * from looks").fetchall()}
    looks = {}
    missing = []
    for one in found:
        look = known.get(one.address)
        if look is not None and look.stamp is not None and look.stamp == objects.stamp(one.address):
            looks[one.address] = look
        else:
            missing.append(one.address)
    fresh = track(ahead(_look_at, missing), "looking at photos", len(missing))
    for chunk in chunks(fresh, 512):
        base.begin()
        base.execute("delete from looks where address in (select unnest(?))", [[look.address for look in chunk]])
        base.commit()
        _insert(base, "looks", chunk)
        looks |= {look.address: look for look in chunk}
    return looks


def _look_at(address: str) -> Look:
    stamp = objects.stamp(address)
    try:
        data = objects.read(address, photo.MAX_BYTES)
        pixels = photo.decode(data, address)
        width, height = photo.dimensions(data)
    except OutsideError:
        raise
    except BinventoryError as error:
        return Look(address, stamp, None, None, None, None, error.what, error.why, error.next)
    return Look(address, stamp, hashlib.sha256(data).hexdigest(), width, height, photo.likeness(pixels))


def _read_records(sources: Sequence[Source], track: Track) -> tuple[dict[str, BinRecord], list[Reject]]:
    """Every record by its address; a file that is no record is refused and the photo goes on without."""
    places = {one.record: one.id for source in sources for one in source.photos if one.record}
    records, rejects = {}, []
    for place, id in track(places.items(), "reading records", len(places)):
        try:
            records[place] = layout.read_record(place)
        except InputError as error:
            rejects.append(Reject(id, place, error))
    return records, rejects


def _link(
    base: duckdb.DuckDBPyConnection,
    entries: Sequence[Entry],
    records: Mapping[str, BinRecord],
    recipe: LinkRecipe,
    track: Track,
) -> list[Link]:
    by_id = {entry.id: entry for entry in entries}
    found = list(links.copies({entry.id: entry.sha256 for entry in entries}))
    doubtful = []
    for one, other in links.neighbours(by_id):
        products = [_products(records.get(by_id[id].record or "")) for id in (one, other)]
        if not all(products):
            doubtful.append((one, other))
        elif products[0] & products[1]:
            found.append(Link(one, other, "shares a product"))
    agreements = _register(base, [(by_id[one], by_id[other]) for one, other in doubtful], track)
    for (one, other), agreement in zip(doubtful, agreements, strict=True):
        if agreement >= recipe.registration:
            found.append(Link(one, other, "pictures agree"))
    return found


def _labels_without_photos(source: Source) -> str | None:
    lone = sorted(source.labels.keys() - {one.id for one in source.photos})
    if not lone:
        return None
    few = ", ".join(lone[:3]) + (" …" if lone[3:] else "")
    hint = "; did a spreadsheet drop zeros from the ids?" if len(lone) == len(source.labels) else ""
    return f"{len(lone):,} of {len(source.labels):,} ids in {source.address}/labels.csv have no photo ({few}){hint}"


def _products(record: BinRecord | None) -> set[str]:
    return {item.asin or item.sku for item in record.items} if record else set()


def _register(base: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[Entry, Entry]], track: Track) -> list[float]:
    """The agreement of each pair of photos, kept by their sha256 so that no pair is registered twice."""
    known = {row[:2]: row[2] for row in base.execute("select * from registrations").fetchall()}
    fresh = {(one.sha256, other.sha256): (one, other) for one, other in pairs}
    fresh = {key: pair for key, pair in fresh.items() if key not in known}
    registered = track(ahead(_registration, fresh.items()), "registering neighbours", len(fresh))
    for chunk in chunks(registered, 512):
        _insert(base, "registrations", [{"one": a, "other": b, "agreement": value} for (a, b), value in chunk])
        known |= dict(chunk)
    return [known[one.sha256, other.sha256] for one, other in pairs]


def _registration(item: tuple[tuple[str, str], tuple[Entry, Entry]]) -> tuple[tuple[str, str], float]:
    key, pair = item
    one, other = (links.outline(photo.decode(objects.read(it.address, photo.MAX_BYTES), it.address)) for it in pair)
    return key, links.agreement(one, other)


def _items(entries: Iterable[Entry], records: Mapping[str, BinRecord]) -> Iterator[dict[str, object]]:
    for entry in entries:
        record = records.get(entry.record or "")
        for item in record.items if record else ():
            yield {"id": entry.id, **msgspec.to_builtins(item)}


def _reject_row(reject: Reject) -> dict[str, str]:
    return {"id": reject.id, "address": reject.address, **reject.error.as_row()}


def tally(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Photos, labelled photos and runs of each side, in the sides' order."""
    photos: Tally[str] = Tally()
    labelled: Tally[str] = Tally()
    run_of: dict[str, set[str]] = {}
    for row in rows:
        photos[row.side] += 1
        labelled[row.side] += row.count is not None
        run_of.setdefault(row.side, set()).add(row.run)
    order = [side for side in (*split.SIDES, split.HELD, "") if side in photos]
    return {side: {"photos": photos[side], "labelled": labelled[side], "runs": len(run_of[side])} for side in order}
