"""The barcodes in a photo, by zxing-cpp, at the photo's full size: a label on a bin is a small part of its picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import zxingcpp
from PIL import Image

from binventory import photo

Code = tuple[str, str]
"""A barcode: its format by zxing-cpp's name (``QRCode``, ``Code128``), and its text."""


def read(data: bytes, formats: Iterable[str], name: str = "the photo") -> tuple[Code, ...]:
    """The readable barcodes of the named formats in an encoded photo, each once, in the order of format and text.

    Raises PhotoError as ``photo.decode`` does.
    """
    wanted = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat[one] for one in formats])
    grey = np.asarray(Image.fromarray(photo.decode(data, name, at_least=None)).convert("L"))
    return tuple(sorted({(one.format.name, one.text) for one in zxingcpp.read_barcodes(grey, formats=wanted)}))
