"""The ledger: entries appended and read, on SQLite and PostgreSQL alike.

One writer at a time, on both: the order of ``seq`` is the order of commits, and what a writer has read stays so until
it has written. An entry and what follows from it for its bin are written together or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select

from binventory.book import engines, schema
from binventory.book.entries import Entry
from binventory.book.photos import Photos, beside
from binventory.book.schema import Fair, bin_row, bins, entries, entry_of, micros, state_of, state_row, states
from binventory.book.timeline import FOLDED, State, advance, folded, in_order
from binventory.errors import RecordError
from binventory.flow import chunks
from binventory.records import BinRecord

_CHUNK = 500
"""Entries written, or bins folded, with one statement."""
_PAGE = 2000


@contextmanager
def opened(address: str, photos: str | None = None) -> Iterator[Ledger]:
    """The book at a path or URL, made where it is missing. ``photos``: a folder or ``s3://`` prefix for its photos.

    Raises UsageError for an address of no book, InputError for a file that is none, damaged or of another version,
    OutsideError where a disk or server fails.
    """
    place = engines.place(address)
    with engines.connected(place) as engine:
        engines.refuse_other_versions(engine, place.name)
        yield Ledger(engine, place.name, beside(place) if photos is None else Photos(photos))


def missing(address: str) -> bool:
    """Whether an address names a file that is not there. Raises UsageError for an address of no book."""
    path = engines.place(address).path
    return path is not None and not os.path.lexists(path)


@dataclass(frozen=True, slots=True)
class Ledger:
    """An open book. Safe to share between threads.

    Its methods raise OutsideError where the disk or server fails, and InputError where the book is damaged.
    """

    engine: Engine
    name: str
    photos: Photos

    def append(self, new: Iterable[Entry]) -> tuple[bool, ...]:
        """Enter all or nothing; for each whether it was new. An entry that is in the book already changes nothing.

        Raises RecordError where an entry is malformed, or the book has another of its key.
        """
        with self.writing() as writing:
            return writing.append(*new)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A transaction with no other writer beside it. It is undone where the block ends with an error."""
        with engines.told(self.name), engines.writing(self.engine) as connection:
            yield Writing(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A look at the book as it is now, for views."""
        with engines.told(self.name), engines.snapshot(self.engine) as connection:
            yield connection

    def state(self, bin: str) -> State:
        """All that follows from a bin's entries; an empty state where there are none."""
        with self.reading() as connection:
            return _states(connection, [bin])[bin]

    def knows(self, bin: str) -> bool:
        """Whether a record was ever of this bin."""
        return self.state(bin).quantity is not None

    def record_at(self, bin: str, at: datetime) -> BinRecord | None:
        """A bin's record as of a time, with what the book knows by now; None where nothing was said by then."""
        with self.reading() as connection:
            return _record_at(connection, bin, at)

    def entry(self, key: str) -> Entry | None:
        """The entry of a key."""
        with self.reading() as connection:
            return _entry(connection, key)

    def entries(
        self, *, kinds: Sequence[str] = (), bin: str | None = None, consignment: str | None = None, after: int = 0,
        most: int | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        """Entries in the order in which they were entered, from behind the place ``after``, at most ``most``.

        Read page by page, each as of its own moment: nothing that was entered before an entry comes after it.
        """
        wanted = _where(kinds, bin, consignment)
        left = most
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            with self.reading() as connection:
                page = wanted.where(entries.c.seq > after).order_by(entries.c.seq).limit(size)
                found = [entry_of(row) for row in connection.execute(page)]
            yield from found
            if len(found) < size:
                return
            after = found[-1].seq or 0
            left = None if left is None else left - len(found)

    def stories(self, bins: Sequence[str], kinds: Sequence[str]) -> dict[str, list[Entry]]:
        """The entries of bins of some kinds, each bin's by when they were true, all as of one moment."""
        found: dict[str, list[Entry]] = {bin: [] for bin in bins}
        with self.reading() as connection:
            for some in chunks(bins, _CHUNK):
                wanted = _where(kinds, None, None).where(entries.c.bin.in_(some))
                for row in connection.execute(wanted.order_by(entries.c.bin, entries.c.at, entries.c.seq)):
                    entry = entry_of(row)
                    found[entry.bin or ""].append(entry)
        return found


@dataclass(slots=True)
class Writing:
    """A writer's transaction: it sees what it has appended, and nobody else writes meanwhile."""

    _connection: Connection
    _now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _last: int | None = None

    def append(self, *new: Entry) -> tuple[bool, ...]:
        """Enter entries; for each whether it was new.

        Raises RecordError where one is malformed, or the book has another of its key: the transaction is over then.
        """
        return tuple(one for chunk in chunks(new, _CHUNK) for one in self._append([schema.fair(e) for e in chunk]))

    def state(self, bin: str) -> State:
        """As ``Ledger.state``."""
        return _states(self._connection, [bin])[bin]

    def record_at(self, bin: str, at: datetime) -> BinRecord | None:
        """As ``Ledger.record_at``."""
        return _record_at(self._connection, bin, at)

    def entry(self, key: str) -> Entry | None:
        """As ``Ledger.entry``."""
        return _entry(self._connection, key)

    def known(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys the book has."""
        wanted = (select(entries.c.key).where(entries.c.key.in_(some)) for some in chunks(keys, _CHUNK))
        return {key for one in wanted for key in self._connection.scalars(one)}

    def timeline(self, bin: str) -> Iterator[Entry]:
        """A bin's entries that its state follows from, by when they were true."""
        return _timelines(self._connection, [bin], None)

    def _append(self, new: Sequence[Fair]) -> Iterator[bool]:
        keys = select(entries).where(entries.c.key.in_([one.entry.key for one in new]))
        there = {row.key: entry_of(row) for row in self._connection.execute(keys)}
        rows: list[dict[str, object]] = []
        fresh: list[Entry] = []
        answers: list[bool] = []
        for one in new:
            before = there.get(one.entry.key)
            if before is not None and not one.same(before):
                raise RecordError(f"The entry {one.entry.key} is in the book with other content",
                                  "an entry never changes", "give what is new a key of its own")  # fmt: skip
            answers.append(before is None)
            if before is None:
                rows.append(one.row(self._next(), self._now))
                fresh.append(entry_of(tuple(rows[-1].values())))
                there[one.entry.key] = fresh[-1]
        if rows:
            self._connection.execute(insert(entries), rows)
            _project(self._connection, fresh)
        return iter(answers)

    def _next(self) -> int:
        if self._last is None:
            self._last = self._connection.scalar(select(func.max(entries.c.seq))) or 0
        self._last += 1
        return self._last


def rebuild(connection: Connection) -> None:
    """Make the projection anew from the entries."""
    connection.execute(delete(bins))
    connection.execute(delete(states))
    for some in refolded(connection):
        _insert(connection, some)


def refolded(connection: Connection) -> Iterator[dict[str, State]]:
    """Every bin's state folded from its entries, some bins at a time, in the order of their names."""
    names = select(entries.c.bin).distinct().where(entries.c.bin.is_not(None), entries.c.kind.in_(FOLDED))
    after = ""
    while True:
        page = names.where(entries.c.bin > after).order_by(entries.c.bin).limit(_CHUNK)
        found: list[str] = list(connection.scalars(page))
        if not found:
            return
        yield _folded(connection, found)
        after = found[-1]


def _project(connection: Connection, fresh: Sequence[Entry]) -> None:
    """Carry new entries into the projection: states advance, and those of bins with a late entry are folded anew."""
    touching = [entry for entry in fresh if entry.kind in FOLDED and entry.bin is not None]
    found = _states(connection, list(dict.fromkeys(entry.bin or "" for entry in touching)))
    late: set[str] = set()
    for entry in touching:
        bin = entry.bin or ""
        if bin not in late and in_order(found[bin], entry):
            found[bin] = advance(found[bin], entry)
        else:
            late.add(bin)
    found |= _folded(connection, sorted(late))
    if found:
        connection.execute(delete(bins).where(bins.c.bin.in_(found)))
        connection.execute(delete(states).where(states.c.bin.in_(found)))
        _insert(connection, found)


def _insert(connection: Connection, found: Mapping[str, State]) -> None:
    connection.execute(insert(bins), [bin_row(bin, state) for bin, state in found.items()])
    connection.execute(insert(states), [state_row(bin, state) for bin, state in found.items()])


def _states(connection: Connection, names: Sequence[str]) -> dict[str, State]:
    rows = connection.execute(select(states).where(states.c.bin.in_(names))).all() if names else []
    there = {bin: state_of(state) for bin, state in rows}
    return {bin: there.get(bin) or State() for bin in names}


def _folded(connection: Connection, names: Sequence[str]) -> dict[str, State]:
    by_bin = groupby(_timelines(connection, names, None), key=lambda entry: entry.bin)
    return {bin: folded(one) for bin, one in by_bin if bin is not None}


def _record_at(connection: Connection, bin: str, at: datetime) -> BinRecord | None:
    return folded(_timelines(connection, [bin], at)).record


def _timelines(connection: Connection, names: Sequence[str], until: datetime | None) -> Iterator[Entry]:
    """The entries that bins' states follow from, bin by bin, each in the order of ``(at, seq)``."""
    if not names:
        return
    wanted = _where(tuple(FOLDED), None, None).where(entries.c.bin.in_(names))
    if until is not None:
        wanted = wanted.where(entries.c.at <= micros(until))
    yield from map(entry_of, connection.execute(wanted.order_by(entries.c.bin, entries.c.at, entries.c.seq)))


def _entry(connection: Connection, key: str) -> Entry | None:
    row = connection.execute(select(entries).where(entries.c.key == key)).one_or_none()
    return None if row is None else entry_of(row)


def _where(kinds: Sequence[str], bin: str | None, consignment: str | None) -> Select[Any]:
    wanted = select(entries)
    if kinds:
        wanted = wanted.where(entries.c.kind.in_(kinds))
    if bin is not None:
        wanted = wanted.where(entries.c.bin == bin)
    if consignment is not None:
        wanted = wanted.where(entries.c.consignment == consignment)
    return wanted
