"""Photos scaled once: the pixels that counting would see, mapped from disk, not decoded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from binventory import photo
from binventory.counting.bundle import Input
from binventory.data import catalogue, drawn
from binventory.data.catalogue import Catalogue
from binventory.errors import BinventoryError
from binventory.learning.full import pictures
from binventory.recipe import LinkRecipe


@pytest.fixture
def data(tmp_path: Path) -> Catalogue:
    list(drawn.write(tmp_path / "bins", 12, 9))
    return catalogue.build([str(tmp_path / "bins")], tmp_path / "work", LinkRecipe())


@pytest.mark.parametrize("size", [Input(64, 64, "squash"), Input(48, 80, "letterbox")])
def test_pictures_are_what_counting_sees(data: Catalogue, size: Input) -> None:
    found = pictures.of(data.rows, size, data.work)
    assert isinstance(found, np.memmap)
    for row, picture in zip(data.rows, found, strict=True):
        pixels = photo.decode(Path(row.address).read_bytes())
        assert (photo.fit(pixels, size.height, size.width, size.fit) == picture).all()


def test_no_photo_is_decoded_twice(data: Catalogue) -> None:
    size = Input(64, 64, "squash")
    first = np.array(pictures.of(data.rows, size, data.work))
    for row in data.rows:
        Path(row.address).unlink()
    assert (pictures.of(data.rows, size, data.work) == first).all()


def test_other_photos_or_sizes_are_other_pictures(data: Catalogue) -> None:
    first = pictures.of(data.rows, Input(64, 64, "squash"), data.work)
    turned = pictures.of(data.rows[::-1], Input(64, 64, "squash"), data.work)
    assert (turned == first[::-1]).all()
    assert pictures.of(data.rows, Input(32, 32, "squash"), data.work).shape[1:3] == (32, 32)


def test_a_photo_that_is_gone_is_told_and_nothing_half_written_stays(data: Catalogue) -> None:
    gone = replace(data.rows[5], address=data.rows[5].address + ".gone")
    with pytest.raises(BinventoryError, match="gone"):
        pictures.of([*data.rows[:5], gone], Input(64, 64, "squash"), data.work)
    assert not list((data.work / "pictures").glob("*"))
