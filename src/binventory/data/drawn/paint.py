"""How goods are painted: printed faces of boxes, creased bags, tubs and rolls, each with its soft shadow."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from binventory.data.drawn.goods import (
    BLACK,
    CARDBOARD,
    SYLLABLES,
    WHITE,
    Article,
    Colour,
    Inches,
    Item,
    Kind,
    Points,
    View,
    far_to_near,
    rotation,
)

_CORNERS: Points = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_TOP, _LEFT, _RIGHT, _FRONT = (3, 7, 6, 2), (3, 2, 0, 1), (6, 7, 5, 4), (2, 6, 4, 0)


def paint_goods(canvas: Image.Image, items: Sequence[Item], view: View) -> None:
    """Paint the items into an RGB picture of their cell, far ones first, each with its soft shadow behind it."""
    for _, item in far_to_near(items):
        _shade(canvas, view.front(item))
        if item.article.kind.boxy:
            _paint_box(canvas, item, view)
        else:
            _paint_soft(canvas, item, view)


def _shade(canvas: Image.Image, front: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = front
    width, height = max(6, int(1.35 * (right - left))), max(6, int(1.3 * (bottom - top)))
    mask = _soft_spot().resize((width, height), Image.Resampling.BILINEAR)
    canvas.paste((30, 25, 20), (int((left + right - width) / 2), int((top + bottom) / 2 - 0.47 * height)), mask)


def _paint_box(canvas: Image.Image, item: Item, view: View) -> None:
    middle = np.add(item.place, np.multiply(item.taken, 0.5))
    corners = view.at(middle + _CORNERS * item.laid @ rotation(item.yaw, item.lean).T)
    for face, panel in zip((_TOP, _LEFT, _RIGHT, _FRONT), _panels(item.article, item.laid, view.scale), strict=True):
        quad = corners[list(face)]
        (ax, ay), (bx, by) = quad[2] - quad[0], quad[3] - quad[1]
        if ax * by - ay * bx > 2:
            _paste_quad(canvas, panel.rotate(180) if item.upside_down else panel, quad)


def _paste_quad(canvas: Image.Image, panel: Image.Image, quad: Points) -> None:
    """Stretch a panel over a convex quad (4, 2), clockwise from the panel's upper left."""
    corner = np.floor(quad.min(axis=0))
    size = np.ceil(quad.max(axis=0)) - corner + 1
    inner = quad - corner
    # The panel reaches a little beyond the mask, or its dark outside would show along the edges.
    to = inner + 1.3 * np.sign(inner - inner.mean(axis=0))
    width, height = panel.size
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    system = np.zeros((8, 8))
    system[0::2, 0:2], system[0::2, 2], system[0::2, 6:8] = to, 1, -source[:, :1] * to
    system[1::2, 3:5], system[1::2, 5], system[1::2, 6:8] = to, 1, -source[:, 1:] * to
    coefficients = np.linalg.solve(system, source.ravel()).tolist()
    extent = (int(size[0]), int(size[1]))
    stretched = panel.transform(extent, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    mask = Image.new("L", extent)
    ImageDraw.Draw(mask).polygon(inner.ravel().tolist(), fill=255)
    canvas.paste(stretched, (int(corner[0]), int(corner[1])), mask)


@functools.lru_cache(maxsize=64)
def _panels(article: Article, laid: Inches, scale: float) -> tuple[Image.Image, ...]:
    """The printed top, left, right and front of an article, the light coming from above and before it."""
    rng = np.random.default_rng(article.look)
    across, up, inwards = (max(4, int(side * scale)) for side in laid)
    top = _lit(_panel(article, across, inwards, rng), 1.12, 1.0)
    side = _panel(article, inwards, up, rng)
    front = _panel(article, across, up, rng)
    return top, _lit(side, 0.78, 0.55), _lit(side, 0.72, 0.5), _lit(front, 1.0, 0.78)


def _lit(panel: Image.Image, above: float, below: float) -> Image.Image:
    """The panel under light that falls from `above` times its colours at the top to `below` at the bottom."""
    light = np.linspace(above, below, panel.height, dtype=np.float32)[:, None, None]
    return Image.fromarray((np.asarray(panel) * light).clip(0, 255).astype(np.uint8))


def _panel(article: Article, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """One printed face: bands, a picture, a word, small print and a barcode, as it falls out."""
    if height > 1.4 * width:
        return _panel(article, height, width, rng).transpose(Image.Transpose.ROTATE_90)
    panel = Image.new("RGB", (width, height), article.base)
    pen = ImageDraw.Draw(panel)
    ink = BLACK if sum(article.base) > 330 else WHITE
    x, y = rng.uniform(0.05, 0.45) * width, rng.uniform(0.1, 0.5) * height
    if rng.random() < 0.45:
        pen.rectangle((0, y, width, y + rng.uniform(0.15, 0.5) * height), fill=article.accent)
    if rng.random() < 0.25:
        pen.ellipse((x, 0.15 * height, x + 0.5 * height, 0.65 * height), fill=_mixed(article.accent, article.base, 0.6))
    if rng.random() < 0.45 and sum(article.base) != sum(CARDBOARD):
        panel.paste(_picture(article, int(0.45 * width), int(0.8 * height), rng), (int(x), int(0.1 * height)))
    if article.kind is Kind.BOX and article.base[0] > 1.4 * article.base[2]:
        pen.rectangle((0, 0.42 * height, width, 0.58 * height), fill=_mixed(article.base, (225, 205, 180), 0.45))
    if rng.random() < 0.75:
        pen.text((x, y), article.name.split()[0], fill=ink, font=font(int(min(0.4 * height, 0.2 * width, 34))))
    for row in range(int(rng.integers(0, 6))):
        line = _small_print(int(rng.integers(12)))
        panel.paste(_mixed(ink, article.base, 0.4), (int(0.08 * width), int(y + 0.3 * height + 6 * row)), line)
    if rng.random() < 0.4 and height > 26 and width > 40:
        _stick_barcode(pen, rng.uniform(0, width - 36), rng.uniform(0, height - 22), rng)
    pen.rectangle((0, 0, width - 1, height - 1), outline=_mixed(article.base, WHITE, 0.25))
    return panel


def _picture(article: Article, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A blurred picture of nothing in the colours of the print."""
    ground = _mixed(article.base, article.accent, rng.random())
    spots = (ground + rng.normal(0, 34, size=(5, 6, 1)) + rng.normal(0, 13, size=(5, 6, 3))).clip(20, 235)
    return Image.fromarray(spots.astype(np.uint8)).resize((max(2, width), max(2, height)), Image.Resampling.BICUBIC)


@functools.cache
def _small_print(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    words = " ".join("".join(rng.choice(SYLLABLES, size=int(rng.integers(1, 4)))) for _ in range(number % 5 + 1))
    line = Image.new("L", (int(font(7).getlength(words)) + 1, 9))
    ImageDraw.Draw(line).text((0, 0), words, fill=255, font=font(7))
    return line


def _stick_barcode(pen: ImageDraw.ImageDraw, x: float, y: float, rng: np.random.Generator) -> None:
    pen.rectangle((x, y, x + 34, y + 20), fill=(228, 226, 222))
    for bar in np.flatnonzero(rng.random(28) < 0.5).tolist():
        pen.line((x + 3 + bar, y + 3, x + 3 + bar, y + 12), fill=(70, 66, 64))
    pen.text((x + 5, y + 12), "X000K7", fill=(90, 86, 84), font=font(7))


def _paint_soft(canvas: Image.Image, item: Item, view: View) -> None:
    """Paint a bag, tub or roll as a rounded picture of its own, which leans but does not turn."""
    (x, y, z), (dx, _, dz) = item.place, item.taken
    (foot,) = view.at(np.array([(x + dx / 2, y, z + 0.3 * dz)]))
    scale = view.scale * view.cell.eye[2] / (view.cell.eye[2] + z + 0.3 * dz)
    width, height = (max(6, int(1.06 * side * scale)) for side in item.laid[:2])
    body, mask = {Kind.BAG: _bag, Kind.TUB: _tub, Kind.ROLL: _roll}[item.article.kind](item, width, height)
    degrees = math.degrees(item.lean)
    body = body.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    mask = mask.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    canvas.paste(body, (int(foot[0] - body.width / 2), int(foot[1] - body.height)), mask)


def _printed(item: Item, width: int, height: int) -> Image.Image:
    panel = _panel(item.article, width, height, np.random.default_rng(item.article.look))
    return panel.rotate(180) if item.upside_down else panel


def _bag(item: Item, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng(item.look)
    body = ImageChops.multiply(_printed(item, width, height), _scrap(_folds(), width, height, rng).convert("RGB"))
    body = ImageChops.multiply(body, _pillow().resize((width, height)).convert("RGB"))
    body.paste((246, 240, 230), mask=_scrap(_glints(), width, height, rng))
    angle = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    radius = (np.abs(np.cos(angle)) ** 4 + np.abs(np.sin(angle)) ** 4) ** -0.25 * rng.normal(0.99, 0.03, size=28)
    outline = np.stack([(1 + radius * np.cos(angle)) * width / 2, (1 + radius * np.sin(angle)) * height / 2], axis=1)
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon(outline.ravel().tolist(), fill=(255, 250, 195)[item.article.look % 3])
    return body, mask.filter(ImageFilter.GaussianBlur(1.2))


def _tub(item: Item, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    if item.laid[2] > 1.1 * item.laid[1]:
        return _lid(item, width, height)
    cap = max(3, int(0.16 * height))
    body = Image.new("RGB", (width, height), item.article.base)
    body.paste(_printed(item, width, max(4, int(0.6 * height))), (0, int(0.27 * height)))
    pen, lid = ImageDraw.Draw(body), _mixed(item.article.accent, WHITE, item.article.look % 2)
    pen.rectangle((0, 0, width, cap), fill=lid)
    for rib in range(2, width, 4):
        pen.line((rib, 2, rib, cap), fill=_mixed(lid, BLACK, 0.18))
    body = ImageChops.multiply(body, _barrel().resize((width, height)).convert("RGB"))
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    pen.rounded_rectangle((0.07 * width, 0, 0.93 * width, 2 * cap), radius=0.25 * cap, fill=255)
    pen.rounded_rectangle((0, cap, width - 1, height - 1), radius=int(0.14 * width), fill=255)
    return body, mask


def _lid(item: Item, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    """A tub on its side, seen from its lid."""
    lid = _mixed(item.article.accent, WHITE, item.article.look % 2)
    body, mask = Image.new("RGB", (width, height), lid), Image.new("L", (width, height))
    pen = ImageDraw.Draw(body)
    for share, dark in ((0.04, 0.3), (0.09, 0.0), (0.2, 0.12), (0.23, 0.03)):
        ring = (share * width, share * height, (1 - share) * width, (1 - share) * height)
        pen.ellipse(ring, fill=_mixed(lid, BLACK, dark))
    ImageDraw.Draw(mask).ellipse((0, 0, width - 1, height - 1), fill=255)
    return _lit(body, 1.0, 0.7), mask


def _roll(item: Item, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng(item.look)
    body = ImageChops.multiply(_printed(item, width, height), _scrap(_folds(), width, height, rng).convert("RGB"))
    barrel = _barrel() if height > width else _barrel().transpose(Image.Transpose.ROTATE_90)
    body = ImageChops.multiply(body, barrel.resize((width, height)).convert("RGB"))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), radius=0.3 * min(width, height), fill=255)
    return body, mask.filter(ImageFilter.GaussianBlur(1))


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


@functools.cache
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at that many pixels, 6 or more."""
    return ImageFont.load_default(max(6, size))


def _scrap(sheet: Image.Image, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A piece of a creased sheet, cut at random and turned or not."""
    stretch = rng.uniform(0.4, 1.0) * np.exp(rng.normal(0, 0.4) * np.array((1, -1)))
    across, down = (min(500, max(24, int(side / pull))) for side, pull in zip((width, height), stretch, strict=True))
    left, top = int(rng.integers(sheet.width - across)), int(rng.integers(sheet.height - down))
    scrap = sheet.crop((left, top, left + across, top + down))
    return scrap.rotate(180 * int(rng.integers(2))).resize((width, height), Image.Resampling.BILINEAR)


def clouds(rng: np.random.Generator, width: int, height: int, cells: int) -> NDArray[np.float32]:
    """Smooth noise (height, width), mean 0 and spread about 0.7, with `cells` swells along its width."""
    grain = Image.fromarray(rng.standard_normal((max(2, cells * height // width), cells), dtype=np.float32))
    return np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC))


def _sheet(levels: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray((255 * levels.clip(0, 1)).astype(np.uint8))


@functools.cache
def _folds() -> Image.Image:
    """Light and shade of creased material: facets with a dark fold between some."""
    rng = np.random.default_rng(1)
    creases = _creases(rng, 26) * (1 + 1.4 * clouds(rng, 512, 512, 14))
    return _sheet(0.9 + 0.09 * clouds(rng, 512, 512, 12) - 0.09 * creases)


@functools.cache
def _glints() -> Image.Image:
    """Sharp broken highlights of wrinkled film, as a mask."""
    rng = np.random.default_rng(2)
    lit = (0.8 * clouds(rng, 512, 512, 20)).clip(0, 1)
    return _sheet(lit * (_creases(rng, 20) + 0.7 * _creases(rng, 44)) + 0.1 * clouds(rng, 512, 512, 30) + 0.04)


def _creases(rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Thin straight ridges (512, 512), 0 to 1, where the cells of scattered points meet."""
    across, down = rng.random((2, cells + 2, cells + 2)) + np.mgrid[-1 : cells + 1, -1 : cells + 1][::-1]
    y, x = np.mgrid[0:cells:512j, 0:cells:512j]
    row, column = y.astype(np.int64).clip(0, cells - 1) + 1, x.astype(np.int64).clip(0, cells - 1) + 1
    steps = [(up, aside) for up in (-1, 0, 1) for aside in (-1, 0, 1)]
    near = [np.hypot(across[row + up, column + aside] - x, down[row + up, column + aside] - y) for up, aside in steps]
    first, second = np.partition(near, 1, axis=0)[:2]
    ridges: NDArray[np.float32] = (1 - 8 * (second - first)).clip(0, 1).astype(np.float32)
    return ridges


@functools.cache
def _pillow() -> Image.Image:
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    return _sheet(1.0 - 0.4 * np.maximum(np.abs(x), np.abs(y)) ** 3 - 0.15 * (y > 0) * y)


@functools.cache
def _barrel() -> Image.Image:
    across = np.linspace(-1, 1, 64, dtype=np.float32)
    shine = 0.45 + 0.55 * np.sqrt(1 - across**2) - 0.1 * across
    return _sheet(np.tile(shine, (64, 1)))


@functools.cache
def _soft_spot() -> Image.Image:
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    return _sheet(0.6 * (1 - np.maximum(np.abs(x), np.abs(y)) ** 2).clip(0, 1))
