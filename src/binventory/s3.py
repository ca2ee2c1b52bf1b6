"""The one client for S3, over obstore (Apache's object_store). An address reads ``s3://bucket/key``.

Requests are signed when the environment names credentials (``AWS_ACCESS_KEY_ID``, a web identity, a container's),
and unsigned otherwise, as public buckets want, unless whoever opens a bucket hands credentials in.
``AWS_ENDPOINT_URL`` and ``AWS_REGION`` are honoured.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import RetryConfig, S3Config, S3CredentialProvider, S3Store

_SIGNED_BY = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
_PATIENCE = timedelta(seconds=20)
"""How long S3 may be silent, and how long a request is tried again."""
_WAITS = (0.5, 2.0, 8.0)
"""Seconds between tries, each of which lasts as long as the patience."""
_WRITING = timedelta(minutes=4)
"""How long a part of an upload is tried again: S3 asks for less haste (503 SlowDown) for minutes at times."""
_CHUNK = 16 << 20
"""Bytes of a part of an upload. S3 takes 10,000 parts of 5 MiB or more."""
_PERMISSIONS = {
    "read": "s3:GetObject", "written": "s3:PutObject", "listed": "s3:ListBucket", "removed": "s3:DeleteObject",
}  # fmt: skip
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_ELSEWHERE = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")
_UNKNOWN = ("InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch")


def is_remote(address: str) -> bool:
    """Whether the address lies on S3."""
    return address.startswith("s3://")


def signed() -> bool:
    """Whether the environment names credentials."""
    return any(os.environ.get(name) for name in _SIGNED_BY)


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


def read_part(address: str, offset: int, length: int) -> bytes:
    """So many bytes of an object from an offset on; fewer where it ends before.

    Asked for again, with waits that double, where S3 does not answer: what reads parts reads many, for hours.

    Raises InputError for what is missing or forbidden or ends before the offset, OutsideError where S3 fails.
    """
    import obstore

    store, key = _object(address)
    for wait in _WAITS:
        try:
            with _told(address, "read"):
                return bytes(obstore.get_range(store, key, start=offset, length=length))
        except OutsideError:
            time.sleep(wait * random.uniform(0.5, 1))
    with _told(address, "read"):
        return bytes(obstore.get_range(store, key, start=offset, length=length))


def write(address: str, data: bytes, kms_key: str | None = None) -> None:
    """Write an object whole, encrypted as its bucket is set to, or with ``kms_key`` of KMS.

    Raises InputError where S3 refuses or has no such bucket, OutsideError where it fails.
    """
    import obstore

    with _told(address, "written"):
        store, key = _object(address)
        if kms_key:
            settings = _encrypting(kms_key)
            store = _connected(_parts(address)[0], _environment(), _PATIENCE, settings=settings)
        obstore.put(store, key, data)


def there(address: str) -> bool:
    """Whether there is an object. Raises InputError where S3 refuses to say, OutsideError where it does not answer."""
    import obstore

    with suppress(MissingError), _told(address, "read"):
        obstore.head(*_object(address))
        return True
    return False


def remove(address: str) -> None:
    """Remove an object; one that is not there is no error.

    Raises InputError where S3 refuses, OutsideError where it does not answer.
    """
    import obstore

    with suppress(MissingError), _told(address, "removed"):
        obstore.delete(*_object(address))


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
    """A bucket, or what lies below a prefix of it, opened for many transfers at once.

    ``store`` asks once, ``lister`` and ``writer`` try again; ``writer`` has S3 encrypt what it writes.
    """

    address: str
    store: S3Store
    lister: S3Store
    writer: S3Store
    prefix: str
    patience: Patience

    def place(self, key: str) -> str:
        """The address of a key below the prefix."""
        return f"{self.address}/{key}"

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Names and sizes in bytes of the objects that lie in a folder ("": right below the prefix), in S3's order;
        those deeper are left out.

        Raises InputError where S3 refuses, OutsideError where it does not answer.
        """
        import obstore

        whole = f"{self.prefix}{folder}/" if folder else self.prefix
        with _told(self.place(folder).rstrip("/"), "listed"), self._bucket_told():
            for chunk in obstore.list(self.lister, whole or None):
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

    def put(self, key: str, data: bytes | bytearray) -> None:
        """Write an object whole, in parts where it is large, each tried again for minutes.

        Raises UsageError where there is no such bucket, InputError where S3 refuses, OutsideError where it fails.
        """
        import obstore

        with _told(self.place(key), "written"), self._bucket_told():
            obstore.put(self.writer, self.prefix + key, data, chunk_size=_CHUNK)

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
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if not _said(error, ("NoSuchBucket",)):
                raise
            next = "check its name, or make it: aws s3 mb s3://BUCKET"
            raise UsageError(f"{self.address} does not exist", "S3 has no such bucket", next) from None


def opened(
    address: str, endpoint: str | None = None, patience: Patience = PATIENCE, kms_key: str | None = None,
    credentials: S3CredentialProvider | None = None,
) -> Bucket:  # fmt: skip
    """A bucket or prefix opened for many transfers. ``endpoint`` goes before the environment's, and so do
    ``credentials``. What is written is encrypted by S3: with its own key (AES256), or with ``kms_key`` of KMS.

    Nothing is asked of S3 yet. Listing and writing try again by themselves, getting does not: that is for whoever
    asks. Raises InputError for an address that names no bucket, UsageError for an endpoint that is no address.
    """
    bucket, key = _parts(address)
    prefix = f"{key.strip('/')}/" if key.strip("/") else ""
    if endpoint is not None:
        _refuse_endpoint(endpoint, "--endpoint-url")
    named = _environment(endpoint)
    by: Any = credentials  # whose protocol does not say that it can be hashed
    store = _connected(bucket, named, timedelta(seconds=patience.seconds), 0, credentials=by)
    lister = _connected(bucket, named, _PATIENCE, credentials=by)
    writer = _connected(bucket, named, _PATIENCE, None, _WRITING, _encrypting(kms_key), by)
    return Bucket(f"s3://{bucket}/{prefix}".rstrip("/"), store, lister, writer, prefix, patience)


def _encrypting(kms_key: str | None) -> frozenset[tuple[str, str | bool]]:
    """The settings under which S3 encrypts what it is given. With a bucket key KMS is asked once, not for each part."""
    own = {"server_side_encryption": "AES256"}
    kms = {"server_side_encryption": "aws:kms", "sse_kms_key_id": kms_key, "sse_bucket_key_enabled": True}
    return frozenset((name, value) for name, value in (kms if kms_key else own).items() if value is not None)


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
    bucket: str, environment: frozenset[tuple[str, str]], silence: timedelta, retries: int | None = None,
    again: timedelta | None = None, settings: frozenset[tuple[str, str | bool]] = frozenset(), credentials: Any = None,
) -> S3Store:  # fmt: skip
    """The store of one bucket as the environment's AWS_ variables have it; obstore reads credentials by itself.

    Tries again ``retries`` times, or (None) for as long as ``again``.
    """
    from obstore.store import S3Store

    given = dict(environment)
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
    _refuse_endpoint(endpoint, "AWS_ENDPOINT_URL")
    signed = credentials is not None or any(given.get(name) for name in _SIGNED_BY)
    config = cast("S3Config", dict(settings) | ({"endpoint": endpoint.rstrip("/")} if endpoint else {}))
    patient: RetryConfig = {"retry_timeout": again, "max_retries": 40} if again else {"retry_timeout": _PATIENCE}
    return S3Store(
        bucket,
        region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or _region_of(credentials) or "us-east-1",
        skip_signature=not signed,
        # The default bounds a whole download to half a minute, which a large file on a slow line needs longer than.
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "timeout": timedelta(hours=1),
            "read_timeout": silence,
        },
        retry_config=patient if retries is None else {"max_retries": retries},
        config=config,
        credential_provider=credentials,
    )


def _region_of(credentials: Any) -> str | None:
    """The region that a profile names beside its credentials."""
    region: str | None = getattr(credentials, "config", {}).get("region")
    return region


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
        if _said(error, _ELSEWHERE) or "incorrectly configured region" in str(error):
            region = re.search(r"<Region>([a-z0-9-]+)</Region>", str(error))
            why = f"it is {region[1]}" if region else "S3 does not say which"
            next = f"AWS_REGION={region[1] if region else 'REGION'}"
            raise InputError(f"The bucket of {address} is in another region", why, next) from None
        if code == "416":
            raise InputError(f"{address} is cut short", "S3 has fewer bytes of it", "upload it again") from None
        refused = isinstance(error, (PermissionError, PermissionDeniedError, UnauthenticatedError))
        if refused or code in ("401", "403") or _said(error, _EXPIRED):
            raise _refusal(address, done, error) from None
        raise OutsideError(
            f"{address} cannot be {done}",
            _short(error),
            "check the network, AWS_REGION and AWS_ENDPOINT_URL, and run it again",
        ) from None
    except ValueError as error:
        raise InputError(f"{address} is no address of an object", _short(error), "s3://BUCKET/KEY") from None


def _said(error: Exception, codes: tuple[str, ...]) -> bool:
    """Whether S3's answer bears one of these codes."""
    return any(f"<Code>{code}</Code>" in str(error) for code in codes)


def _refusal(address: str, done: str, error: Exception) -> InputError:
    """Why S3 refused: credentials that have expired or are wrong, or a permission that is missing, by its name."""
    what = f"{address} may not be {done}"
    if _said(error, _EXPIRED):
        next = "sign in again (aws sso login), or renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
        return InputError(what, "the credentials have expired", next)
    if _said(error, _UNKNOWN):
        next = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
        return InputError(what, "S3 does not accept the credentials", next)
    # Of KMS and of policies S3 says itself which permission it misses.
    named = re.search(r"not authorized to perform: ([a-z0-9]+:[A-Za-z]+)", str(error))
    permission = named[1] if named else _PERMISSIONS[done]
    next = f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have {permission} allowed: user, role, bucket's policy"
    return InputError(what, "S3 refused it", next)


def _short(error: Exception) -> str:
    """obstore's first line without the request, and the operating system's word, which it gives far below."""
    said, _, details = str(error).partition("\n\n")
    text = " ".join((said.partition(" - ")[2] or said).split())
    system = re.search(r'message: "([^"]+)"', details)
    text = (text[:160] + "…" if len(text) > 160 else text).rstrip(".") or type(error).__name__
    return f"{text} ({system[1]})" if system else text
