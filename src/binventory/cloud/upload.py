"""A prepared catalogue as shards in a bucket or a folder: what is there is not sent again, and the manifest comes last.

A shard is named by its content, and an object of S3 is whole or not there: so what bears a shard's name and has its
size is that shard, however the upload that brought it ended. Memory: one shard for each job, and one being packed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

import binventory
from binventory import objects, s3
from binventory.counting.counter import opened_each
from binventory.data import catalogue as catalogues
from binventory.data import packing, shards
from binventory.data.catalogue import Catalogue
from binventory.data.packing import Packed
from binventory.data.shards import MANIFEST, Placed, Sample, Shard
from binventory.data.split import HELD, SIDES
from binventory.errors import BinventoryError, InputError, OutsideError, RecordError, UsageError
from binventory.flow import Track, at_once, untracked
from binventory.recipe import Recipe
from binventory.s3 import Bucket

if TYPE_CHECKING:
    from obstore.store import S3CredentialProvider

MOST = 128_000_000
"""Bytes of a shard: large enough that opening it costs nothing, small enough to send again."""

JOBS = 3
"""Shards on their way at once; each goes in parts, several at once, too."""

_OURS = re.compile(rf"(?:{'|'.join((*SIDES, HELD))})-\d{{5,}}-[0-9a-f]{{12}}\.tar|photos-[0-9a-f]{{12}}\.jsonl\.gz")


class Place(Protocol):
    """Where shards go."""

    @property
    def address(self) -> str:
        """Its name."""
        ...

    def there(self) -> dict[str, int]:
        """The names and sizes in bytes of what lies there."""
        ...

    def put(self, name: str, data: bytes | bytearray) -> None:
        """Write a file so that nobody sees a half of it."""
        ...


@dataclass(frozen=True, slots=True)
class Prefix:
    """A bucket, or a prefix in it."""

    bucket: Bucket

    @property
    def address(self) -> str:
        """Its name."""
        return self.bucket.address

    def there(self) -> dict[str, int]:
        """The names and sizes in bytes of what lies there."""
        return dict(self.bucket.sizes(""))

    def put(self, name: str, data: bytes | bytearray) -> None:
        """Write an object whole."""
        self.bucket.put(name, data)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the disk."""

    path: Path

    @property
    def address(self) -> str:
        """Its name."""
        return str(self.path)

    def there(self) -> dict[str, int]:
        """The names and sizes in bytes of what lies there."""
        try:
            with os.scandir(self.path) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OutsideError(f"{self.path} cannot be listed", str(error.strerror), "choose another --to") from None

    def put(self, name: str, data: bytes | bytearray) -> None:
        """Write a file under another name, and rename it."""
        with objects.replacing(self.path / name) as temporary:
            temporary.write_bytes(data)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What came of an upload: shards sent and shards that were there, bytes sent, photos of each count by side, and the
    names of what an older state has left."""

    address: str
    photos: int
    sent: int
    there: int
    bytes: int
    counts: dict[str, dict[str, int]]
    older: tuple[str, ...]


def place(to: str, kms_key: str | None, credentials: S3CredentialProvider | None = None) -> Place:
    """The bucket, prefix or folder that ``to`` names. ``credentials`` go before what is found.

    Raises InputError or UsageError where it cannot be one.
    """
    if objects.is_remote(to):
        return Prefix(s3.opened(to, kms_key=kms_key, credentials=credentials or _credentials()))
    if "://" in to:
        raise UsageError(f"{to} is no place for shards", "they go to S3 or into a folder", "--to s3://BUCKET/PREFIX")
    if kms_key:
        raise UsageError("--kms-key goes with s3:// alone", f"{to} is a folder", "--to s3://BUCKET/PREFIX")
    return Folder(Path(to))


def refuse_data(to: str, sources: Iterable[str]) -> None:
    """Raise UsageError where the shards would come to lie among the photos that they are made of."""
    if any(_plain(to) == _plain(one) for one in sources):
        raise UsageError(f"{to} is the data itself", "shards want a place of their own", "--to another prefix")


def upload(
    data: Catalogue, to: Place, recipe: Recipe, most: int = MOST, jobs: int = JOBS, track: Track = untracked
) -> Uploaded:
    """Every photo of a split catalogue, in shards of at most ``most`` bytes; then their index, and last their manifest.
    Safe to kill and repeat.

    Raises RecordError where there are no photos, InputError where S3 refuses or a photo can no longer be read, and
    OutsideError where S3 or the disk fails.
    """
    samples = catalogues.samples(data.work)
    if not samples:
        raise RecordError("There is nothing to upload", "the catalogue has no photos with a side", "check --data")
    there = to.there()
    arrived: list[_Arrived] = []
    with at_once(lambda one, ended: _send(one, there, to, ended), _packed(samples, most), jobs) as arrivals:
        for _ in track(_photo_by_photo(arrivals, arrived), "uploading photos", len(samples)):
            pass
    arrived.sort(key=lambda one: ((*SIDES, HELD).index(one.shard.side), one.shard.name))
    placed = [replace(photo, shard=number) for number, one in enumerate(arrived) for photo in one.photos]
    indexed = shards.index(placed)
    told = shards.manifest([one.shard for one in arrived], placed, indexed, _made(recipe, most))
    if there.get(told.index.name) != len(indexed):
        to.put(told.index.name, indexed)
    to.put(MANIFEST, shards.encoded(told))
    sent = [one.shard.bytes for one in arrived if one.sent]
    named = {told.index.name, *(one.shard.name for one in arrived)}
    older = sorted(name for name in there if _OURS.fullmatch(name) and name not in named)
    return Uploaded(to.address, len(placed), len(sent), len(arrived) - len(sent), sum(sent), told.counts, tuple(older))


def _packed(samples: Sequence[tuple[str, Sample]], most: int) -> Iterator[Packed]:
    """The photos, read and held against the catalogue, in shards."""

    def read() -> Iterator[tuple[Sample, bytes]]:
        found = opened_each(address for address, _ in samples)
        for (address, sample), photo in zip(samples, found, strict=True):
            if isinstance(photo, BinventoryError):
                raise photo
            if hashlib.sha256(photo.data).hexdigest() != sample.sha256:
                raise InputError(f"{address} has changed", "it is not the photo that was catalogued", "run it again")
            yield sample, photo.data

    return packing.packed(read(), most)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A shard that is there now, its photos, and whether it was sent; its bytes are forgotten."""

    shard: Shard
    photos: Sequence[Placed]
    sent: bool


def _send(one: Packed, there: dict[str, int], to: Place, ended: Event) -> _Arrived:
    missing = there.get(one.shard.name) != one.shard.bytes
    if missing and not ended.is_set():
        to.put(one.shard.name, one.data)
    return _Arrived(one.shard, one.photos, missing)


def _photo_by_photo(arrivals: Iterable[_Arrived], arrived: list[_Arrived]) -> Iterator[Placed]:
    """The photos of the arrivals, for progress is told in photos; the arrivals are gathered into ``arrived``."""
    for one in arrivals:
        arrived.append(one)
        yield from one.photos


def _made(recipe: Recipe, most: int) -> dict[str, Any]:
    return {
        "by": f"binventory {binventory.__version__}",
        "most_bytes": most,
        "seed": recipe.seed,
        "split": asdict(recipe.split),
        "link": asdict(recipe.link),
    }


def _plain(address: str) -> str:
    return address.rstrip("/") if objects.is_remote(address) else str(Path(address).resolve())


def _credentials() -> S3CredentialProvider | None:
    """What boto3 finds (a profile, single sign-on, a machine's role) where the environment names no credentials; None
    where boto3 is not installed or finds none. Raises InputError where they have expired."""
    if s3.signed():
        return None
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ModuleNotFoundError:
        return None
    try:
        session = boto3.Session()
        found = session.get_credentials()
        if found is None:
            return None
        found.get_frozen_credentials()
        # boto3 hands none out that end within ten minutes.
        provider: S3CredentialProvider = Boto3CredentialProvider(session, ttl=timedelta(minutes=10))
    except (BotoCoreError, ClientError) as error:
        raise InputError("The credentials cannot be used", str(error).rstrip("."), "aws sso login") from None
    return provider
