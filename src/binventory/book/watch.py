"""Photos that land in a folder are counted, held against the record, booked and filed: exactly once.

The book is written before the file is moved, and what is in the book is not entered again. So wherever a crash falls,
the next watch finds the file where it was, meets its own entry, and moves it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import msgspec

from binventory import photo
from binventory.book import acts, dropfolder, intake
from binventory.book.dropfolder import DropFolder, Seen, Stamp
from binventory.book.entries import Bundled, Entry, SetAside, keyed
from binventory.book.intake import Placed, printable
from binventory.book.site import Site
from binventory.book.store import Ledger
from binventory.errors import BinventoryError, InputError, PhotoError
from binventory.flow import ahead
from binventory.records import Count, Counts, Photo, Verdict

STABLE_SECONDS = 2.0
LOOK_SECONDS = 10.0
"""How often the folder is looked through, whatever the system tells: network folders tell nothing."""

_READ_AHEAD = 8

_Placing = Callable[[Photo], Placed | InputError]


@dataclass(frozen=True, slots=True)
class Landed:
    """A photo that is booked and moved: its path below the folder, its bin and its verdict; or why it was set aside."""

    name: str
    bin: str | None
    verdict: Verdict | None
    error: BinventoryError | None


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A photo as it was read (None: it could not be), and where it belongs, or why it cannot be used."""

    name: str
    stamp: Stamp
    data: bytes | None
    placed: Placed | InputError


def watch(
    path: str | os.PathLike[str],
    ledger: Ledger,
    counter: Counts,
    bundled: Bundled,
    site: Site,
    who: str = "watch",
    *,
    once: bool,
    stop: threading.Event,
    stable_seconds: float = STABLE_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> Iterator[Landed]:
    """Count, book and file the photos that are in a folder and those that land there, until ``stop`` is set.

    ``once``: only those that are there now, as soon as they are whole. A file is whole when it has not changed for
    ``stable_seconds``, nor its sidecar, and nobody has them open for writing. Hidden names and links are passed over.
    What is under way when ``stop`` is set is finished.

    Filed photos go to ``filed/YYYY-MM-DD/`` by the day when they were taken, ``A1/x.jpg`` as ``A1_x.jpg``, with their
    sidecars; those without a bin, a time or pixels to ``quarantine``, with ``NAME.reason.json``, and the book says so.
    A photo that comes again is filed without another entry.

    Raises MissingError for no folder, InputError where it is watched already, OutsideError where the disk, the book or
    an endpoint fails: photos that are not in the book then stay where they are.
    """
    folder = dropfolder.drop_folder(path, site.intake)
    with dropfolder.alone(folder), dropfolder.told(folder) as notices:
        dropfolder.remove_spent(folder)
        placing = partial(intake.placed, site.intake, known=ledger.knows, folder=folder.root)
        seen: dict[str, Seen] = {}
        waiting: set[str] | None = None
        while True:
            notices.woken.clear()
            now = time.monotonic()
            seen = dropfolder.looked(folder, seen, now)
            waiting = set(seen) if waiting is None or not once else waiting & set(seen)
            whole = [name for name in waiting if now - seen[name].since >= stable_seconds
                     and not dropfolder.being_written(folder.path(name), seen[name].stamp, notices)]  # fmt: skip
            for arrival, outcome in _counted(
                folder, placing, counter, seen, dropfolder.oldest_first(whole, seen), stop
            ):
                landed = _booked(folder, ledger, bundled, site, who, arrival, outcome)
                waiting.discard(arrival.name)
                yield landed
            if stop.is_set() or (once and not waiting):
                return
            notices.wait(stop, stable_seconds / 2 if waiting else look_seconds)


def _counted(
    folder: DropFolder,
    placing: _Placing,
    counter: Counts,
    seen: Mapping[str, Seen],
    names: list[str],
    stop: threading.Event,
) -> Iterator[tuple[_Arrival, Count | BinventoryError]]:
    """Photos with what the counter makes of them, read and placed some ahead of it."""
    under_way: deque[_Arrival] = deque()

    def given() -> Iterator[Photo | BinventoryError]:
        for arrival in ahead(
            partial(_read, folder, placing), ((name, seen[name].stamp) for name in names), _READ_AHEAD
        ):
            if stop.is_set():
                return
            if arrival is not None:
                under_way.append(arrival)
                placed = arrival.placed
                yield Photo(printable(arrival.name), arrival.data or b"") if isinstance(placed, Placed) else placed

    for outcome in counter.count_each(given()):
        yield under_way.popleft(), outcome


def _read(folder: DropFolder, placing: _Placing, one: tuple[str, Stamp]) -> _Arrival | None:
    """A photo read and placed, or None where it has gone or changed meanwhile."""
    name, stamp = one
    shown = printable(name)
    placed: Placed | InputError
    data: bytes | None = None
    try:
        found = intake.read_unlinked(folder.path(name), photo.MAX_BYTES)
        if found is None:
            return None
        if len(found) > photo.MAX_BYTES:
            placed = PhotoError(f"{shown} is too large", f"it has over {photo.MAX_BYTES:,} bytes", "save it smaller")
        else:
            data = found
            placed = placing(Photo(name, data))
    except PermissionError as error:
        placed = InputError(f"{shown} cannot be read", error.strerror or str(error), "check its rights")
    except OSError as error:
        raise dropfolder.refused(name, error) from None
    except PhotoError as error:
        placed = error
    return _Arrival(name, stamp, data, placed) if dropfolder.stamp_of(folder.path(name)) == stamp else None


def _booked(
    folder: DropFolder,
    ledger: Ledger,
    bundled: Bundled,
    site: Site,
    who: str,
    arrival: _Arrival,
    outcome: Count | BinventoryError,
) -> Landed:
    """Enter what came of a photo, then move it."""
    name, placed = printable(arrival.name), arrival.placed
    if isinstance(outcome, Count) and isinstance(placed, Placed):
        shot = acts.Shot(placed.bin, placed.taken, name, arrival.data or b"", placed.taken_from, placed.bin_from, who)
        verdict = acts.counted(ledger, shot, outcome, bundled, site.policy)
        day = placed.taken.astimezone(intake.zone(site.intake.timezone))
        dropfolder.move(folder, arrival.name, arrival.stamp, os.path.join(folder.filed, f"{day:%Y-%m-%d}"))
        return Landed(name, placed.bin, verdict, None)
    assert isinstance(outcome, BinventoryError)
    if outcome is not placed and not isinstance(outcome, PhotoError):
        raise outcome  # an endpoint or a bundle has failed, and not the photo
    bin = placed.bin if isinstance(placed, Placed) else None
    sha256 = "" if arrival.data is None else hashlib.sha256(arrival.data).hexdigest()
    body = SetAside(sha256, name, outcome.what, outcome.why, outcome.next)
    key = keyed("quarantine", *([sha256] if sha256 else arrival.stamp), name, body.what, body.why)
    with ledger.writing() as writing:
        if writing.entry(key) is None:
            writing.append(Entry(key, bin, datetime.now(UTC), who, body))
    reason = msgspec.json.format(msgspec.json.encode(body))
    dropfolder.move(folder, arrival.name, arrival.stamp, folder.quarantine, reason)
    return Landed(name, bin, None, outcome)
