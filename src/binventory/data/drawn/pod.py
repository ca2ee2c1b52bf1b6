"""The pod around drawn goods: walls, frame, labels and elastic tapes, and the photo developed from it all."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from binventory.data.drawn.goods import Cell, Colour, Item, View
from binventory.data.drawn.paint import clouds, font, paint_goods

_FABRIC, _BACK, _FLOOR, _STEEL = (246, 226, 144), (176, 154, 118), (158, 146, 130), (186, 182, 178)
_LABELS: tuple[Colour, ...] = (
    (40, 48, 92),
    (236, 150, 160),
    (238, 128, 62),
    (206, 58, 50),
    (112, 168, 214),
    (98, 64, 50),
    (70, 74, 80),
)


@dataclass(frozen=True, slots=True)
class Pod:
    """A cell and its photo: `width` and `height` in pixels, and the shares of them below and on each side of it."""

    cell: Cell
    width: int
    height: int
    side: float
    sill: float


def new_pod(rng: np.random.Generator) -> Pod:
    """A pod as real ones are: more wide than high, mostly, and seen from before its middle."""
    width = int(rng.integers(310, 610))
    aspect = rng.uniform(1.25, 1.75) if rng.random() < 0.62 else rng.uniform(0.72, 1.25)
    height = int(np.clip(width / aspect, 206, 584))
    side, sill, lintel = rng.uniform(-0.01, 0.05), rng.uniform(0.06, 0.14), rng.uniform(0.03, 0.1)
    across = rng.uniform(11, 17)
    up = across * height * (1 - sill - lintel) / (width * (1 - 2 * side))
    size = (across, up, rng.uniform(10, 16))
    eye = (across * rng.uniform(0.35, 0.65), up * rng.uniform(0.5, 1.15), rng.uniform(32, 60))
    return Pod(Cell(size, eye), width, height, side, sill)


def take_photo(pod: Pod, items: Sequence[Item], chain: np.random.Generator, shot: np.random.Generator) -> bytes:
    """The JPEG of a pod and its goods: `chain` sets what twins share, pod and light, and `shot` this one photo."""
    # One stream for each part of the pod: the sizes of this shot must not shift what twins share.
    walls, frame, tapes, light = chain.spawn(4)
    width, height = (int(side + shot.integers(-6, 7)) for side in (pod.width, pod.height))
    scale = pod.width * (1 - 2 * pod.side) / pod.cell.size[0]
    left, bottom = pod.side * pod.width + shot.normal(0, 2), (1 - pod.sill) * pod.height + shot.normal(0, 2)
    view = View(pod.cell, scale, float(left), float(bottom))
    canvas = _walls(width, height, view, walls)
    paint_goods(canvas, items, view)
    _paint_frame(canvas, view, frame)
    canvas = canvas.filter(ImageFilter.BoxBlur(shot.uniform(0.4, 0.8) + shot.exponential(0.25)))
    pixels = np.asarray(canvas).transpose(2, 0, 1).astype(np.float32, order="C")
    _weave_tapes(pixels, view, tapes)
    return _developed(pixels, light, shot)


def _walls(width: int, height: int, view: View, rng: np.random.Generator) -> Image.Image:
    """The inside of the empty cell, each wall in slices that darken inwards, coarse and so without hard corners."""
    view = replace(view, scale=view.scale / 5, left=view.left / 5, bottom=view.bottom / 5)
    canvas = Image.new("RGB", (width // 5 + 1, height // 5 + 1), _FABRIC)
    pen = ImageDraw.Draw(canvas)
    across, up, inwards = view.cell.size
    deep, hue = rng.uniform(0.45, 0.75), rng.uniform(0.0, 1.0)
    slices = np.linspace(-1.5, inwards, 9)
    rings = [view.at(np.array([(0, up, z), (across, up, z), (across, 0, z), (0, 0, z)])) for z in slices]
    for near, (outer, inner) in enumerate(pairwise(rings)):
        light = 1 + (deep - 1) * near / 8
        for corner, (colour, tone) in enumerate(((_FABRIC, 0.55), (_FABRIC, 0.62), (_FLOOR, 0.8), (_FABRIC, 0.66))):
            nxt = (corner + 1) % 4
            quad = (outer[corner], outer[nxt], inner[nxt], inner[corner])
            pen.polygon(np.ravel(quad).tolist(), fill=_dimmed(colour, tone * light))
    back = _dimmed(tuple(int(a + hue * (b - a)) for a, b in zip(_FABRIC, _BACK, strict=True)), deep * 0.76)
    pen.polygon(rings[-1].ravel().tolist(), fill=back)
    return canvas.resize((width, height), Image.Resampling.BICUBIC)


def _dimmed(colour: tuple[int, ...], light: float) -> Colour:
    red, green, blue = (int(min(255, light * value)) for value in colour)
    return red, green, blue


def _paint_frame(canvas: Image.Image, view: View, rng: np.random.Generator) -> None:
    """The fabric around the opening, with a label on the sill and the label of the bin above on the lintel."""
    pen = ImageDraw.Draw(canvas)
    right, top = view.left + view.scale * view.cell.size[0], view.bottom - view.scale * view.cell.size[1]
    for post, outer in ((view.left, -20), (right, canvas.width + 20)):
        slant = rng.normal(0, 3)
        colour = _dimmed(_FABRIC, 0.84) if rng.random() < 0.8 else _STEEL
        foot, head = (post - slant, canvas.height), (post + slant, -9)
        pen.polygon([(outer, -9), head, foot, (outer, canvas.height)], fill=colour)
        pen.line([head, foot], fill=_dimmed(_FABRIC, 0.62), width=2)
    for edge, outer, light in ((top, -20, 0.9), (view.bottom, canvas.height + 20, 1.0)):
        x = np.linspace(-1, 1, 17)
        sag = canvas.height * (rng.normal(0, 0.012) * x + rng.normal(0, 0.014) * x**2 + rng.normal(0, 0.0015, size=17))
        hem = [(canvas.width * share / 16, edge + drop) for share, drop in enumerate(sag.tolist())]
        pen.polygon([(0, outer), *hem, (canvas.width, outer)], fill=_dimmed(_FABRIC, light))
        pen.line(hem, fill=_dimmed(_FABRIC, 0.68), width=2)
        seam = [(x, y + 6 * (1 if outer > 0 else -1)) for x, y in hem]
        pen.line(seam, fill=_dimmed(_FABRIC, light * 0.92), width=1)
    plate = _label(rng, max(20, int(0.095 * canvas.width)))
    canvas.paste(plate, (int(rng.uniform(0.25, 0.55) * canvas.width), int(view.bottom + rng.uniform(2, 10))))
    plate = _label(rng, plate.height)
    canvas.paste(plate, (int(rng.uniform(0.25, 0.55) * canvas.width), int(top - plate.height - rng.uniform(0, 6))))


def _label(rng: np.random.Generator, height: int) -> Image.Image:
    """A bin label: the code on white in its row's colour, and a square code beside it."""
    row = int(rng.integers(11))
    plate = Image.new("RGB", (int(4.3 * height), height), (244, 224, 156))
    pen = ImageDraw.Draw(plate)
    inset = max(1, height // 10)
    pen.rectangle((inset, inset, 4.3 * height - inset, height - inset), fill=_LABELS[row % len(_LABELS)])
    pen.rectangle((3 * inset, 2 * inset, 2.1 * height, height - 2 * inset), fill=(240, 236, 226))
    code = f"{rng.integers(1, 5)}{'ABCDEFGHIJK'[row]}"
    pen.text((4 * inset, height / 2), code, (30, 28, 30), font(0.74 * height), anchor="lm", stroke_width=1)
    x, y = 1.7 * height, height / 2
    pen.polygon([(x - 0.2 * height, y), (x, y - 0.28 * height), (x + 0.2 * height, y)], fill=(30, 28, 30))
    pen.rectangle((x - 0.06 * height, y, x + 0.06 * height, y + 0.25 * height), fill=(30, 28, 30))
    square = Image.fromarray(np.where(rng.random((11, 11)) < 0.5, 40, 240).astype(np.uint8)).convert("RGB")
    side = height - 3 * inset
    plate.paste(square.resize((side, side), Image.Resampling.NEAREST), (int(2.35 * height), inset + inset // 2))
    for bar in range(4):
        pen.line((3.6 * height + 3 * bar, 2 * inset, 3.6 * height + 3 * bar, height - 2 * inset), fill=(236, 232, 224))
    return plate


def _weave_tapes(pixels: NDArray[np.float32], view: View, rng: np.random.Generator) -> None:
    """Lay elastic tapes over the opening, in place: sheer bands of fine threads, pixels (3, height, width)."""
    top = view.bottom - view.scale * view.cell.size[1]
    opening = view.bottom - top
    tapes = int(rng.choice((1, 2, 3), p=(0.3, 0.45, 0.25)))
    cover = rng.uniform(0.45, 1.05) if view.cell.size[1] < 0.75 * view.cell.size[0] else rng.uniform(0.2, 0.6)
    thick = max(14.0, cover * opening / tapes)
    for tape, stream in enumerate(rng.spawn(tapes)):
        middle = top + opening * (tape + 0.5 + stream.normal(0, 0.1)) / tapes
        _weave_tape(pixels, middle - thick / 2, thick, stream)


def _weave_tape(pixels: NDArray[np.float32], top: float, thick: float, rng: np.random.Generator) -> None:
    _, height, width = pixels.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)
    wave = rng.normal(0, 5) * x + rng.normal(0, 4) * x**2 + rng.normal(0, 0.8) * np.sin(rng.uniform(2, 7) * x)
    first, last = max(0, int(top) - 12), min(height, int(top + thick) + 12)
    depth = 4 * (np.arange(first, last, dtype=np.float32)[:, None] - top - wave)
    sheer = _threads(int(4 * thick), rng)[(depth.astype(np.int32) + 1).clip(0, int(4 * thick) + 1)]
    colour = rng.uniform(0.82, 1.05) * np.array((200, 196, 196)).reshape(3, 1, 1)
    sheer *= 1 + 0.05 * clouds(rng, width, last - first, 30)
    band = pixels[:, first:last]
    band *= 1 - sheer
    band += sheer * colour.astype(np.float32)


def _threads(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """How opaque a tape is from its upper to its lower hem (steps + 2,), four steps a pixel, 0 outside."""
    period = 4 * rng.uniform(3.6, 6)
    at = np.arange(steps) / period
    strength = rng.uniform(0.6, 1.0, size=int(steps / period) + 2)[at.astype(np.int64)]
    threads = rng.uniform(0.12, 0.34) + rng.uniform(0.3, 0.55) * strength * (0.5 + 0.5 * np.cos(2 * np.pi * at)) ** 2.2
    hems = np.minimum(np.arange(steps), np.arange(steps)[::-1]) < period
    return np.pad(threads + 0.12 * hems, 1).astype(np.float32)


def _developed(pixels: NDArray[np.float32], lamp: np.random.Generator, shot: np.random.Generator) -> bytes:
    """The JPEG of pixels (3, height, width): uneven warm light, flat contrast, blur of motion, sensor noise."""
    _, height, width = pixels.shape
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    tint = np.array((1.0, lamp.uniform(0.89, 0.94), lamp.uniform(0.8, 0.92)), np.float32).reshape(3, 1, 1)
    lift = lamp.uniform(18, 42) * np.array((1.0, 0.86, 0.74)).reshape(3, 1, 1)
    light = 1 - 0.14 * (x - lamp.normal(0, 0.3)) ** 2 - 0.12 * (y - lamp.normal(0, 0.4)) ** 2
    light *= lamp.uniform(0.62, 0.94) * shot.normal(1, 0.02) * (1 + 0.09 * clouds(lamp, width, height, 7))
    pixels *= light * tint
    pixels += lift.astype(np.float32)
    pixels += np.float32(shot.uniform(1, 3)) * shot.standard_normal((height, width), dtype=np.float32)
    colours = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8).transpose(1, 2, 0)
    photo = Image.fromarray(np.ascontiguousarray(colours))
    if shot.random() < 0.12:
        photo = photo.filter(ImageFilter.BoxBlur((shot.uniform(0, 4), shot.uniform(0, 2))))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=int(shot.integers(88, 97)))
    return file.getvalue()
