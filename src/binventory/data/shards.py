"""Shards: a prepared catalogue as WebDataset tar files, with its counts, runs and sides. What they hold, and reading.

A folder or S3 prefix of shards holds tar files named by side, number and content, an index with a row a photo
(``photos-<sha12>.jsonl.gz``: what the catalogue knows of it, in which shard it lies, from which byte on), and
``shards.json``, which names all of them with their checksums and is written last. In a tar each photo is two members,
``KEY.jpg`` (or png …) with the photo's own bytes and ``KEY.json``, as the library ``webdataset`` reads them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from binventory import objects
from binventory.data.layout import Found, Label, Source
from binventory.data.links import Link
from binventory.data.merge import Look
from binventory.data.split import HELD, SIDES
from binventory.errors import InputError, MissingError, RecordError
from binventory.objects import Part

MANIFEST = "shards.json"
FORMAT = "binventory shards"
VERSION = 1
_MOST_BYTES = 1 << 30
_LONGEST_KEY = 80  # a name in a plain tar header has 100 bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a photo's record without what names the article: what learning needs, in inches and pounds."""

    quantity: int | None
    height: float | None
    length: float | None
    width: float | None
    weight: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo as its shard tells of it: what the catalogue knows, its run, its side, the rules that leave it out of
    learning (``cleaned``), the links to other photos that the lower id tells of, and its record's lines. ``count``
    None: not labelled."""

    id: str
    count: int | None
    run: str
    side: str
    sha256: str
    likeness: str
    cleaned: tuple[str, ...]
    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float
    links: tuple[Link, ...] = ()
    lines: tuple[Line, ...] = ()

    def told(self) -> dict[str, Any]:
        """What stands in ``KEY.json``."""
        kept = ("id", "count", "run", "side", "sha256", "likeness", "cleaned", "width", "height")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True, slots=True)
class Placed:
    """A photo of the index: in which shard of the manifest's list its bytes lie, from which byte on, and how many."""

    sample: Sample
    shard: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file: its photos are all of one side."""

    name: str
    side: str
    photos: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    """The file with a row a photo."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``shards.json`` says. ``counts``: photos of each count ("none": not labelled) by side. ``made``: with which
    version and settings."""

    format: str
    version: int
    photos: int
    counts: dict[str, dict[str, int]]
    shards: tuple[Shard, ...]
    index: Index
    made: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shards:
    """A folder or prefix of shards, opened: its address, its manifest and that manifest's sha256, and every photo."""

    address: str
    manifest: Manifest
    digest: str
    photos: tuple[Placed, ...]

    def source(self) -> Source:
        """The shards as a source of photos beside others."""
        stated = f"{self.address}/{MANIFEST}"
        found = (
            Found(one.id, place, self.address, None if one.count is None else Label(one.count, stated))
            for place, one in self._placed()
        )
        return Source(self.address, tuple(found))

    def looks(self) -> dict[str, Look]:
        """What a look at each photo would give, by its address."""
        return {place: _look(place, one) for place, one in self._placed()}

    def _placed(self) -> Iterator[tuple[str, Sample]]:
        files = [f"{self.address}/{one.name}" for one in self.manifest.shards]
        for one in self.photos:
            yield Part(files[one.shard], one.offset, one.length, one.sample.sha256[:12]).address, one.sample


def key(id: str) -> str:
    """The name in a tar that stands for an id, another for each: letters, digits, ``-``, ``_`` and ``%``; no dot, for
    what follows the first dot is a member's kind; short enough for a plain tar header."""
    escaped = quote(id, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if escaped.startswith("_"):  # __x__ is webdataset's own
        escaped = f"%5F{escaped[1:]}"
    if len(escaped) <= _LONGEST_KEY:
        return escaped
    digest = hashlib.sha256(id.encode(errors="surrogatepass")).hexdigest()[:24]
    return f"{escaped[: _LONGEST_KEY - 25]}~{digest}"


def index(photos: Iterable[Placed]) -> bytes:
    """The file with a row a photo, the same bytes for the same rows."""
    encode = msgspec.json.Encoder().encode
    return gzip.compress(b"".join(encode(one) + b"\n" for one in photos), compresslevel=6, mtime=0)


def index_name(data: bytes) -> str:
    """The name of an index, by its content: one that a later upload brings does not take its place."""
    return f"photos-{hashlib.sha256(data).hexdigest()[:12]}.jsonl.gz"


def manifest(shards: Sequence[Shard], photos: Sequence[Placed], indexed: bytes, made: Mapping[str, Any]) -> Manifest:
    """The manifest of shards, their photos and their index."""
    counts: dict[str, dict[int | None, int]] = {}
    for one in photos:
        of = counts.setdefault(one.sample.side, {})
        of[one.sample.count] = of.get(one.sample.count, 0) + 1
    told = {
        side: {_named(count): of[count] for count in sorted(of, key=_unlabelled_last)} for side, of in counts.items()
    }
    listed = Index(index_name(indexed), len(indexed), hashlib.sha256(indexed).hexdigest())
    return Manifest(FORMAT, VERSION, len(photos), told, tuple(shards), listed, dict(made))


def encoded(told: Manifest) -> bytes:
    """The manifest as its file's bytes."""
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"


def opened(address: str) -> Shards | None:
    """The shards of a folder or prefix, or None where no ``shards.json`` lies there. The tar files are not read yet.

    Raises RecordError where what lies there cannot be shards that this version reads, InputError where the index or a
    shard is missing or cut short, OutsideError where S3 does not answer.
    """
    root = address.rstrip("/") or address
    place = f"{root}/{MANIFEST}"
    try:
        data = objects.read(place, _MOST_BYTES)
    except InputError:  # nothing there, or nothing that may be read: listing the photos will tell
        return None
    told = _manifest(data, place)
    photos = _index(told, root)
    _refuse_cut(told, root)
    return Shards(root, told, hashlib.sha256(data).hexdigest(), photos)


def _manifest(data: bytes, place: str) -> Manifest:
    try:
        head = msgspec.json.decode(data, type=dict[str, Any])
        if head.get("format") == FORMAT and isinstance(version := head.get("version"), int) and version > VERSION:
            why = f"its version is {version}, and this binventory reads up to {VERSION}"
            raise RecordError(f"{place} is of a later format", why, "pip install --upgrade binventory")
        told = msgspec.convert(head, Manifest)
        if told.format != FORMAT:
            raise msgspec.ValidationError(f"its format is {told.format[:40]!r}")
    except msgspec.MsgspecError as error:
        next = "binventory cloud upload writes one; one of another program wants another name"
        raise RecordError(f"{place} is no manifest of shards", str(error), next) from None
    for one in told.shards:
        _refuse_elsewhere(one.name, place)
    _refuse_elsewhere(told.index.name, place)
    return told


def _refuse_elsewhere(name: str, place: str) -> None:
    if not name or "/" in name or "\\" in name or "#" in name or name.startswith("."):
        raise RecordError(f"{place} is no manifest of shards", f"it names {name[:60]!r}, which is no file beside it",
                          "upload them again")  # fmt: skip


def _index(told: Manifest, root: str) -> tuple[Placed, ...]:
    place = f"{root}/{told.index.name}"
    try:
        data = objects.read(place, _MOST_BYTES)
    except MissingError:
        raise InputError(f"{place} does not exist", f"{MANIFEST} names it", "upload or copy the shards again") from None
    if hashlib.sha256(data).hexdigest() != told.index.sha256:
        why = f"it has {len(data):,} of {told.index.bytes:,} bytes" if len(data) != told.index.bytes else "checksum"
        raise InputError(f"{place} is damaged", f"it is not what {MANIFEST} says ({why})", "upload or copy it again")
    try:
        photos = tuple(msgspec.json.Decoder(Placed).decode_lines(gzip.decompress(data)))
    except (msgspec.MsgspecError, OSError, EOFError, zlib.error) as error:
        raise RecordError(f"{place} is no index of photos", str(error), "upload the shards again") from None
    held = [0] * len(told.shards)
    for one in photos:
        shard = told.shards[one.shard] if 0 <= one.shard < len(told.shards) else None
        fits = (
            shard and one.length > 0 and 0 <= one.offset <= shard.bytes - one.length and shard.side == one.sample.side
        )
        if not fits or one.sample.side not in (*SIDES, HELD):
            why = f"the photo {one.sample.id[:60]!r} lies in no shard of its side"
            raise RecordError(f"{place} is no index of photos", why, "upload the shards again")
        held[one.shard] += 1
    if held != [one.photos for one in told.shards] or len({one.sample.id for one in photos}) != told.photos:
        raise RecordError(f"{place} is no index of photos", "its rows are not the shards' photos", "upload them again")
    return photos


def _refuse_cut(told: Manifest, root: str) -> None:
    """Raise InputError where a shard of a folder is missing or cut short; on S3 reading tells, for there an object is
    whole or not there."""
    if objects.is_remote(root):
        return
    for one in told.shards:
        place = f"{root}/{one.name}"
        try:
            there = os.stat(place).st_size
        except OSError:
            next = "copy it, too; in a SageMaker channel every host wants all shards (FullyReplicated)"
            raise InputError(f"{place} does not exist", f"{MANIFEST} names it", next) from None
        if there != one.bytes:
            why = f"it has {there:,} of its {one.bytes:,} bytes"
            raise InputError(f"{place} is cut short", why, "upload or copy it again")


def _look(place: str, one: Sample) -> Look:
    return Look(place, None, one.sha256, one.width, one.height, one.likeness,
                one.brightness, one.contrast, one.sharpness)  # fmt: skip


def _named(count: int | None) -> str:
    return "none" if count is None else str(count)


def _unlabelled_last(count: int | None) -> tuple[bool, int]:
    return count is None, count or 0
