"""Contact sheets: many photos on one picture, each with its count, its interval and its whole distribution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from binventory import objects
from binventory.errors import BinventoryError
from binventory.photo import Pixels
from binventory.records import COVERAGE, LEVELS, TAIL, Count, shown, span

SHEET_ROW = tuple[str, Pixels | None, Count | BinventoryError]
"""A photo's name, its pixels where there are any, and what came of counting it."""

PER_SHEET = 24
COLUMNS = 4

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
Box = tuple[int, int, int, int]

# In pixels, about twice what a screen shows at once, so that a sheet stays sharp when it is looked into.
CELL = (440, 520)
GAP = 20
_INSET = 16
_PICTURE: Box = (0, 0, CELL[0], 300)
_NAME_LINE = 332
_COUNT_LINE = 404
_BARS: Box = (_INSET, 428, CELL[0] - _INSET, 484)

_PAPER = "#eceeef"
_CARD = "#ffffff"
_BEHIND = "#dfe3e5"
_INK = "#1d2429"
_MUTED = "#58636b"
_BAR = "#b3bec6"
_MODE = "#1f6390"
_INTERVAL = "#a86108"
_TROUBLE = "#8a3b2e"
_TROUBLE_PANEL = "#f3e9e6"


def contact_sheet(rows: Sequence[SHEET_ROW]) -> Image.Image:
    """One RGB picture of 1 to 24 photos, four to a line (fewer where there are fewer).

    A photo that could not be counted gets a panel that says what is wrong and why. Raises ValueError for no row or
    more than 24.
    """
    if not 1 <= len(rows) <= PER_SHEET:
        raise ValueError(f"a sheet holds 1 to {PER_SHEET} photos, got {len(rows)}")
    return _laid_out([_cell(*row) for row in rows])


def write_sheets(rows: Iterable[SHEET_ROW], folder: Path, first: int = 1) -> list[Path]:
    """Write ``sheet-001.png`` (or from number ``first`` on) ... with 24 photos each, and give their paths in order.

    Rows are read one at a time, so that of the photos behind them only the reduced pictures of one sheet are held.
    Raises OutsideError where the disk refuses.
    """
    rest = iter(rows)
    paths: list[Path] = []
    while cells := [_cell(*row) for row in islice(rest, PER_SHEET)]:
        path = folder / f"sheet-{len(paths) + first:03}.png"
        with objects.replacing(path) as temporary:
            _laid_out(cells).save(temporary, "PNG")
        paths.append(path)
    return paths


def _laid_out(cells: Sequence[Image.Image]) -> Image.Image:
    columns = min(COLUMNS, len(cells))
    lines = -(-len(cells) // columns)
    width, height = (n * (side + GAP) + GAP for n, side in zip((columns, lines), CELL, strict=True))
    sheet = Image.new("RGB", (width, height), _PAPER)
    for place, cell in enumerate(cells):
        line, column = divmod(place, columns)
        sheet.paste(cell, (GAP + column * (CELL[0] + GAP), GAP + line * (CELL[1] + GAP)))
    return sheet


def _cell(name: str, pixels: Pixels | None, outcome: Count | BinventoryError) -> Image.Image:
    cell = Image.new("RGB", CELL, _CARD)
    draw = ImageDraw.Draw(cell)
    draw.rectangle(_PICTURE, fill=_BEHIND)
    if pixels is not None:
        size = (_PICTURE[2] - _PICTURE[0], _PICTURE[3] - _PICTURE[1])
        picture = ImageOps.contain(Image.fromarray(pixels), size, Image.Resampling.LANCZOS)
        cell.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    room = CELL[0] - 2 * _INSET
    draw.text((_INSET, _NAME_LINE), _cut(_printable(name), _font(20), room), _MUTED, _font(20), anchor="ls")
    if isinstance(outcome, BinventoryError):
        _draw_trouble(draw, outcome, covers_picture=pixels is None)
    else:
        if pixels is None:
            draw.text((CELL[0] // 2, _PICTURE[3] // 2), "no picture", _MUTED, _font(22), anchor="mm")
        _draw_count(draw, outcome)
    return cell


def _draw_count(draw: ImageDraw.ImageDraw, count: Count) -> None:
    draw.text((_INSET, _COUNT_LINE), shown(count.count), _INK, _font(66), anchor="ls")
    right = CELL[0] - _INSET
    sure = f"{count.confidence:.0%} sure"
    draw.text((right, _COUNT_LINE - 30), sure, _MODE, _font(24), anchor="rs")
    held = f"{COVERAGE:.0%} interval: {span(count.interval)}"
    draw.text((right, _COUNT_LINE), held, _INTERVAL, _font(22), anchor="rs")
    _draw_bars(draw, count)


def _draw_bars(draw: ImageDraw.ImageDraw, count: Count) -> None:
    """A bar for each of 0..20 and, a little apart, for more; the mode dark, the interval a line below."""
    left, top, right, bottom = _BARS
    step = (right - left) / (LEVELS + 0.5)
    tallest = max(count.probs)

    def start(k: int) -> float:
        return left + step * (k + (0.5 if k == TAIL else 0))

    for k, p in enumerate(count.probs):
        height = max(1, round((bottom - top) * p / tallest))
        colour = _MODE if k == count.count else _BAR
        draw.rectangle((start(k) + 2, bottom - height, start(k) + step - 2, bottom), fill=colour)
    low, high = count.interval
    end = start(TAIL if high is None else high) + step - 2
    draw.rectangle((start(low) + 2, bottom + 4, end, bottom + 8), fill=_INTERVAL)
    for k in (0, 5, 10, 15, TAIL):
        draw.text((start(k) + step / 2, bottom + 27), shown(k), _MUTED, _font(17), anchor="ms")


def _draw_trouble(draw: ImageDraw.ImageDraw, error: BinventoryError, covers_picture: bool) -> None:
    """What is wrong and why: over the picture's place where there is none, else where the count would stand."""
    top, bottom = (0, _PICTURE[3]) if covers_picture else (_NAME_LINE + 14, CELL[1])
    draw.rectangle((0, top, CELL[0], bottom), fill=_TROUBLE_PANEL)
    heading, body = (30, 22) if covers_picture else (22, 18)
    room = CELL[0] - 2 * _INSET
    y = top + _INSET
    for text, size, colour in ((error.what, heading, _TROUBLE), (error.why, body, _INK)):
        lines = _wrapped(_printable(text), _font(size), room)
        fits = max(1, (bottom - y - _INSET) // (size + 6))
        if len(lines) > fits:
            lines = [*lines[: fits - 1], _cut(" ".join(lines[fits - 1 :]), _font(size), room)]
        for line in lines:
            draw.text((_INSET, y), line, colour, _font(size), anchor="la")
            y += size + 6
        y += 8
    if covers_picture:
        draw.text((_INSET, _COUNT_LINE), "not counted", _MUTED, _font(30), anchor="ls")


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def _printable(text: str) -> str:
    """Names come from file systems: whatever cannot be drawn on one line becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _cut(text: str, font: Font, room: int) -> str:
    """The text, its middle left out where it is wider than ``room`` pixels: the ends tell photos apart."""
    if len(text) < 400 and font.getlength(text) <= room:
        return text
    kept = min(len(text), 100)
    while kept > 1:
        kept -= 1
        shorter = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
        if font.getlength(shorter) <= room:
            return shorter
    return "…"


def _wrapped(text: str, font: Font, room: int) -> list[str]:
    """The text in lines of at most ``room`` pixels, broken at spaces and, for want of them, within a word."""
    lines = [""]
    for word in text[:1000].split():
        joined = f"{lines[-1]} {word}".lstrip()
        if font.getlength(joined) <= room:
            lines[-1] = joined
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > room:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]
