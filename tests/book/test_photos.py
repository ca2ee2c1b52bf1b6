"""Photos by their sha256, on a disk and on a real S3 server alike."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from binventory import objects
from binventory.book import engines
from binventory.book.photos import Photos, beside
from binventory.errors import InputError, MissingError, PhotoError


@pytest.fixture(params=["disk", "s3"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> Photos:
    """No photos, in a folder or below a prefix that is not there yet."""
    if request.param == "disk":
        return Photos(str(tmp_path / "not" / "yet"))
    request.getfixturevalue("signed")
    return Photos(f"s3://private/{tmp_path.name}/photos/")


def test_a_photo_is_kept_once_and_read_again_until_it_is_let_go(photos: Photos) -> None:
    assert list(photos.all()) == []
    sha256 = photos.keep(b"a photo")
    assert sha256 == hashlib.sha256(b"a photo").hexdigest() == photos.keep(b"a photo")
    other = photos.keep(b"another")
    assert photos.read(sha256) == b"a photo"
    assert sorted(photos.all()) == sorted([sha256, other])
    photos.forget(sha256)
    photos.forget(sha256)
    assert not photos.there(sha256)
    assert photos.there(other)
    with pytest.raises(MissingError):
        photos.read(sha256)


@pytest.mark.parametrize("damage", [b"a phota", b"", b"a photo and more"])
def test_a_photo_whose_bytes_have_changed_is_refused_until_it_comes_again(photos: Photos, damage: bytes) -> None:
    sha256 = photos.keep(b"a photo")
    objects.write(photos.address(sha256), damage)
    with pytest.raises(PhotoError, match="damaged"):
        photos.read(sha256)
    photos.keep(b"a photo")
    assert photos.read(sha256) == b"a photo"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "F" * 64, "f" * 63])
def test_what_is_no_sha256_leads_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingError):
        Photos(str(tmp_path)).there(name)


def test_whoever_may_not_write_is_told_and_nothing_is_kept(unsigned: object) -> None:
    with pytest.raises(InputError, match="S3 refused"):
        Photos("s3://public/photos").keep(b"a photo")


def test_each_book_keeps_its_photos_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    addresses = ["book.db", "other.db", "postgresql://me:secret@host/book", "postgresql://me@host/other"]
    roots = [beside(engines.place(address)).root for address in addresses]
    assert len(set(roots)) == 4
    assert roots[0].endswith("book.photos")
    assert roots[2].startswith(str(tmp_path))
    assert beside(engines.place("postgresql://you:word@host/book")).root == roots[2]
