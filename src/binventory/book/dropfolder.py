"""A camera's drop folder: which photos in it are whole, what becomes of them, and that one watch is at work there."""

from __future__ import annotations

import errno
import glob
import logging
import os
import shutil
import signal
import stat
import threading
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from watchdog import events
from watchdog.observers import Observer

from binventory import objects, photo
from binventory.book import intake
from binventory.book.intake import IntakeSettings
from binventory.errors import InputError, MissingError, OutsideError

LOCK = ".binventory-watch"
"""The hidden file whose lock a watch holds."""

# What watchdog logs, such as an event that came while it was ending, is for who asks for logs.
logging.getLogger("watchdog").addHandler(logging.NullHandler())

_UNTOLD_SECONDS = 60.0
"""After so long without a change a file counts as closed whose closing nobody told."""

_TICK_SECONDS = 0.1
_ENDINGS = (*photo.SUFFIXES, *(one.upper() for one in photo.SUFFIXES))
_LONGEST_NAME = 200
"""Bytes of a name where photos go to; file systems take 255, and what is added has its place."""

_State = tuple[int, int, int, int]
"""Inode, size, and times of writing and of any change, in nanoseconds."""

Stamp = tuple[_State | None, ...]
"""The states of a photo and of its two possible sidecars; None where there is no such file."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a photo looks, and since when (monotonic seconds) it has looked so."""

    stamp: Stamp
    since: float


@dataclass(frozen=True, slots=True)
class DropFolder:
    """The folder ``root``, and where its photos go; absolute paths."""

    root: str
    filed: str
    quarantine: str

    def path(self, name: str) -> str:
        """Where a photo lies whose name is its path below the folder."""
        return os.path.join(self.root, name)


def drop_folder(path: str | os.PathLike[str], settings: IntakeSettings) -> DropFolder:
    """The drop folder at a path. Raises MissingError where there is none."""
    if not os.path.isdir(path):
        raise MissingError(f"{path} cannot be watched", "there is no such folder", "make it, or check the path")
    root = os.path.abspath(path)
    filed, quarantine = (os.path.normpath(os.path.join(root, one)) for one in (settings.filed, settings.quarantine))
    return DropFolder(root, filed, quarantine)


@contextmanager
def alone(folder: DropFolder) -> Iterator[None]:
    """Hold the folder's lock. Raises InputError where another watch has it."""
    with ExitStack() as stack:
        try:
            had = stack.enter_context(objects.locked(Path(folder.root, LOCK), seconds=0))
        except OSError as error:
            raise refused(folder.root, error) from None
        if not had:
            raise InputError(f"{folder.root} is watched already", "another watch is at work there",
                             "end it, or watch another folder")  # fmt: skip
        yield


def looked(folder: DropFolder, before: Mapping[str, Seen], now: float) -> dict[str, Seen]:
    """How the photos in the folder look by now."""
    found = {}
    for name in _names(folder, photo.SUFFIXES):
        stamp, old = stamp_of(folder.path(name)), before.get(name)
        if stamp[0] is not None:
            found[name] = old if old and old.stamp == stamp else Seen(stamp, now)
    return found


def _names(folder: DropFolder, suffixes: Collection[str]) -> Iterator[str]:
    """The regular files in the folder that end so, below it, without hidden ones, links, and what was moved away."""
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            with os.scandir(folder.path(below)) as entries:
                there = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if below and isinstance(error, FileNotFoundError):
                continue
            raise OutsideError(f"{folder.path(below)} cannot be listed", error.strerror or str(error),
                               "check it and its rights") from None  # fmt: skip
        for entry in there:
            name = os.path.join(below, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if folder.path(name) not in (folder.filed, folder.quarantine):
                    folders.append(name)
            elif os.path.splitext(name)[1].lower() in suffixes and entry.is_file(follow_symlinks=False):
                yield name


def stamp_of(path: str) -> Stamp:
    """How a photo and its sidecars are now."""
    return tuple(map(_state, (path, *intake.sidecars(path))))


def _state(path: str) -> _State | None:
    try:
        now = os.lstat(path)
    except OSError:
        return None
    return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) if stat.S_ISREG(now.st_mode) else None


def oldest_first(names: Iterable[str], seen: Mapping[str, Seen]) -> list[str]:
    """Photos in the order in which they were written, for so the book best tells what happened."""
    return sorted(names, key=lambda name: ((seen[name].stamp[0] or (0, 0, 0, 0))[2], name))


def being_written(path: str, stamp: Stamp, notices: Notices) -> bool:
    """Whether somebody has the photo or a sidecar open for writing, as far as the system tells."""
    there = [one for one, state in zip((path, *intake.sidecars(path)), stamp, strict=True) if state]
    told = [_open_for_writing(one) for one in there]
    return any(notices.unclosed(one) if writing is None else writing for one, writing in zip(there, told, strict=True))


def _open_for_writing(path: str) -> bool | None:
    """Whether a process has the file open for writing; None where the system does not tell.

    Linux gives a read lease on a file only where nobody has it open for writing (fcntl(2)); it tells nothing of other
    people's files and of some network folders.
    """
    import fcntl

    lease = getattr(fcntl, "F_SETLEASE", None)
    if lease is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Whoever opens the file just now breaks the lease, of which we hear by a signal: let it be one without effect.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, lease, fcntl.F_RDLCK)
        fcntl.fcntl(handle, lease, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(handle)


class Notices(events.FileSystemEventHandler):
    """What the system tells of a folder: that something happened, and which files were written to and not closed."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self._open: dict[str, float] = {}

    def on_any_event(self, event: events.FileSystemEvent) -> None:  # noqa: ARG002
        self.woken.set()

    def on_modified(self, event: events.FileSystemEvent) -> None:
        self._open[os.fsdecode(event.src_path)] = time.monotonic()

    def on_closed(self, event: events.FileSystemEvent) -> None:
        self._open.pop(os.fsdecode(event.src_path), None)

    def unclosed(self, path: str) -> bool:
        """Whether a file has been written to, and its closing was not told, nor is that long ago."""
        at = self._open.get(path)
        if at is not None and time.monotonic() - at > _UNTOLD_SECONDS:
            self._open.pop(path, None)
            return False
        return at is not None

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Until something happens, or it is time to look or to stop."""
        until = time.monotonic() + seconds
        stop.wait(_TICK_SECONDS)  # what happens together is looked at together
        while not self.woken.is_set() and not stop.is_set() and time.monotonic() < until:
            self.woken.wait(_TICK_SECONDS)


@contextmanager
def told(folder: DropFolder) -> Iterator[Notices]:
    """Notices of a folder and all below it; none come where the system has no watches left."""
    # It warns where it meets a new folder twice, which is harmless.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, "watchdog")
    notices = Notices()
    wanted: list[type[events.FileSystemEvent]] = [events.FileCreatedEvent, events.FileModifiedEvent,
              events.FileClosedEvent, events.FileMovedEvent, events.DirCreatedEvent, events.DirMovedEvent]  # fmt: skip
    with ExitStack() as stack:
        try:
            observer = Observer()
            observer.schedule(notices, folder.root, recursive=True, event_filter=wanted)
            observer.start()
            stack.callback(observer.join)
            stack.callback(observer.stop)
        except OSError:
            pass
        yield notices


def move(folder: DropFolder, name: str, stamp: Stamp, into: str, reason: bytes | None = None) -> None:
    """Move a photo that is still the one that was read; its sidecars are copied before, so that it is never without.

    Its folders become part of its name, ``A1_x.jpg``: a folder a day and bin would soon be more than a system watches.
    Raises OutsideError.
    """
    source = folder.path(name)
    try:
        os.makedirs(into, exist_ok=True)
        target = _free(into, name)
        beside = [pair for pair, state in zip(zip(intake.sidecars(source), intake.sidecars(target), strict=True),
                                              stamp[1:], strict=True) if state]  # fmt: skip
        for old, new in beside:
            shutil.copy2(old, new, follow_symlinks=False)
        if reason is not None:
            objects.write(f"{os.path.splitext(target)[0]}.reason.json", reason)
        if stamp_of(source) != stamp:
            return  # another photo has taken its name, and comes next
        os.rename(source, target)
        for old, _ in beside:
            if not _used(old):
                os.remove(old)
    except FileNotFoundError:
        return  # somebody has taken it away; it is in the book
    except OSError as error:
        raise refused(name, error) from None


def _used(sidecar: str) -> bool:
    """Whether a photo lies there still that a sidecar is of: a.json is that of a.jpg and of a.png."""
    stem = os.path.splitext(sidecar)[0]
    own = (stem,) if os.path.splitext(stem)[1].lower() in photo.SUFFIXES else ()
    return any(map(os.path.lexists, (*own, *(stem + ending for ending in _ENDINGS))))


def _free(into: str, name: str) -> str:
    """Where a photo goes: no other there has its name, whatever the ending, so that sidecars keep apart."""
    suffix = os.path.splitext(name)[1]
    for number in count(1):
        one = os.path.join(into, _flat(name)) + (f"~{number}" if number > 1 else "")
        if not any(os.path.lexists(one + ending) for ending in (suffix, *_ENDINGS)):
            return one + suffix
    raise AssertionError("numbers end")  # pragma: no cover


def _flat(name: str) -> str:
    """A photo's path as one name, its ending left out."""
    return os.fsdecode(os.fsencode(os.path.splitext(name)[0].replace(os.sep, "_"))[-_LONGEST_NAME:])


def remove_spent(folder: DropFolder) -> None:
    """Remove sidecars that stayed behind where a watch was killed while it moved their photo.

    Their copies, of the same time and bytes, lie with the photo. One that waits for its photo has none.
    """
    photos = set(_names(folder, photo.SUFFIXES))
    kept = photos | {os.path.splitext(name)[0] for name in photos}
    for name in _names(folder, (".json",)):
        of = os.path.splitext(name)[0]
        stem = _flat(name if os.path.splitext(of)[1].lower() not in photo.SUFFIXES else of)
        places = (folder.quarantine, *glob.glob(os.path.join(glob.escape(folder.filed), "????-??-??")))
        copies = (
            one for place in places for one in glob.iglob(os.path.join(glob.escape(place), glob.escape(stem)) + "*")
        )
        if of not in kept and any(_same(folder.path(name), one) for one in copies):
            objects.remove(folder.path(name))


def _same(one: str, other: str) -> bool:
    a, b = _state(one), _state(other)
    return bool(a and b and a[1:3] == b[1:3]) and Path(one).read_bytes() == Path(other).read_bytes()


def refused(name: str, error: OSError) -> OutsideError:
    next = {
        errno.ENOSPC: "free space on the disk",
        errno.EDQUOT: "free space on the disk",
        errno.EXDEV: "let intake.filed and intake.quarantine be folders on the same disk",
    }
    why = error.strerror or str(error)
    return OutsideError(
        f"{intake.printable(name)} cannot be taken in", why, next.get(error.errno or 0, "check its folder's rights")
    )
