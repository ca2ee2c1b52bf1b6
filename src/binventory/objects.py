"""List, read and write-then-rename, for paths and ``s3://`` alike. An address is a path or ``s3://bucket/key``.

Paths go through the standard library, S3 through the room ``s3``. The address of a part of a file is that of the file
with offset, length and checksum behind it (``s3://bucket/train.tar#1536+40960@9f86d081884c``): what lies in a shard is
read as if it lay alone.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from binventory import s3
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError
from binventory.s3 import is_remote as is_remote

STDIN = "-"
_PART = re.compile(r"(.+\.tar)#(\d{1,18})\+(\d{1,18})@([0-9a-f]{12})", re.DOTALL)
_SPAN = 2 << 20
_GAP = 1 << 14
"""Parts of one file that lie no further apart are asked for together, up to so many bytes at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: where it begins, how many bytes it has, and the first 12 digits of their sha256."""

    file: str
    offset: int
    length: int
    digest: str

    @property
    def address(self) -> str:
        """What ``read`` takes."""
        return f"{self.file}#{self.offset}+{self.length}@{self.digest}"

    @property
    def end(self) -> int:
        """Where the next byte lies."""
        return self.offset + self.length


def part(address: str) -> Part | None:
    """The part of a file that an address names, or None where it names a whole one."""
    found = _PART.fullmatch(address) if "#" in address else None
    return Part(found[1], int(found[2]), int(found[3]), found[4]) if found else None


def find(address: str, suffixes: frozenset[str]) -> Iterator[str]:
    """The addresses that ``address`` stands for, in order.

    A folder or an S3 prefix stands for all files below it that end in one of ``suffixes`` (lower case, with dot;
    hidden files left out); a pattern that names no file of its own for what it matches; anything else, existing or
    not, for itself.

    Raises InputError where a folder, prefix or pattern stands for nothing or a folder cannot be listed, OutsideError
    where S3 does not answer.
    """
    if address == STDIN or part(address):
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
    if one := part(address):
        return _unwrapped(read_together([one], most)[0])
    if is_remote(address):
        return s3.read(address, lambda length: _refuse_longer(address, length, most))
    with _regular(address) as file:
        _refuse_longer(address, os.fstat(file.fileno()).st_size, most)
        data = file.read(most + 1)
        _refuse_longer(address, len(data), most)  # it may have grown, and some file systems name no sizes
        return data


def together(addresses: Iterable[str]) -> Iterator[list[str]]:
    """The addresses in their order, in lists: those of parts that lie side by side in one file together, as one
    request reads them, each other alone."""
    gathered: list[str] = []
    first = last = None
    for address in addresses:
        one = part(address)
        near = one and last and first and one.file == last.file and 0 <= one.offset - last.end <= _GAP
        if not (near and one and first and one.end - first.offset <= _SPAN):
            if gathered:
                yield gathered
            gathered, first = [], one
        gathered.append(address)
        last = one
    if gathered:
        yield gathered


def read_together(parts: Sequence[Part], most: int) -> list[bytes | BinventoryError]:
    """The bytes of parts of one file, in order, asked for at once; a part of too many or of other bytes than its
    checksum says is its error.

    Raises InputError and OutsideError as ``read`` does.
    """
    begin, end = parts[0].offset, max(one.end for one in parts)
    file = parts[0].file
    data = memoryview(s3.read_part(file, begin, end - begin) if is_remote(file) else _read_part(file, begin, end))
    return [_checked(one, data[one.offset - begin : one.end - begin], begin + len(data), most) for one in parts]


def _checked(one: Part, data: memoryview, end: int, most: int) -> bytes | BinventoryError:
    if one.length > most:
        why = f"it has {one.length:,} bytes, {most:,} at most"
        return InputError(f"{one.address} is too large", why, "save it smaller")
    if len(data) != one.length:
        why = f"it ends at byte {end:,}, and a photo reaches to {one.end:,}"
        return InputError(f"{one.file} is cut short", why, "upload or copy it again")
    if hashlib.sha256(data).hexdigest()[:12] != one.digest:
        why = f"the bytes from {one.offset:,} to {one.end:,} are not those of their checksum"
        return InputError(f"{one.file} is damaged", why, "upload or copy it again")
    return bytes(data)


def _read_part(file: str, begin: int, end: int) -> bytes:
    with _regular(file) as opened:
        opened.seek(begin)
        return opened.read(end - begin)


def _unwrapped(data: bytes | BinventoryError) -> bytes:
    if isinstance(data, BinventoryError):
        raise data
    return data


@contextmanager
def _regular(path: str) -> Iterator[BinaryIO]:
    """A regular file, opened for reading without waiting on what is none. Raises InputError."""
    try:
        # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            kind = os.fstat(handle)
            if not stat.S_ISREG(kind.st_mode):
                raise InputError(f"{path} is not a regular file", f"it is {_kind(kind.st_mode)}", "give a file")
            yield file
    except ValueError:  # a zero byte in the path
        raise InputError("A path cannot be read", "it holds a zero byte", "check the list of photos") from None
    except OSError as error:
        raise _unreadable(path, error) from None


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


def there(address: str) -> bool:
    """Whether there is a file or an object at an address. Raises OutsideError where S3 does not answer."""
    return s3.there(address) if is_remote(address) else os.path.isfile(address)


def remove(address: str) -> None:
    """Remove a file or an object; one that is not there is no error.

    Raises OutsideError where the disk or S3 fails, InputError where S3 refuses.
    """
    if is_remote(address):
        s3.remove(address)
        return
    try:
        with suppress(FileNotFoundError):
            os.remove(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutsideError(f"{address} cannot be removed", why, "check its folder's rights") from None


@contextmanager
def locked(path: Path, shared: bool = False, seconds: float | None = None) -> Iterator[bool]:
    """Hold the lock of a file, made where it is missing, or share it with others that do; dead processes hold none.

    Gives whether the lock was had within ``seconds`` (None: however long it takes). A file system without locks
    counts as one where nobody else holds them.
    """
    import fcntl  # not on every system that counts

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
        make_folder(path.parent)
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


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, each synced to disk in its own. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


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
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # not every file system syncs folders
            raise
    finally:
        os.close(handle)
