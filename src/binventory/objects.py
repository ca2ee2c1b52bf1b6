"""List, read and write-then-rename, for paths and ``s3://`` alike. An address is a path or ``s3://bucket/key``.

Paths go through the standard library, S3 through the room ``s3``.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from binventory import s3
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError
from binventory.s3 import is_remote as is_remote

STDIN = "-"


def find(address: str, suffixes: frozenset[str]) -> Iterator[str]:
    """The addresses that ``address`` stands for, in order.

    A folder or an S3 prefix stands for all files below it that end in one of ``suffixes`` (lower case, with dot;
    hidden files left out); a pattern that names no file of its own for what it matches; anything else, existing or
    not, for itself.

    Raises InputError where a folder, prefix or pattern stands for nothing or a folder cannot be listed, OutsideError
    where S3 does not answer.
    """
    if address == STDIN:
        yield address
        return
    found = False
    for one in _find(address, suffixes):
        found = True
        yield one
    if not found:
        raise MissingError(f"{address} holds no photos", f"nothing there ends in {', '.join(sorted(suffixes))}",
                         "check the path")  # fmt: skip


def read(address: str, most: int) -> bytes:
    """The bytes at an address, at most ``most`` of them; ``-`` is standard input.

    Raises InputError for what is missing, forbidden, too large, or no regular file (a folder, pipe or device is
    refused without waiting on it), and OutsideError where S3 does not answer.
    """
    if address == STDIN:
        if sys.stdin is None:
            raise InputError("Standard input cannot be read", "it is closed", "pipe a photo into it")
        data = sys.stdin.buffer.read(most + 1)
        _refuse_longer("standard input", len(data), most)
        return data
    if is_remote(address):
        return s3.read(address, lambda length: _refuse_longer(address, length, most))
    try:
        # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK.
        handle = os.open(address, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            kind = os.fstat(handle)
            if not stat.S_ISREG(kind.st_mode):
                raise InputError(f"{address} is not a regular file", f"it is {_kind(kind.st_mode)}", "give a file")
            _refuse_longer(address, kind.st_size, most)
            data = file.read(most + 1)
            _refuse_longer(address, len(data), most)  # it may have grown, and some file systems name no sizes
            return data
    except ValueError:  # a zero byte in the path
        raise InputError("A path cannot be read", "it holds a zero byte", "check the list of photos") from None
    except OSError as error:
        raise _unreadable(address, error) from None


def stamp(address: str) -> str | None:
    """What changes when a local file does (its size and time), or None where only reading would tell."""
    with suppress(OSError, ValueError):
        if not is_remote(address):
            status = os.stat(address)
            return f"{status.st_size}:{status.st_mtime_ns}"
    return None


def write(address: str, data: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a half.

    Raises OutsideError where the disk or S3 fails, InputError where S3 refuses or has no such bucket.
    """
    if is_remote(address):
        s3.write(address, data)
        return
    with replacing(Path(address)) as temporary:
        temporary.write_bytes(data)


@contextmanager
def locked(path: Path, shared: bool = False, seconds: float | None = None) -> Iterator[bool]:
    """Hold the lock of a file, made where it is missing, or share it with others that do; dead processes hold none.

    Gives whether the lock was had within ``seconds`` (None: however long it takes). A file system without locks
    counts as one where nobody else holds them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    until = None if seconds is None else time.monotonic() + seconds
    had = False
    try:
        while not had:
            try:
                fcntl.flock(handle, kind if until is None else kind | fcntl.LOCK_NB)
                had = True
            except BlockingIOError:
                if until is not None and time.monotonic() > until:
                    break
                time.sleep(0.05)
            except OSError:  # a file system without locks
                had = True
        yield had
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, synced to disk, when the block ends without an error.

    Works for a file and for a folder that the block makes. Raises OutsideError where the disk refuses.
    """
    named, path = path, Path(os.path.abspath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:32]}.", dir=path.parent) as scratch:
            temporary = Path(scratch) / path.name
            yield temporary
            for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
                _sync(file)
            _exchange(temporary, path, Path(scratch) / "old")
            _sync(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise OutsideError(f"{named} cannot be written", error.strerror or str(error),
                           "free space on the disk" if full else "choose another place") from None  # fmt: skip


def _exchange(new: Path, path: Path, old: Path) -> None:
    """Put ``new`` at ``path``; a folder there is moved to ``old`` first, and back where that fails."""
    if not (new.is_dir() and path.is_dir()):
        os.replace(new, path)
        return
    try:
        os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise


def _find(address: str, suffixes: frozenset[str]) -> Iterator[str]:
    if is_remote(address):
        yield from s3.find(address, suffixes)
    elif os.path.isdir(address):
        for folder, folders, names in os.walk(address, onerror=_unlisted):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                    yield os.path.join(folder, name)
    elif not os.path.lexists(address) and glob.has_magic(address):
        for match in sorted(glob.glob(address, recursive=True)):
            if os.path.isdir(match):
                yield from _find(match, suffixes)
            else:
                yield match
    else:
        yield address


def _unreadable(address: str, error: OSError) -> BinventoryError:
    if isinstance(error, FileNotFoundError):
        if os.path.islink(address):
            return MissingError(f"{address} leads nowhere", f"it links to {os.readlink(address)}", "mend the link")
        return MissingError(f"{address} does not exist", "there is no such file", "check the path")
    if isinstance(error, IsADirectoryError) or error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
        kind = "a folder" if isinstance(error, IsADirectoryError) else "a socket"
        return InputError(f"{address} is not a regular file", f"it is {kind}", "give a file")
    return InputError(f"{address} cannot be read", error.strerror or str(error), "check the path and its rights")


def _refuse_longer(name: str, length: int, most: int) -> None:
    if length > most:
        raise InputError(f"{name} is too large", f"it has {length:,} bytes, {most:,} at most", "save it smaller")


def _kind(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((name for test, name in kinds.items() if test(mode)), "something else")


def _unlisted(error: OSError) -> None:
    # os.walk would leave the folder out, and its photos with it, without a word.
    raise InputError(f"{error.filename} cannot be listed", error.strerror or str(error), "check its rights")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system syncs folders
            os.fsync(handle)
    finally:
        os.close(handle)
