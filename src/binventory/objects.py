"""List, read and write-then-rename, for paths and ``s3://`` alike. An address is a path or ``s3://bucket/key``.

Paths go through the standard library, S3 through obstore (Apache's object_store). Requests to S3 are signed when
the environment names credentials (``AWS_ACCESS_KEY_ID``, a web identity, a container's), and unsigned otherwise, as
public buckets want. ``AWS_ENDPOINT_URL`` and ``AWS_REGION`` are honoured.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError

if TYPE_CHECKING:
    from obstore.store import S3Store

STDIN = "-"
_SIGNED_BY = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
_PATIENCE = timedelta(seconds=20)
"""How long S3 may be silent, and how long a request is tried again."""


def is_remote(address: str) -> bool:
    """Whether the address lies on S3."""
    return address.startswith("s3://")


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
        return _read_remote(address, most)
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
        import obstore

        with _told(address, "written"):
            obstore.put(*_object(address), data)
        return
    with replacing(Path(address)) as temporary:
        temporary.write_bytes(data)


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
        yield from _find_remote(address, suffixes)
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


def _find_remote(address: str, suffixes: frozenset[str]) -> Iterator[str]:
    import obstore

    bucket, prefix = _parts(address)
    if os.path.splitext(prefix)[1].lower() in suffixes:
        yield address
        return
    prefix = prefix.rstrip("/")
    with _told(address, "read"):
        # object_store lists whole path segments below a prefix, in no promised order
        paths = [meta["path"] for chunk in obstore.list(_store(bucket), prefix or None) for meta in chunk]
    for path in sorted(paths):
        hidden = "/." in "/" + path[len(prefix) :].lstrip("/")
        if not hidden and os.path.splitext(path)[1].lower() in suffixes:
            yield f"s3://{bucket}/{path}"


def _read_remote(address: str, most: int) -> bytes:
    import obstore

    with _told(address, "read"):
        answer = obstore.get(*_object(address))
        _refuse_longer(address, answer.meta["size"], most)
        return bytes(answer.bytes())


def _parts(address: str) -> tuple[str, str]:
    """Bucket and key of an S3 address."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", bucket):
        raise InputError(f"{address} names no bucket", "addresses read s3://bucket/key", "s3://BUCKET/PREFIX")
    return bucket, key


def _object(address: str) -> tuple[S3Store, str]:
    bucket, key = _parts(address)
    if not key.strip("/"):
        raise InputError(f"{address} names no object", "it is a whole bucket", f"s3://{bucket}/KEY")
    return _store(bucket), key


def _store(bucket: str) -> S3Store:
    return _connected(bucket, frozenset(one for one in os.environ.items() if one[0].startswith("AWS_")))


@lru_cache(maxsize=8)  # a connection is dear to open, and serves all threads
def _connected(bucket: str, environment: frozenset[tuple[str, str]]) -> S3Store:
    """The store of one bucket as the environment's AWS_ variables have it; obstore reads credentials by itself."""
    from obstore.store import S3Store

    given = dict(environment)
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
    _refuse_endpoint(endpoint)
    signed = any(given.get(name) for name in _SIGNED_BY)
    return S3Store(
        bucket,
        region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1",
        skip_signature=not signed,
        # The default bounds a whole download to half a minute, which a large file on a slow line needs longer than.
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "timeout": timedelta(hours=1),
            "read_timeout": _PATIENCE,
        },
        retry_config={"retry_timeout": _PATIENCE},
        config={"endpoint": endpoint.rstrip("/")} if endpoint else {},
    )


def _refuse_endpoint(endpoint: str | None) -> None:
    with suppress(ValueError):
        if not endpoint or (urlsplit(endpoint).scheme in ("http", "https") and urlsplit(endpoint).hostname):
            return
    raise UsageError("AWS_ENDPOINT_URL is no address", f"it reads {endpoint!r}", "AWS_ENDPOINT_URL=https://HOST")


@contextmanager
def _told(address: str, done: str) -> Iterator[None]:
    """S3's many errors as one sentence each; ``done`` says what was to be done with the address."""
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except BinventoryError:
        raise
    except (BaseError, OSError) as error:
        # Listing gives every refusal as a general error that names the status.
        status = re.search(r"status code: (\d+)", str(error))
        code = status[1] if status else ""
        if isinstance(error, (FileNotFoundError, NotFoundError)) or code == "404":
            raise MissingError(
                f"{address} does not exist", "S3 has no such bucket or object", "check bucket and key"
            ) from None
        if isinstance(error, (PermissionError, PermissionDeniedError, UnauthenticatedError)) or code in ("401", "403"):
            raise InputError(
                f"{address} may not be {done}",
                "S3 refused it",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or check the bucket's policy",
            ) from None
        raise OutsideError(
            f"{address} cannot be {done}",
            _short(error),
            "check the network, AWS_REGION and AWS_ENDPOINT_URL, and run it again",
        ) from None
    except ValueError as error:
        raise InputError(f"{address} is no address of an object", _short(error), "s3://BUCKET/KEY") from None


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


def _short(error: Exception) -> str:
    """obstore's first line without the request, and the operating system's word, which it gives far below."""
    said, _, details = str(error).partition("\n\n")
    text = " ".join((said.partition(" - ")[2] or said).split())
    system = re.search(r'message: "([^"]+)"', details)
    text = (text[:160] + "…" if len(text) > 160 else text).rstrip(".") or type(error).__name__
    return f"{text} ({system[1]})" if system else text


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system syncs folders
            os.fsync(handle)
    finally:
        os.close(handle)
