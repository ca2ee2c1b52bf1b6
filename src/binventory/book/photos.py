"""Photos by their sha256, each kept once: in a folder or below an ``s3://`` prefix."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from binventory import objects
from binventory.book.engines import Place
from binventory.errors import InputError, MissingError, PhotoError

SUFFIX = ".photo"
MOST = 1 << 28
"""No photo in the book has more bytes."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos below a folder or an S3 prefix, which need not exist before the first is kept."""

    root: str

    def keep(self, data: bytes) -> str:
        """The sha256 of a photo that is kept from now on, synced to disk; kept once, however often it comes.

        One that is kept but damaged is mended. Raises OutsideError where disk or S3 fail.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        address = self.address(sha256)
        with suppress(InputError):  # not there, longer, or not to be read
            if objects.read(address, len(data)) == data:
                return sha256
        objects.write(address, data)
        return sha256

    def read(self, sha256: str) -> bytes:
        """A photo's bytes.

        Raises MissingError where it is not kept (any more), PhotoError where its bytes are no longer its own.
        """
        data = objects.read(self.address(sha256), MOST)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PhotoError(f"The photo {sha256} is damaged", "its bytes are not those of its checksum",
                             "restore it from a backup")  # fmt: skip
        return data

    def there(self, sha256: str) -> bool:
        """Whether a photo is kept."""
        return objects.there(self.address(sha256))

    def forget(self, sha256: str) -> None:
        """Remove a photo's bytes; one that is not kept is no error."""
        objects.remove(self.address(sha256))

    def all(self) -> Iterator[str]:
        """The sha256 of every photo that is kept, in no promised order."""
        if not objects.is_remote(self.root) and not os.path.isdir(self.root):
            return
        with suppress(MissingError):
            for address in objects.find(self.root, frozenset({SUFFIX})):
                name = address.rpartition("/")[2].removesuffix(SUFFIX)
                if re.fullmatch(r"[0-9a-f]{64}", name):
                    yield name

    def address(self, sha256: str) -> str:
        """Where a photo is kept."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise MissingError("There is no such photo", f"{sha256[:70]!r} is no sha256", "take it from the book")
        return f"{self.root.rstrip('/')}/{sha256[:2]}/{sha256}{SUFFIX}"


def beside(place: Place) -> Photos:
    """Where the photos of a book are kept unless its site says otherwise: beside a file, else in the user's folder."""
    if place.path is not None:
        return Photos(f"{os.path.splitext(place.path)[0]}.photos")
    from platformdirs import user_data_path

    server = f"{place.url.host}:{place.url.port}/{place.url.database}"
    name = hashlib.sha256(server.encode()).hexdigest()[:12]
    return Photos(str(user_data_path("binventory") / "photos" / f"{place.url.database}-{name}"))
