"""Photos into tar files, the same bytes for the same photos whoever packs them, when and where."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from binventory.data.shards import Placed, Sample, Shard, key

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_KINDS = ((b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"RIFF", "webp"),
          (b"II", "tif"), (b"MM", "tif"))  # fmt: skip
"""How the bytes of a kind of photo begin, and what its members are called: the library ``webdataset`` decodes by it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A shard and its bytes, and its photos: each with its place, ``shard`` still zero."""

    shard: Shard
    data: bytearray
    photos: tuple[Placed, ...]


def packed(photos: Iterable[tuple[Sample, bytes]], target: int) -> Iterator[Packed]:
    """Photos into shards of at most ``target`` bytes (more only where one photo has more), in the order given.

    A shard ends where the side changes. Its name tells side, number on that side, and content.
    """
    data, number = bytearray(), 0
    placed: list[Placed] = []
    for sample, photo in photos:
        block, offset = members(sample, photo)
        side = placed[-1].sample.side if placed else sample.side
        if placed and (side != sample.side or len(data) + len(block) + len(_END) > target):
            yield _closed(data, placed, number)
            number = number + 1 if side == sample.side else 0
            data, placed = bytearray(), []
        placed.append(Placed(sample, 0, len(data) + offset, len(photo)))
        data += block
    if placed:
        yield _closed(data, placed, number)


def members(sample: Sample, photo: bytes) -> tuple[bytes, int]:
    """A photo and what is told of it as members of a tar, and where among them the photo's own bytes begin."""
    name = key(sample.id)
    told = msgspec.json.encode(sample.told())
    head = _header(f"{name}.{kind(photo)}", len(photo))
    return b"".join((head, photo, _padding(photo), _header(f"{name}.json", len(told)), told, _padding(told))), len(head)


def kind(photo: bytes) -> str:
    """The ending of a photo's member, by its bytes."""
    return next((ending for start, ending in _KINDS if photo.startswith(start)), "img")


def _closed(data: bytearray, placed: list[Placed], number: int) -> Packed:
    data += _END
    digest, side = hashlib.sha256(data).hexdigest(), placed[0].sample.side
    shard = Shard(f"{side}-{number:05d}-{digest[:12]}.tar", side, len(placed), len(data), digest)
    return Packed(shard, data, tuple(placed))


def _header(name: str, size: int) -> bytes:
    """A plain header (POSIX ustar) that tells nothing of who packed it or when."""
    told = tarfile.TarInfo(name)
    told.size, told.mode = size, 0o644
    return told.tobuf(tarfile.USTAR_FORMAT)


def _padding(data: bytes) -> bytes:
    return bytes(-len(data) % _BLOCK)
