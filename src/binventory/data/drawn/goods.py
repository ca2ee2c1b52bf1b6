"""The goods of drawn bins: articles with a size and a look, how they may lie in a cell, what is seen of them.

Lengths are inches. In a cell x runs to the right from its left wall, y upwards from its floor and z backwards from its
front opening, which is the plane z = 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import permutations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Inches: TypeAlias = tuple[float, float, float]
Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = NDArray[np.float64]

CARDBOARD, BLACK, WHITE = (176, 134, 96), (40, 38, 40), (224, 220, 214)
SYLLABLES = ("ba", "cor", "del", "fen", "gra", "ha", "lum", "mi", "nor", "pa", "quo", "ri", "sol", "ta", "ven", "zo")


class Kind(Enum):
    """What an article is, by the way it stands and shines."""

    BOX = "Box"
    BAG = "Pouch"
    BOOK = "Book"
    TUB = "Jar"
    ROLL = "Roll"

    @property
    def boxy(self) -> bool:
        """Whether it has flat faces and keeps its shape, and so turns and leans as a whole."""
        return self in (Kind.BOX, Kind.BOOK)


_SHAPES: dict[Kind, tuple[tuple[float, float], tuple[float, float]]] = {
    Kind.BOX: ((0.45, 0.25), (0.95, 0.75)),
    Kind.BAG: ((0.55, 0.22), (0.9, 0.45)),
    Kind.BOOK: ((0.65, 0.08), (0.8, 0.22)),
    Kind.TUB: ((0.45, 0.45), (0.9, 0.9)),
    Kind.ROLL: ((0.35, 0.35), (0.6, 0.6)),
}


@dataclass(frozen=True, slots=True)
class Article:
    """One product. `size` is (length, width, height), falling, in inches; `look` seeds its print."""

    asin: str
    name: str
    kind: Kind
    size: Inches
    pounds: float
    base: Colour
    accent: Colour
    look: int


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of an article where it lies.

    `laid` is the article's size as turned to (x, y, z); `place` the lowest, leftmost, foremost point of the room that
    it takes up once leant and turned (radians), `taken` that room's size. Less `depth` is painted later. `look` seeds
    its creases.
    """

    article: Article
    laid: Inches
    place: Inches
    taken: Inches
    yaw: float
    lean: float
    depth: float
    upside_down: bool
    look: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The room of one bin: its inner (width, height, depth), and the eye (x, y, distance before the opening)."""

    size: Inches
    eye: Inches


@dataclass(frozen=True, slots=True)
class View:
    """How a cell falls into a picture: pixels an inch in its opening, and the pixel of its lower left corner."""

    cell: Cell
    scale: float
    left: float
    bottom: float

    def at(self, points: Points) -> Points:
        """Pixel positions (n, 2) of points (n, 3) in the cell."""
        x, y, distance = self.cell.eye
        nearness = self.scale * distance / (distance + points[:, 2])
        across = self.left + self.scale * x + nearness * (points[:, 0] - x)
        down = self.bottom - self.scale * y - nearness * (points[:, 1] - y)
        return np.stack([across, down], axis=1)

    def front(self, item: Item) -> tuple[float, float, float, float]:
        """The (left, top, right, bottom) pixels of the front of the room that the item takes up."""
        (x, y, z), (dx, dy, _), (eye_x, eye_y, distance) = item.place, item.taken, self.cell.eye
        nearness = self.scale * distance / (distance + z)
        left = self.left + self.scale * eye_x + nearness * (x - eye_x)
        bottom = self.bottom - self.scale * eye_y - nearness * (y - eye_y)
        return left, bottom - nearness * dy, left + nearness * dx, bottom


def new_article(rng: np.random.Generator, volume: float) -> Article:
    """An article that no other has the ASIN of, of about `volume` cubic inches."""
    kind = Kind(rng.choice([kind.value for kind in Kind], p=(0.38, 0.27, 0.17, 0.12, 0.06)))
    width, height = rng.uniform(*_SHAPES[kind])
    if kind in (Kind.TUB, Kind.ROLL):
        height = width
    length = float((volume / (width * height)) ** (1 / 3))
    size = tuple(sorted((round(max(0.25, length * share), 2) for share in (1.0, width, height)), reverse=True))
    base, accent = _colours(rng, kind)
    brand = "".join(rng.choice(SYLLABLES, size=int(rng.integers(2, 4)))).capitalize()
    asin = "B0" + "".join(rng.choice(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"), size=8))
    return Article(
        asin=asin,
        name=f"{brand} {kind.value} {rng.integers(10, 999)}, {size[0]:.1f} x {size[1]:.1f} x {size[2]:.1f} Inches",
        kind=kind,
        size=(size[0], size[1], size[2]),
        pounds=round(float(math.prod(size) * rng.uniform(0.008, 0.035)), 2),
        base=base,
        accent=accent,
        look=int(rng.integers(2**32)),
    )


def _colours(rng: np.random.Generator, kind: Kind) -> tuple[Colour, Colour]:
    plain = {Kind.BOX: (CARDBOARD, BLACK, WHITE), Kind.TUB: (WHITE, WHITE, BLACK)}.get(kind, (BLACK, WHITE))
    base = plain[rng.integers(len(plain))] if rng.random() < 0.62 else _dye(rng)
    drift = rng.integers(-12, 13, size=3)
    red, green, blue = (int(value) for value in np.clip(np.add(base, drift), 25, 235))
    return (red, green, blue), _dye(rng)


def _dye(rng: np.random.Generator) -> Colour:
    """Any colour but seldom a loud one: goods look dull in a bin's light."""
    hue = rng.normal(0.4, 0.5) if rng.random() < 0.55 else rng.normal(3.7, 0.5)
    grey = rng.uniform(55, 185)
    strength = rng.uniform(0.1, 0.55) * min(grey, 240 - grey)
    red, green, blue = (int(grey + strength * math.cos(hue - turn)) for turn in (0.0, 2.1, 4.2))
    return red, green, blue


def ways_to_lie(article: Article, cell: Cell) -> list[Inches]:
    """The ways to turn an article so that it fits into the cell, likelier ones first; none if it is too big."""
    ways: set[Inches] = set(permutations(article.size, 3))
    room = np.multiply(cell.size, (0.92, 0.9, 0.95))
    fits = sorted(way for way in ways if np.all(way <= room))
    # A tub stands or shows its lid and a roll does not stand; goods are stowed with their long side inwards.
    if article.kind is Kind.TUB:
        fits = [way for way in fits if abs(way[0] - min(way[1], way[2])) < 0.01] or fits
    elif article.kind is Kind.ROLL:
        fits = [way for way in fits if way[1] <= max(way[0], way[2])] or fits
    return sorted(fits, key=lambda way: way[0] * way[1] / way[2] ** 0.5)


def room_taken(laid: Inches, yaw: float, lean: float) -> Inches:
    """The room (x, y, z) that a thing laid so takes up once turned about the upright and leant, in radians."""
    dx, dy, dz = (np.abs(rotation(yaw, lean)) @ laid).tolist()
    return dx, dy, dz


def rotation(yaw: float, lean: float) -> Points:
    """The matrix (3, 3) that turns a thing about the upright and then leans it, in radians."""
    cy, sy, cl, sl = math.cos(yaw), math.sin(yaw), math.cos(lean), math.sin(lean)
    return np.array([(cl * cy, -sl, cl * sy), (sl * cy, cl, sl * sy), (-sy, 0, cy)])


def seen_shares(items: Sequence[Item], cell: Cell) -> Points:
    """The share (n,), 0 to 1, of each item's front that no other item nor the frame hides, to about 0.1."""
    view = View(cell, scale=44 / cell.size[0], left=0.0, bottom=44 * cell.size[1] / cell.size[0])
    owner = np.full((max(1, round(view.bottom)), 44), -1)
    areas = np.ones(len(items))
    for index, item in far_to_near(items):
        left, top, right, bottom = (round(edge) for edge in view.front(item))
        areas[index] = max(1, right - left) * max(1, bottom - top)
        owner[max(0, top) : max(0, bottom, top + 1), max(0, left) : max(0, right, left + 1)] = index
    return np.bincount(owner[owner >= 0], minlength=len(items)) / areas


def far_to_near(items: Sequence[Item]) -> list[tuple[int, Item]]:
    """The items with their indices, in the order in which they are painted."""
    return sorted(enumerate(items), key=lambda numbered: -numbered[1].depth)
