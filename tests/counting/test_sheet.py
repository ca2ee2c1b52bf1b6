"""Contact sheets: every outcome has a place, and no name or error keeps a sheet from being drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from binventory.counting.sheet import CELL, GAP, PER_SHEET, SHEET_ROW, contact_sheet, write_sheets
from binventory.errors import PhotoError
from binventory.photo import Pixels
from binventory.records import LEVELS, Count, span

BAD = PhotoError("bin.jpg cannot be decoded", "the file ends early", "take or copy the photo again")


def counted(mode: int, interval: tuple[int, int | None]) -> Count:
    return Count(tuple(0.58 if k == mode else 0.02 for k in range(LEVELS)), 30.0, interval)


def bin_photo(height: int = 90, width: int = 120) -> Pixels:
    return np.full((height, width, 3), 90, dtype=np.uint8)


def good(n: int = 0) -> SHEET_ROW:
    return f"bin-{n}.jpg", bin_photo(), counted(5, (3, 7))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn."""
    texts: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def noting(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *rest: object, **more: object) -> None:
        texts.append(text)
        draw(self, xy, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noting)
    return texts


@pytest.mark.parametrize(("photos", "columns", "lines"), [(1, 1, 1), (3, 3, 1), (4, 4, 1), (5, 4, 2), (24, 4, 6)])
def test_a_sheet_is_as_large_as_its_photos_need(photos: int, columns: int, lines: int) -> None:
    sheet = contact_sheet([good(n) for n in range(photos)])
    assert sheet.mode == "RGB"
    assert sheet.size == (columns * (CELL[0] + GAP) + GAP, lines * (CELL[1] + GAP) + GAP)


@pytest.mark.parametrize("photos", [0, 25])
def test_a_sheet_of_no_photo_or_too_many_is_refused(photos: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {PER_SHEET}"):
        contact_sheet([good(n) for n in range(photos)])


def test_a_cell_says_name_count_confidence_and_interval(written: list[str]) -> None:
    contact_sheet([good(), ("full.jpg", bin_photo(), counted(21, (18, None)))])
    assert {"bin-0.jpg", "5", "58% sure", "90% interval: 3 to 7"} <= set(written)
    assert {"full.jpg", ">20", "90% interval: 18 or more"} <= set(written)


@pytest.mark.parametrize("pixels", [None, bin_photo()])
def test_a_bad_photo_says_what_and_why(pixels: Pixels | None, written: list[str]) -> None:
    contact_sheet([("bin.jpg", pixels, BAD)])
    said = " ".join(written)
    assert BAD.what in said and BAD.why in said


def test_long_and_hostile_texts_are_cut_to_the_cell(written: list[str]) -> None:
    long = "aisle-7/" + "x" * 5000 + "/bin-C-0001.jpg"
    endless = PhotoError("w" * 3000, "no reason " * 400, "nothing")
    contact_sheet([(long, bin_photo(), counted(1, (0, 2))), ("two\nlines\udcff.jpg", None, endless)])
    [cut] = [text for text in written if text.startswith("aisle")]
    assert "…" in cut and cut.endswith("0001.jpg") and len(cut) < 60
    assert "two?lines?.jpg" in written
    assert len(written) < 60


def test_a_photo_of_any_shape_keeps_its_aspect_within_the_cell() -> None:
    for height, width in ((8, 400), (400, 8)):
        sheet = np.asarray(contact_sheet([("thin.png", bin_photo(height, width), counted(0, (0, 0)))]))
        rows, columns = np.nonzero((sheet == 90).all(axis=2))
        drawn = (columns.max() - columns.min() + 1) / (rows.max() - rows.min() + 1)
        assert drawn == pytest.approx(width / height, rel=0.2)


def test_sheets_of_24_are_written_one_after_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "sheets"
    before: list[int] = []

    def rows() -> Iterator[SHEET_ROW]:
        for n in range(26):
            before.append(len(list(folder.glob("*.png"))))
            yield good(n)

    paths = write_sheets(rows(), folder)
    assert [path.name for path in paths] == ["sheet-001.png", "sheet-002.png"]
    assert before[23] == 0 and before[24] == 1  # the first is on disk before the 25th photo is asked for
    assert sorted(folder.iterdir()) == paths
    with Image.open(paths[1]) as last:
        assert last.size == (2 * (CELL[0] + GAP) + GAP, CELL[1] + 2 * GAP)
    assert write_sheets([], folder) == []


def test_intervals_read_as_words() -> None:
    assert span(counted(4, (4, 4)).interval) == "4"
    assert span(counted(4, (2, 5)).interval) == "2 to 5"
    assert span(counted(19, (18, None)).interval) == "18 or more"
    assert span(counted(21, (21, None)).interval) == ">20"
