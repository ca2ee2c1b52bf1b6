"""Looking into files: pixels, records, and pairs of photos. What was found is kept, so no file is looked into twice."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import duckdb
import msgspec

from binventory import objects, photo
from binventory.data import layout, links, tables
from binventory.data.layout import Source
from binventory.data.merge import Entry, Look, Read
from binventory.errors import BinventoryError, InputError, OutsideError
from binventory.flow import Track, ahead, chunks
from binventory.records import BinRecord

_PHOTOS_AT_ONCE = 512
_RECORDS_AT_ONCE = 20_000


def photos(base: duckdb.DuckDBPyConnection, sources: Sequence[Source], track: Track) -> dict[str, Look]:
    """A look at every photo by its address. Raises OutsideError where S3 does not answer."""
    known = {row[0]: Look(*row) for row in base.execute("select * from looks").fetchall()}
    addresses = [one.address for source in sources for one in source.photos]
    looks = {address: look for address in addresses if (look := known.get(address)) and _fresh(look)}
    missing = [address for address in addresses if address not in looks]
    _forget(base, "looks", missing, known)
    seen = track(ahead(_look, missing), "looking at photos", len(missing))
    for chunk in chunks(seen, _PHOTOS_AT_ONCE):
        tables.insert(base, "looks", chunk)
        looks |= {look.address: look for look in chunk}
    return looks


def _look(address: str) -> Look:
    stamp = objects.stamp(address)
    try:
        data = objects.read(address, photo.MAX_BYTES)
        pixels = photo.decode(data, address)
        width, height = photo.dimensions(data)
    except OutsideError:
        raise
    except BinventoryError as error:
        return Look(address, stamp, None, None, None, None, what=error.what, why=error.why, next=error.next)
    measures = photo.measured(pixels)
    return Look(address, stamp, hashlib.sha256(data).hexdigest(), width, height, photo.likeness(pixels), *measures)


def records(base: duckdb.DuckDBPyConnection, sources: Sequence[Source], track: Track) -> dict[str, Read]:
    """A reading of every record by its address; what is no record is told in it. The lines go to ``lines``.

    Raises OutsideError where S3 does not answer.
    """
    known = {row[0]: _read_again(row) for row in base.execute("select * from reads").fetchall()}
    addresses = [place for source in sources for place in source.records.values()]
    reads = {address: read for address in addresses if (read := known.get(address)) and _fresh(read)}
    missing = [address for address in addresses if address not in reads]
    for table in ("reads", "lines"):
        _forget(base, table, missing, known)
    del known
    # Threads wait for S3 together; for a disk they only stand in each other's way.
    there = [address for address in missing if not objects.is_remote(address)]
    away = [address for address in missing if objects.is_remote(address)]
    for found in (map(_read, there), ahead(_read, away, threads=16) if away else ()):
        total = len(there) if isinstance(found, map) else len(away)
        for chunk in chunks(track(found, "reading records", total), _RECORDS_AT_ONCE):
            base.begin()
            tables.insert(base, "reads", (read for read, _ in chunk))
            tables.insert(base, "lines", _lines(chunk))
            base.commit()
            reads |= {read.address: read for read, _ in chunk}
    return reads


def _read(address: str) -> tuple[Read, BinRecord]:
    stamp = objects.stamp(address)
    try:
        record = layout.read_record(address)
    except InputError as error:
        return Read(address, stamp, what=error.what, why=error.why, next=error.next), BinRecord(None)
    products = tuple(dict.fromkeys(item.asin or item.sku for item in record.items))
    return Read(address, stamp, record.quantity, record.flags, products), record


def _read_again(row: tuple[object, ...]) -> Read:
    address, stamp, quantity, flags, products, *error = row
    return msgspec.convert(
        dict(zip(Read.__slots__, (address, stamp, quantity, flags, products, *error), strict=True)), Read
    )


def _lines(chunk: Iterable[tuple[Read, BinRecord]]) -> Iterator[dict[str, object]]:
    for read, record in chunk:
        for item in record.items:
            yield {"address": read.address, **msgspec.to_builtins(item)}


def agreements(base: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[Entry, Entry]], track: Track) -> list[float]:
    """How well the pictures of each pair agree, 0..1; kept by their sha256."""
    known = {row[:2]: row[2] for row in base.execute("select * from registrations").fetchall()}
    fresh = {(one.sha256, other.sha256): (one, other) for one, other in pairs}
    fresh = {key: pair for key, pair in fresh.items() if key not in known}
    registered = track(ahead(_registration, fresh.items()), "registering neighbours", len(fresh))
    for chunk in chunks(registered, _PHOTOS_AT_ONCE):
        tables.insert(base, "registrations", [{"one": a, "other": b, "agreement": value} for (a, b), value in chunk])
        known |= dict(chunk)
    return [known[one.sha256, other.sha256] for one, other in pairs]


def _registration(item: tuple[tuple[str, str], tuple[Entry, Entry]]) -> tuple[tuple[str, str], float]:
    key, pair = item
    one, other = (links.outline(photo.decode(objects.read(it.address, photo.MAX_BYTES), it.address)) for it in pair)
    return key, links.agreement(one, other)


def _fresh(one: Look | Read) -> bool:
    """Whether the file is as it was when it was looked into."""
    return one.stamp is not None and one.stamp == objects.stamp(one.address)


def _forget(base: duckdb.DuckDBPyConnection, table: str, missing: Iterable[str], known: Collection[str]) -> None:
    """Drop what was found in files that have changed since."""
    stale = [address for address in missing if address in known]
    if stale:
        base.execute(f"delete from {table} where address in (select unnest(?))", [stale])
