"""Labels in photos of bins are read, turned, small and a little blurred as cameras see them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageFilter

from binventory.book import barcodes
from binventory.data.drawn import draw_one
from binventory.errors import PhotoError

LABELS = ("QRCode", "DataMatrix", "Code128")


def label(text: str, format: str, scale: int) -> Image.Image:
    made = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat[format])
    return Image.fromarray(np.asarray(made.to_image(scale=scale)))


def labelled(*labels: Image.Image, turn: float = 0, blur: float = 0, id: int = 1) -> bytes:
    """A JPEG of a drawn bin on which labels stick, beside each other."""
    photo = Image.open(BytesIO(draw_one(id, 3).jpeg)).convert("RGB").resize((1600, 1200))
    place = 60
    for one in labels:
        stuck = one.convert("L").rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
        photo.paste(stuck, (place, 60))
        place += stuck.width + 60
    buffer = BytesIO()
    photo.filter(ImageFilter.GaussianBlur(blur)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@pytest.mark.parametrize("format", LABELS)
@pytest.mark.parametrize(("turn", "blur", "scale"), [(0, 0, 4), (90, 0, 4), (11, 1, 5), (180, 1, 4), (0, 0.5, 3)])
def test_a_label_is_read(format: str, turn: float, blur: float, scale: int) -> None:
    photo = labelled(label("BIN-A-17", format, scale), turn=turn, blur=blur)
    assert barcodes.read(photo, LABELS) == ((format, "BIN-A-17"),)


def test_labels_are_told_each_once_and_in_order() -> None:
    b, a = label("BIN-B", "QRCode", 4), label("BIN-A", "QRCode", 4)
    assert barcodes.read(labelled(b, a, b), LABELS) == (("QRCode", "BIN-A"), ("QRCode", "BIN-B"))


def test_codes_on_goods_are_not_read_where_they_are_not_asked_for() -> None:
    photo = labelled(label("4006381333931", "EAN13", 3))
    assert barcodes.read(photo, LABELS) == ()
    assert barcodes.read(photo, ["EAN13"]) == (("EAN13", "4006381333931"),)


def test_a_bin_without_labels_has_none() -> None:
    assert all(barcodes.read(draw_one(id, 3).jpeg, LABELS) == () for id in range(1, 21))


def test_a_photo_that_is_none_is_refused_as_everywhere() -> None:
    with pytest.raises(PhotoError, match="is not a photo"):
        barcodes.read(b"no photo at all, but text", LABELS, "x.jpg")
