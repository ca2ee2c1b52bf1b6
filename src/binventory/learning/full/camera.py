"""What another camera, hour or lens would have made of the same bin. Pure: a picture and a seed give a picture."""

from __future__ import annotations

from io import BytesIO
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from binventory.photo import Pixels
from binventory.recipe import CameraRecipe


def varied(picture: Pixels, side: int, camera: CameraRecipe, seed: tuple[int, ...]) -> Pixels:
    """The picture uint8 [h, w, 3] varied and scaled to uint8 [side, side, 3]; the same for the same seed."""
    chance = np.random.default_rng(seed)
    image = _cropped(Image.fromarray(picture), side, camera.crop, chance)
    if chance.random() < camera.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if chance.random() < camera.tape:
        _tape(image, chance)
    if camera.light:
        image = image.point(_light(camera.light, chance))
    if chance.random() < camera.blur:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 1.5) * side / 224))
    if chance.random() < camera.jpeg:
        image = _compressed(image, int(chance.integers(25, 85)))
    return np.asarray(image)


def plain(picture: Pixels, side: int) -> Pixels:
    """The picture scaled to uint8 [side, side, 3], as ``varied`` with nothing varied."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def _cropped(image: Image.Image, side: int, most: float, chance: np.random.Generator) -> Image.Image:
    """A window with up to ``most`` of each edge cut off, wherever it lies, scaled to ``side``."""
    width, height = (edge * (1 - most * chance.random()) for edge in image.size)
    left, top = ((edge - kept) * chance.random() for edge, kept in zip(image.size, (width, height), strict=True))
    box = (left, top, left + width, top + height)
    return image.resize((side, side), Image.Resampling.BICUBIC, box)


def _light(swing: float, chance: np.random.Generator) -> list[int]:
    """One table of 256 for each of R, G and B: brightness, contrast and gamma in common, and a colour cast."""
    level = np.linspace(0, 1, 256)
    bright, contrast, gamma = chance.uniform(-swing, swing, 3)
    casts = 1 + chance.uniform(-swing, swing, 3) / 3
    curve = (level ** np.exp(gamma) - 0.5) * (1 + contrast) + 0.5
    tables = [np.clip(255 * curve * (1 + bright) * cast, 0, 255) for cast in casts]
    return [int(value) for table in tables for value in np.rint(table)]


def _tape(image: Image.Image, chance: np.random.Generator) -> None:
    """Draw a strip right across the picture, mostly level as the bands before a bin are."""
    side = image.width
    angle = chance.normal(0, 0.15) + (pi / 2 if chance.random() < 0.25 else 0)
    along, across = np.array([cos(angle), sin(angle)]), np.array([-sin(angle), cos(angle)])
    middle = chance.uniform(0, side, 2)
    half = chance.uniform(0.01, 0.04) * side
    corners = [middle + a * 2 * side * along + b * half * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    grey = int(chance.integers(30, 230))
    colour = tuple(int(value) for value in np.clip(grey + chance.integers(-25, 26, 3), 0, 255))
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in corners], fill=colour)


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as again:
        again.load()
        return again
