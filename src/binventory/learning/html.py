"""What the HTML pages share: where templates come from, how numbers are written, photos as part of the page."""

from __future__ import annotations

import base64
from functools import cache
from io import BytesIO

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from binventory import objects, photo
from binventory.errors import BinventoryError
from binventory.records import shown, span

SIDE = 240
"""Longer side in pixels of an embedded photo."""


@cache
def template(name: str) -> Template:
    """One of this room's templates."""
    # Titles, ids and file names are the user's, so everything is escaped; a name that is missing is an error.
    around = Environment(
        loader=PackageLoader("binventory", "learning"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    around.filters |= {"percent": percent, "signed": signed, "shown": shown, "span": span}
    return around.get_template(name)


def written(page: str) -> str:
    """The page as it can be written: a file name may hold bytes that are no text, which become question marks."""
    return page.encode(errors="replace").decode()


def percent(share: float, digits: int = 1) -> str:
    """A share 0..1 in per cent."""
    return f"{100 * share:.{digits}f}\u202f%"


def signed(value: float) -> str:
    """A number with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def picture(address: str, side: int = SIDE) -> str | None:
    """The photo at an address as a data URI, its longer side at most ``side`` pixels; None where it cannot be read."""
    data = thumbnail(address, side)
    return None if data is None else "data:image/jpeg;base64," + base64.b64encode(data).decode()


def thumbnail(address: str, side: int = SIDE) -> bytes | None:
    """The photo at an address as a JPEG, its longer side at most ``side`` pixels; None where it cannot be read."""
    try:
        pixels = photo.decode(objects.read(address, photo.MAX_BYTES), address, at_least=side)
    except BinventoryError:
        return None
    data = BytesIO()
    photo.reduced(Image.fromarray(pixels), side).save(data, "JPEG", quality=72, optimize=True)
    return data.getvalue()
