"""Photos and records from a bucket into a folder of the same layout: many at once, each whole or not there.

A file is written under a hidden name beside its own and renamed once its length and checksum are right, so what bears
its own name is whole and is not asked for again. It is not synced: after a loss of power a file may be empty, which
counts as not there, and any other doubt is ended by fetching with ``verify``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, get_native_id

from binventory.errors import BinventoryError, InputError, MissingError, OutsideError
from binventory.flow import Track, at_once, untracked
from binventory.s3 import Bucket

_BLOCK = 4096
_HIDDEN = re.compile(r"\.\d+\.part")


@dataclass(frozen=True, slots=True)
class Kind:
    """One half of a bin: its folder, its ending, and about how many bytes it has in Amazon's bucket."""

    folder: str
    ending: str
    usual_bytes: int


KINDS = {"photos": Kind("bin-images", ".jpg", 60_000), "metadata": Kind("metadata", ".json", 2_500)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to fetch: ``key`` below the bucket's prefix and below the folder alike; ``size`` where listed."""

    id: str
    kind: Kind
    size: int | None = None

    @property
    def key(self) -> str:
        """Where it lies."""
        return f"{self.kind.folder}/{self.id}{self.kind.ending}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one object: the bytes that were written (None: what was there still holds), or an error."""

    id: str
    address: str
    bytes: int | None = None
    error: BinventoryError | None = None

    def as_row(self) -> dict[str, object]:
        """A failure as it stands in JSON output."""
        return {"id": self.id, "address": self.address, "error": self.error.as_row() if self.error else None}


@dataclass(frozen=True, slots=True)
class Persistence:
    """How often an object is asked for, how long is waited between (seconds), and when all is given up.

    ``in_a_row``: so many objects that failed with all their tries and none that came between.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 15.0
    in_a_row: int = 100

    def wait(self, tried: int, draw: float) -> float:
        """Seconds before the next try: doubled each time, and drawn (0..1), so that many do not come back at once."""
        return min(self.longest, self.first * 2.0 ** (tried - 1)) * (0.5 + draw / 2)


PERSISTENCE = Persistence()


def wanted(ids: Iterable[str], kinds: Sequence[Kind]) -> list[Wanted]:
    """The objects of the ids, each once. Raises InputError for what cannot be an id."""
    return [Wanted(id, kind) for id in dict.fromkeys(ids) if _fit(id) for kind in kinds]


def listed(bucket: Bucket, kinds: Sequence[Kind], track: Track = untracked) -> list[Wanted]:
    """Every object of these kinds in the bucket, with its size, by id.

    Raises InputError where there is none or S3 refuses, OutsideError where it does not answer.
    """
    found = []
    for kind in kinds:
        for name, size in track(bucket.sizes(kind.folder), f"listing {kind.folder}", None):
            id = name.removesuffix(kind.ending)
            if id != name and _readable(id):
                found.append(Wanted(id, kind, size))
    if not found:
        sought = " or ".join(f"{kind.folder}/*{kind.ending}" for kind in kinds)
        raise MissingError(f"{bucket.address} holds no bins", f"there is no {sought}", "check bucket and prefix")
    return sorted(found, key=lambda one: (one.id, one.kind.folder))


def first(objects: Sequence[Wanted], ids: int | None) -> list[Wanted]:
    """The objects of so many ids, the first, or all."""
    kept = set(list(dict.fromkeys(one.id for one in objects))[:ids])
    return [one for one in objects if one.id in kept]


@contextmanager
def folder(out: Path) -> Iterator[None]:
    """The folder to fetch into, made where it is missing, for one fetch at a time; a killed one's rests are removed.

    Raises OutsideError where the disk refuses or another fetch is at work there.
    """
    with _disk_told(out):
        for kind in KINDS.values():
            (out / kind.folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutsideError(f"{out} is in use", "another fetch is writing there", "wait for it to end") from None
        except OSError:  # a file system without locks
            pass
        _sweep(out)
        yield
    finally:
        os.close(handle)


def missing(objects: Sequence[Wanted], out: Path) -> list[Wanted]:
    """Those of the objects that the folder does not hold. Raises OutsideError where it cannot be listed."""
    there = set()
    with _disk_told(out):
        for kind in KINDS.values():
            with suppress(FileNotFoundError), os.scandir(out / kind.folder) as entries:
                there |= {f"{kind.folder}/{entry.name}" for entry in entries if entry.is_file() and _holds(entry)}
    return [one for one in objects if one.key not in there]


def refuse_without_room(objects: Sequence[Wanted], out: Path) -> str | None:
    """A note where the objects may not fit on the disk, by what they usually measure.

    Raises OutsideError where they cannot fit, by the sizes that the bucket lists.
    """
    sizes = [one.kind.usual_bytes if one.size is None else one.size for one in objects]
    needed = sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
    place = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    with _disk_told(out):
        free = shutil.disk_usage(place).free
    if needed <= free:
        return None
    why = f"{len(objects):,} files need {_size(needed)}, and {_size(free)} are free"
    if all(one.size is not None for one in objects):
        raise OutsideError(f"{out} has too little room", why, "free space on the disk, or fetch fewer: --limit")
    return f"{out} may have too little room: {why}, by what photos and records usually measure"


@contextmanager
def started(
    bucket: Bucket,
    objects: Sequence[Wanted],
    out: Path,
    jobs: int,
    verify: bool = False,
    checked: bool = True,
    persistence: Persistence = PERSISTENCE,
) -> Iterator[Iterator[Arrival]]:
    """Fetch objects into a folder held by ``folder``, ``jobs`` at once, and say of each what became of it, as it comes.

    ``verify``: a file that is there is fetched again where the bucket's differs. ``checked`` as in ``Bucket.get``.
    However the block ends, nothing is half-written.

    Reading the arrivals raises OutsideError where the disk refuses or S3 no longer answers, and UsageError where
    there is no such bucket.
    """
    failed_in_a_row = 0

    def one(wish: Wanted, ended: Event) -> Arrival:
        nonlocal failed_in_a_row  # by several threads at once: it may be out by a few
        arrival = _arrival(bucket, wish, out / wish.key, verify, checked, persistence, ended)
        failed_in_a_row = failed_in_a_row + 1 if isinstance(arrival.error, OutsideError) else 0
        if failed_in_a_row >= persistence.in_a_row and arrival.error:
            why = f"{failed_in_a_row} objects in a row failed, the last as: {arrival.error.why}"
            raise OutsideError(f"{bucket.address} cannot be read", why, arrival.error.next)
        return arrival

    with at_once(one, objects, min(jobs, len(objects))) as arrivals:
        yield arrivals


def _arrival(
    bucket: Bucket, wish: Wanted, path: Path, verify: bool, checked: bool, persistence: Persistence, ended: Event
) -> Arrival:
    """One object, asked for until it comes, is refused, or all tries are used up."""
    place, known = bucket.place(wish.key), _md5(path) if verify else None
    for tried in range(1, persistence.tries + 1):
        try:
            data = bucket.get(wish.key, known, checked)
        except InputError as error:
            return Arrival(wish.id, place, error=error)
        except OutsideError as error:
            failure = OutsideError(error.what, f"{error.why}, the last of {tried} tries", error.next)
            if tried == persistence.tries or ended.wait(persistence.wait(tried, random.random())):
                break
        else:
            if data is not None and not ended.is_set():
                _land(data, path)
            return Arrival(wish.id, place, None if data is None else len(data))
    return Arrival(wish.id, place, error=failure)


def _land(data: bytes, path: Path) -> None:
    """Write a file under a hidden name and rename it. Raises OutsideError, the hidden one removed."""
    hidden = path.parent / f".{get_native_id()}.part"
    with _disk_told(path):
        try:
            hidden.write_bytes(data)
            os.replace(hidden, path)
        except BaseException:
            with suppress(OSError):
                hidden.unlink()
            raise


def _sweep(out: Path) -> None:
    for kind in KINDS.values():
        with suppress(OSError), os.scandir(out / kind.folder) as entries:
            for entry in entries:
                if _HIDDEN.fullmatch(entry.name):
                    os.unlink(entry.path)


def _md5(path: Path) -> str | None:
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except OSError:
        return None


def _holds(entry: os.DirEntry[str]) -> bool:
    return entry.stat().st_size > 0


def _fit(id: str) -> bool:
    if not _readable(id):
        raise InputError(f"{id[:60]!r} is no id", "an id is the name of a file without its ending", "mend the list")
    return True


def _readable(id: str) -> bool:
    """Whether an id can be a file's name everywhere: one that leads nowhere else, and is neither hidden nor odd."""
    return bool(re.fullmatch(r"[^./\\][^/\\]{0,199}", id)) and id.isprintable() and len(id.encode()) <= 240


@contextmanager
def _disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        next = "free space on the disk, and run it again: what came stays" if full else "choose another --out"
        raise OutsideError(f"{path} cannot be written", error.strerror or str(error), next) from None


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
