"""The one client for S3, over obstore (Apache's object_store). An address reads ``s3://bucket/key``.

Requests are signed when the environment names credentials (``AWS_ACCESS_KEY_ID``, a web identity, a container's),
and unsigned otherwise, as public buckets want. ``AWS_ENDPOINT_URL`` and ``AWS_REGION`` are honoured.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import S3Store

_SIGNED_BY = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
_PATIENCE = timedelta(seconds=20)
"""How long S3 may be silent, and how long a request is tried again."""


def is_remote(address: str) -> bool:
    """Whether the address lies on S3."""
    return address.startswith("s3://")


def find(address: str, suffixes: frozenset[str]) -> Iterator[str]:
    """The objects below a prefix that end in one of ``suffixes``, in order, hidden ones left out.

    An address that ends so itself stands for itself. Raises InputError where S3 refuses, OutsideError where it does
    not answer.
    """
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


def read(address: str, check: Callable[[int], None]) -> bytes:
    """The bytes of an object. ``check`` sees their number before they are asked for, and may refuse it.

    Raises InputError for what is missing or forbidden, OutsideError where S3 does not answer.
    """
    import obstore

    with _told(address, "read"):
        answer = obstore.get(*_object(address))
        check(answer.meta["size"])
        return bytes(answer.bytes())


def write(address: str, data: bytes) -> None:
    """Write an object whole. Raises InputError where S3 refuses or has no such bucket, OutsideError where it fails."""
    import obstore

    with _told(address, "written"):
        obstore.put(*_object(address), data)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer may take: seconds of silence, and as many more as it needs at the slowest bytes a second."""

    seconds: float = _PATIENCE.total_seconds()
    slowest: float = 4096.0

    def within(self, size: int) -> float:
        """The seconds that a body of ``size`` bytes may take."""
        return self.seconds + size / self.slowest


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, or what lies below a prefix of it, opened for many transfers at once."""

    address: str
    store: S3Store
    lister: S3Store
    prefix: str
    patience: Patience

    def place(self, key: str) -> str:
        """The address of a key below the prefix."""
        return f"{self.address}/{key}"

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Names and sizes in bytes of the objects that lie in a folder, in S3's order; those deeper are left out.

        Raises InputError where S3 refuses, OutsideError where it does not answer.
        """
        import obstore

        whole = f"{self.prefix}{folder}/"
        with _told(self.place(folder), "listed"):
            for chunk in obstore.list(self.lister, whole):
                for meta in chunk:
                    name = meta["path"].removeprefix(whole)
                    if "/" not in name:
                        yield name, meta["size"]

    def get(self, key: str, unless: str | None = None, checked: bool = True) -> bytes | None:
        """The bytes of an object, asked for once. ``unless``: None is given where it still has this md5.

        Length, and ETag where that is an md5 and ``checked`` is set, are those that S3 states. Raises MissingError,
        InputError where S3 refuses, UsageError where there is no such bucket, and OutsideError for whatever may go
        better next time: no answer, a broken or damaged body, one too slow for the patience.
        """
        import obstore
        from obstore.exceptions import NotModifiedError

        place = self.place(key)
        wish: GetOptions = {"if_none_match": f'"{unless}"'} if unless else {}
        try:
            with _told(place, "read"), self._bucket_told():
                answer = obstore.get(self.store, self.prefix + key, options=wish)
                data = self._body(place, answer)
        except NotModifiedError:
            return None
        # An ETag of many parts is no md5, and looks unlike one.
        etag = (answer.meta["e_tag"] or "").strip('"')
        is_md5 = checked and re.fullmatch(r"[0-9a-f]{32}", etag)
        if is_md5 and hashlib.md5(data, usedforsecurity=False).hexdigest() != etag:
            raise OutsideError(f"{place} came damaged", "its bytes are not those of its checksum", "run it again")
        return data

    def _body(self, place: str, answer: GetResult) -> bytes:
        size = answer.meta["size"]
        until = time.monotonic() + self.patience.within(size)
        chunks = []
        for chunk in answer.stream(min_chunk_size=1):  # as it comes, so that a trickle is noticed
            chunks.append(chunk)
            if time.monotonic() > until:
                why = f"it came slower than {self.patience.slowest / 1000:g} kB/s"
                raise OutsideError(f"{place} cannot be read", why, "check the network, and run it again")
        data = b"".join(chunks)
        if len(data) != size:
            raise OutsideError(f"{place} came damaged", f"{len(data):,} of its {size:,} bytes came", "run it again")
        return data

    @contextmanager
    def _bucket_told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise UsageError(f"{self.address} does not exist", "S3 has no such bucket", "s3://BUCKET") from None


def opened(address: str, endpoint: str | None = None, patience: Patience = PATIENCE) -> Bucket:
    """A bucket or prefix opened for many transfers. ``endpoint`` goes before the environment's.

    Nothing is asked of S3 yet. Listing tries again by itself, getting does not: that is for whoever asks. Raises
    InputError for an address that names no bucket, UsageError for an endpoint that is no address.
    """
    bucket, key = _parts(address)
    prefix = f"{key.strip('/')}/" if key.strip("/") else ""
    if endpoint is not None:
        _refuse_endpoint(endpoint, "--endpoint-url")
    named = _environment(endpoint)
    store = _connected(bucket, named, timedelta(seconds=patience.seconds), 0)
    return Bucket(f"s3://{bucket}/{prefix}".rstrip("/"), store, _connected(bucket, named, _PATIENCE), prefix, patience)


def _parts(address: str) -> tuple[str, str]:
    """Bucket and key of an S3 address."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not is_remote(address) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", bucket):
        raise InputError(f"{address} names no bucket", "addresses read s3://bucket/key", "s3://BUCKET/PREFIX")
    return bucket, key


def _object(address: str) -> tuple[S3Store, str]:
    bucket, key = _parts(address)
    if not key.strip("/"):
        raise InputError(f"{address} names no object", "it is a whole bucket", f"s3://{bucket}/KEY")
    return _store(bucket), key


def _store(bucket: str) -> S3Store:
    return _connected(bucket, _environment(), _PATIENCE)


def _environment(endpoint: str | None = None) -> frozenset[tuple[str, str]]:
    named = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return frozenset((named | ({"AWS_ENDPOINT_URL_S3": endpoint} if endpoint else {})).items())


@lru_cache(maxsize=8)  # a connection is dear to open, and serves all threads
def _connected(
    bucket: str, environment: frozenset[tuple[str, str]], silence: timedelta, retries: int | None = None
) -> S3Store:
    """The store of one bucket as the environment's AWS_ variables have it; obstore reads credentials by itself."""
    from obstore.store import S3Store

    given = dict(environment)
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
    _refuse_endpoint(endpoint, "AWS_ENDPOINT_URL")
    signed = any(given.get(name) for name in _SIGNED_BY)
    return S3Store(
        bucket,
        region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1",
        skip_signature=not signed,
        # The default bounds a whole download to half a minute, which a large file on a slow line needs longer than.
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "timeout": timedelta(hours=1),
            "read_timeout": silence,
        },
        retry_config={"retry_timeout": _PATIENCE} if retries is None else {"max_retries": retries},
        config={"endpoint": endpoint.rstrip("/")} if endpoint else {},
    )


def _refuse_endpoint(endpoint: str | None, name: str) -> None:
    with suppress(ValueError):
        if not endpoint or (urlsplit(endpoint).scheme in ("http", "https") and urlsplit(endpoint).hostname):
            return
    raise UsageError(f"{name} is no address", f"it reads {endpoint!r}", f"{name}=https://HOST")


@contextmanager
def _told(address: str, done: str) -> Iterator[None]:
    """S3's many errors as one sentence each; ``done`` says what was to be done with the address."""
    from obstore.exceptions import (
        BaseError,
        NotFoundError,
        NotModifiedError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    try:
        yield
    except (BinventoryError, NotModifiedError):
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


def _short(error: Exception) -> str:
    """obstore's first line without the request, and the operating system's word, which it gives far below."""
    said, _, details = str(error).partition("\n\n")
    text = " ".join((said.partition(" - ")[2] or said).split())
    system = re.search(r'message: "([^"]+)"', details)
    text = (text[:160] + "…" if len(text) > 160 else text).rstrip(".") or type(error).__name__
    return f"{text} ({system[1]})" if system else text
