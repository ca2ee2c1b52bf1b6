"""A book's upkeep: migrate it, back it up, restore it, check it, mend it.

A backup is one tar file: ``entries.jsonl``, a line an entry in order, ``photos/SHA256`` unless they are left out, and
``manifest.json`` last, with counts and checksums. It is the same for both databases.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, CursorResult, func, insert, select, text

from binventory import objects
from binventory.book import engines, migrations, schema, store
from binventory.book.entries import Entry
from binventory.book.photos import MOST
from binventory.book.retention import Shown, show
from binventory.book.schema import bin_row, bins, entries, entry_of, state_row, states
from binventory.book.store import Ledger
from binventory.errors import (
    BinventoryError,
    InputError,
    MissingError,
    PhotoError,
    UsageError,
)
from binventory.flow import Track, chunks, untracked

FORMAT = 1
_CHUNK = 1000
_ENTRIES, _MANIFEST = "entries.jsonl", "manifest.json"
_PHOTO = re.compile(r"photos/([0-9a-f]{64})")
_LARGEST_MANIFEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. ``revision``: of the book; ``missing``: photos that were not to be had, or damaged."""

    entries: int
    photos: int
    missing: int
    sha256: str
    revision: str
    made: datetime
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found. ``harmless``: nothing is lost or wrong, as with a photo that no entry names."""

    what: str
    harmless: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """An entry as a backup has it."""

    seq: int
    key: str
    kind: str
    bin: str | None
    at: Annotated[datetime, Meta(tz=True)]
    entered: Annotated[datetime, Meta(tz=True)]
    who: str
    consignment: str | None
    body: msgspec.Raw

    @property
    def entry(self) -> Entry:
        row = (self.seq, self.key, self.kind, self.bin, schema.micros(self.at), schema.micros(self.entered), self.who,
               self.consignment, bytes(self.body))  # fmt: skip
        return entry_of(row)


def migrate(address: str) -> tuple[str, str]:
    """Bring a book of an older version to this one; the revisions before and after.

    It is done whole or not at all. Raises InputError where the book is of a newer version, or none.
    """
    place = engines.place(address)
    with engines.connected(place) as engine:
        before = engines.revision(engine, place.name)
        if before in schema.REVISIONS[:-1]:
            with engines.told(place.name), engines.writing(engine) as connection:
                migrations.upgrade(connection)
                store.rebuild(connection)
        return before, engines.refuse_other_versions(engine, place.name)


def backup(ledger: Ledger, path: str, *, photos: bool = True, track: Track = untracked) -> Backup:
    """Write the book as it is at this moment to a new file, while others may go on writing to the book.

    Raises UsageError where something is at the path already, OutsideError where the disk refuses.
    """
    if objects.is_remote(path):
        raise UsageError(f"{path} is no path", "a backup is written to a disk", "give a path, then copy the file")
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already", "a backup overwrites nothing", "give another path")
    with objects.replacing(Path(path)) as temporary:
        kept = missing = 0
        with (
            tempfile.TemporaryFile(dir=temporary.parent) as lines,
            tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
        ):
            with ledger.reading() as connection:
                number, sha256, named = _written(connection, lines, track)
            _add(tar, _ENTRIES, lines, lines.tell())
            for one in track(sorted(named), "photos", len(named)) if photos else ():
                try:
                    data = ledger.photos.read(one)
                except (MissingError, PhotoError):
                    missing += 1
                    continue
                _add(tar, f"photos/{one}", BytesIO(data), len(data))
                kept += 1
            found = Backup(number, kept, missing, sha256, schema.REVISIONS[-1], datetime.now(UTC))
            told = msgspec.json.format(msgspec.json.encode(found))
            _add(tar, _MANIFEST, BytesIO(told), len(told))
        return found


def restore(ledger: Ledger, path: str, *, track: Track = untracked) -> Backup:
    """Fill an empty book from a backup, entries with the places and times that they had.

    The file is read whole and checked before anything of it is kept. Raises UsageError where the book holds entries,
    InputError where the backup is damaged, cut short or of a newer version.
    """
    with ledger.reading() as connection:
        _refuse_full(connection, ledger.name)
    with _tar(path) as tar:
        found, shas = _looked_through(tar, path, track)
        for sha256 in track(shas, "photos", len(shas)):
            if ledger.photos.keep(_file(tar, f"photos/{sha256}").read()) != sha256:
                raise _damaged(path, f"its photo {sha256} has changed meanwhile")
        lines = track(_lines(_file(tar, _ENTRIES), path), "entries", found.entries)
        with engines.told(ledger.name), engines.writing(ledger.engine) as connection:
            _refuse_full(connection, ledger.name)
            for some in chunks(lines, _CHUNK):
                connection.execute(insert(entries), [schema.fair(one.entry).row(one.seq, one.entered) for one in some])
            store.rebuild(connection)
    return found


def check(ledger: Ledger, *, track: Track = untracked) -> Iterator[Finding]:
    """What is wrong with a book: its database, its entries, what follows from them, its photos."""
    shown: dict[str, Shown] = {}
    with ledger.reading() as connection:
        if connection.dialect.name == "sqlite":
            said = connection.scalars(text("PRAGMA integrity_check(20)")).all()
            if said != ["ok"]:
                yield from (Finding(f"the file is damaged: {one}") for one in said)
                return
        wrong = False
        for one in _entries_checked(connection, shown, track):
            wrong = True
            yield one
        if not wrong:  # what cannot be read cannot be folded
            yield from _bins_checked(connection)
    yield from _photos_checked(ledger, shown, track)


def mend(ledger: Ledger) -> int:
    """Make what follows from the entries anew, whatever stands there; of how many bins."""
    with engines.told(ledger.name), engines.writing(ledger.engine) as connection:
        store.rebuild(connection)
        return connection.scalar(select(func.count()).select_from(bins)) or 0


def _written(connection: Connection, file: IO[bytes], track: Track) -> tuple[int, str, set[str]]:
    """Write every entry of a moment as a line; how many, their sha256, and the photos that are to be there."""
    total = connection.scalar(select(func.count()).select_from(entries)) or 0
    sha256 = hashlib.sha256()
    shown: dict[str, Shown] = {}
    with _all(connection) as rows:
        for row in track(rows, "entries", total):
            show(shown, entry_of(row))
            line = _Line(row.seq, row.key, row.kind, row.bin, schema.when(row.at), schema.when(row.entered), row.who,
                         row.consignment, msgspec.Raw(row.body.encode()))  # fmt: skip
            data = msgspec.json.encode(line) + b"\n"
            file.write(data)
            sha256.update(data)
    return total, sha256.hexdigest(), {name for name, one in shown.items() if not one.gone}


def _all(connection: Connection) -> CursorResult[Any]:
    """Every entry's row in order, some at a time; to be closed."""
    return connection.execute(select(entries).order_by(entries.c.seq).execution_options(yield_per=_CHUNK))


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    """Add a file from its first byte on, without an owner."""
    file.seek(0)
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, file)


@contextmanager
def _tar(path: str) -> Iterator[tarfile.TarFile]:
    """A backup, opened. Raises InputError where it is none, or is cut short."""
    if not os.path.lexists(path):
        raise MissingError(f"{path} does not exist", "there is no such file", "check the path")
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(path, str(error) or "it ends too early") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read", error.strerror or str(error), "check the path") from None


def _looked_through(tar: tarfile.TarFile, path: str, track: Track) -> tuple[Backup, list[str]]:
    """Check a backup from the first byte to the last; what it holds, and the sha256 of its photos."""
    names: set[str] = set()
    photos: list[str] = []
    number, sha256 = 0, ""
    for member in track(tar, "checking", None):
        photo = _PHOTO.fullmatch(member.name)
        if not member.isreg() or member.name in names or not (photo or member.name in (_ENTRIES, _MANIFEST)):
            raise _damaged(path, f"it holds {member.name[:80]!r}, which is no part of one")
        names.add(member.name)
        if photo:
            if member.size > MOST or hashlib.sha256(_file(tar, member.name).read()).hexdigest() != photo[1]:
                raise _damaged(path, f"the bytes of {member.name} are not those of its checksum")
            photos.append(photo[1])
        elif member.name == _ENTRIES:
            sha256 = hashlib.file_digest(_file(tar, _ENTRIES), "sha256").hexdigest()  # type: ignore[arg-type]
            for line in _lines(_file(tar, _ENTRIES), path):
                number += 1
                if line.seq != number:
                    raise _damaged(path, f"entry {number} is missing")
                try:
                    schema.fair(line.entry)
                except OverflowError:
                    raise _damaged(path, f"entry {number} is of no time that can be") from None
    if not {_ENTRIES, _MANIFEST} <= names:
        raise _damaged(path, "it is cut short, or was never finished")
    found = _manifest(_file(tar, _MANIFEST).read(_LARGEST_MANIFEST), path)
    if (found.entries, found.photos, found.sha256) != (number, len(photos), sha256):
        raise _damaged(path, "it does not hold what its manifest says")
    return found, photos


def _manifest(data: bytes, path: str) -> Backup:
    try:
        found = msgspec.json.decode(data, type=Backup)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"its manifest cannot be read: {error}") from None
    if found.format != FORMAT or found.revision not in schema.REVISIONS:
        raise InputError(f"{path} is a backup of a newer version", f"its book stood at {found.revision}",
                         "install that version of binventory")  # fmt: skip
    return found


def _lines(file: IO[bytes], path: str) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in enumerate(file, start=1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(path, f"line {number} of its entries cannot be read: {error}") from None


def _file(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    assert file is not None  # a regular member has one
    return file


def _damaged(path: str, why: str) -> InputError:
    return InputError(f"{path} is no whole backup", why, "take another backup")


def _refuse_full(connection: Connection, name: str) -> None:
    if connection.scalar(select(func.max(entries.c.seq))):
        raise UsageError(f"{name} holds entries already", "a backup is restored into an empty book",
                         "give the path of a new one: --book PATH")  # fmt: skip


def _entries_checked(connection: Connection, shown: dict[str, Shown], track: Track) -> Iterator[Finding]:
    total = connection.scalar(select(func.count()).select_from(entries)) or 0
    with _all(connection) as rows:
        for place, row in enumerate(track(rows, "entries", total), start=1):
            if row.seq != place:
                yield Finding(f"entry {place} is missing: {row.seq} comes in its place")
                return
            try:
                entry = entry_of(row)
                schema.fair(entry)
                show(shown, entry)
            except (BinventoryError, OverflowError) as error:
                yield Finding(f"entry {place} cannot be read: {error}")


def _bins_checked(connection: Connection) -> Iterator[Finding]:
    """Compare the projection with what the entries make."""
    known = [0, 0]
    for found in store.refolded(connection):
        rows = connection.execute(select(bins).where(bins.c.bin.in_(found))).mappings()
        there = {row["bin"]: dict(row) for row in rows}
        whole = {row.bin: row.state for row in connection.execute(select(states).where(states.c.bin.in_(found)))}
        known = [known[0] + len(there), known[1] + len(whole)]
        for bin, state in found.items():
            if there.get(bin) != bin_row(bin, state) or whole.get(bin) != state_row(bin, state)["state"]:
                yield Finding(f"bin {bin} is not what its entries make it; book mend makes it so")
    if [connection.scalar(select(func.count()).select_from(table)) for table in (bins, states)] != known:
        yield Finding("there are bins that no entry tells of")


def _photos_checked(ledger: Ledger, shown: dict[str, Shown], track: Track) -> Iterator[Finding]:
    wanted = [sha256 for sha256, one in shown.items() if not one.gone]
    for sha256 in track(wanted, "photos", len(wanted)):
        try:
            ledger.photos.read(sha256)
        except (MissingError, PhotoError) as error:
            yield Finding(f"photo {sha256}: {error.what}, {error.why}")
    for sha256 in ledger.photos.all():
        if sha256 not in shown or shown[sha256].gone:
            yield Finding(f"photo {sha256}: no entry names it", harmless=True)
