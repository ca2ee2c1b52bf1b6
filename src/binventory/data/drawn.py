"""Bins drawn in code, in the Amazon Bin Image Dataset's layout: photos with records, free of anyone's licence.

A bin is a pure function of (seed, id). Roughly every third bin is its predecessor after something was put in or taken
out, as in the bucket, where neighbouring ids are often one bin before and after.
"""

import functools
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from binventory.data.drawn_goods import (
    Article,
    Cell,
    Colour,
    Inches,
    Item,
    Kind,
    View,
    clouds,
    new_article,
    paint_goods,
    room_taken,
    seen_shares,
    ways_to_lie,
)

LONGEST_COUNT = 40
"""The most items in a drawn bin, unless told."""

TWIN_SHARE = 0.35
"""How often a bin is the one of the id before it, with an item or two more or fewer."""

_PLAN, _TWIN, _CHANGE, _COMMON, _POD, _SHOT = range(6)
_COMMON_ARTICLES = 150
_STEPS = {-2: 0.07, -1: 0.43, 1: 0.43, 2: 0.07}
_SEEN_ENOUGH = 0.45
_GIVE = 0.4
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
class DrawnBin:
    """One drawn bin: its id as the bucket names it, its photo and its metadata record."""

    id: str
    jpeg: bytes
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be seen: `width` and `height` of the photo in pixels, and the shares of it that the frame takes."""

    first: int
    cell: Cell
    width: int
    height: int
    side: float
    sill: float
    lintel: float
    items: tuple[Item, ...]


def draw(bins: int, seed: int = 0, first_id: int = 1, longest_count: int = LONGEST_COUNT) -> Iterator[DrawnBin]:
    """Draw the bins `first_id`, `first_id` + 1, ... one by one; the same arguments give the same bytes."""
    for number in range(first_id, first_id + bins):
        yield draw_one(number, seed, longest_count)


def draw_one(number: int, seed: int = 0, longest_count: int = LONGEST_COUNT) -> DrawnBin:
    """Draw the bin of one id (1 or more), whichever others are drawn."""
    plan = _plan(number, seed, longest_count)
    return DrawnBin(bin_id(number), _photo(plan, number, seed), _record(plan.items))


def record_of(number: int, seed: int = 0, longest_count: int = LONGEST_COUNT) -> Mapping[str, Any]:
    """The metadata record that `draw_one` gives, without the cost of the photo."""
    return _record(_plan(number, seed, longest_count).items)


def bin_id(number: int) -> str:
    """The id as the bucket names it: five digits or more."""
    return f"{number:05d}"


def is_twin(number: int, seed: int = 0) -> bool:
    """Whether the bin is the one of the id before it, with an item or two put in or taken out."""
    return number > 1 and bool(_generator(seed, _TWIN, number).random() < TWIN_SHARE)


def write(folder: Path, bins: int, seed: int = 0, on_bin: Callable[[int], None] | None = None) -> int:
    """Write bins 1 to `bins` as `bin-images/<id>.jpg` and `metadata/<id>.json`; returns how many were new.

    A bin whose two files are there is left alone, so that a write that was cut off goes on where it stopped. `on_bin`
    is told how many of the bins are there, after each.
    """
    photos, records = folder / "bin-images", folder / "metadata"
    photos.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    new = 0
    for number in range(1, bins + 1):
        photo, record = photos / f"{bin_id(number)}.jpg", records / f"{bin_id(number)}.json"
        if not (photo.exists() and record.exists()):
            drawn = draw_one(number, seed)
            _put(photo, drawn.jpeg)
            _put(record, json.dumps(drawn.record, indent=4).encode())
            new += 1
        if on_bin:
            on_bin(number)
    return new


def _put(path: Path, content: bytes) -> None:
    half_written = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        half_written.write_bytes(content)
        os.replace(half_written, path)
    finally:
        half_written.unlink(missing_ok=True)


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, stream, number)))


def _record(items: tuple[Item, ...]) -> dict[str, Any]:
    quantities = Counter(item.article for item in items)
    lines = {article.asin: _line(article, quantity) for article, quantity in quantities.items()}
    return {"BIN_FCSKU_DATA": lines, "EXPECTED_QUANTITY": len(items)}


def _line(article: Article, quantity: int) -> dict[str, Any]:
    length, width, height = article.size
    return {
        "asin": article.asin,
        "height": {"unit": "IN", "value": height},
        "length": {"unit": "IN", "value": length},
        "name": article.name,
        "normalizedName": article.name,
        "quantity": quantity,
        "weight": {"unit": "pounds", "value": article.pounds},
        "width": {"unit": "IN", "value": width},
    }


def _plan(number: int, seed: int, longest_count: int) -> _Plan:
    """A fresh bin at the first of a chain of twins, changed once for each step up to this id."""
    if longest_count < 2:
        raise ValueError("longest_count must be 2 or more, for twins differ by an item and none is emptied")
    first = number
    while is_twin(first, seed):
        first -= 1
    plan = _fresh(first, seed, longest_count)
    for step in range(first + 1, number + 1):
        plan = replace(plan, items=_changed(plan, _generator(seed, _CHANGE, step), seed, longest_count))
    return plan


def _fresh(number: int, seed: int, longest_count: int) -> _Plan:
    rng = _generator(seed, _PLAN, number)
    width = int(rng.integers(310, 610))
    aspect = rng.uniform(1.25, 1.75) if rng.random() < 0.62 else rng.uniform(0.72, 1.25)
    height = int(np.clip(width / aspect, 206, 584))
    side, sill, lintel = rng.uniform(-0.01, 0.05), rng.uniform(0.06, 0.14), rng.uniform(0.03, 0.1)
    across = rng.uniform(11, 17)
    up = across * height * (1 - sill - lintel) / (width * (1 - 2 * side))
    size = (across, up, rng.uniform(10, 16))
    cell = Cell(size, (across * rng.uniform(0.35, 0.65), up * rng.uniform(0.5, 1.15), rng.uniform(32, 60)))
    count = _count(rng, longest_count)
    return _Plan(number, cell, width, height, side, sill, lintel, _filled(cell, count, rng, seed))


def _count(rng: np.random.Generator, longest_count: int) -> int:
    """A number of items: most bins hold a few, some are empty, and the tail is long."""
    middle, tail = 0.84 ** np.arange(15), 0.9 ** np.arange(max(1, longest_count - 20))
    weights = np.concatenate(
        [(0.035, 0.16, 0.19, 0.17, 0.12, 0.09), 0.23 * middle / middle.sum(), 0.02 * tail / tail.sum()]
    )[: longest_count + 1]
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _filled(cell: Cell, count: int, rng: np.random.Generator, seed: int) -> tuple[Item, ...]:
    """That many items of one to five articles, small enough to be seen each."""
    lines = min(count, 1 + int(rng.choice(5, p=(0.18, 0.37, 0.28, 0.12, 0.05))))
    quantities = 1 + rng.multinomial(count - lines, rng.dirichlet(np.ones(lines))) if lines else np.zeros(0, np.int64)
    room = _volume_each(cell, count, rng.uniform(0.5, 1.05))
    items: tuple[Item, ...] = ()
    for shrink in (1.0, 0.6, 0.36, 0.2):
        items = ()
        for quantity in quantities.tolist():
            article = _article(cell, shrink * room * rng.lognormal(-0.1, 0.5), rng, seed)
            for _ in range(quantity):
                items = _put_in(items, article, cell, rng)
        if _all_seen(items, cell):
            break
    return items


def _volume_each(cell: Cell, count: int, cover: float) -> float:
    """Cubic inches of an item such that `count` of them, side by side, cover that share of the opening."""
    across, up, _ = cell.size
    return float(min(0.3 * math.prod(cell.size), (cover * across * up / max(count, 1)) ** 1.5))


def _all_seen(items: tuple[Item, ...], cell: Cell) -> bool:
    return not items or bool(seen_shares(items, cell).min() > 0.25)


def _article(cell: Cell, volume: float, rng: np.random.Generator, seed: int) -> Article:
    """An article that fits: nearly always a new one, else one of a few that turn up in many bins."""
    if rng.random() < 0.03:
        common = _generator(seed, _COMMON, int(rng.integers(_COMMON_ARTICLES)))
        article = new_article(common, float(common.uniform(15, 90)))
        if ways_to_lie(article, cell) and math.prod(article.size) < 2 * volume:
            return article
    while not ways_to_lie(article := new_article(rng, volume), cell):
        volume *= 0.8
    return article


def _changed(plan: _Plan, rng: np.random.Generator, seed: int, longest_count: int) -> tuple[Item, ...]:
    """The items after one, seldom two, were put in or taken out; a bin is never emptied, so that twins share goods."""
    items = plan.items
    steps, odds = zip(
        *((step, share) for step, share in _STEPS.items() if 1 <= len(items) + step <= longest_count), strict=True
    )
    step = int(rng.choice(steps, p=np.divide(odds, sum(odds))))
    for _ in range(step):
        items = _added(items, plan.cell, rng, seed)
    if step > 0 and len(plan.items) > 1 and not _all_seen(items, plan.cell):
        # Nothing more can be put into a full bin and be seen.
        items, step = plan.items, -1
    for _ in range(-step):
        items = _taken_out(items, rng)
    return items


def _taken_out(items: tuple[Item, ...], rng: np.random.Generator) -> tuple[Item, ...]:
    free = [item for item in items if not any(_bears(item, other) for other in items)]
    gone = free[rng.integers(len(free))]
    return tuple(item for item in items if item is not gone)


def _added(items: tuple[Item, ...], cell: Cell, rng: np.random.Generator, seed: int) -> tuple[Item, ...]:
    """The items and one more: a piece of an article that is there if it finds room, else of another, however small."""
    more = _put_in(items, items[rng.integers(len(items))].article, cell, rng) if items and rng.random() < 0.7 else items
    volume = _volume_each(cell, len(items) + 1, 0.45)
    for _ in range(5):
        if len(more) > len(items) and _all_seen(more, cell):
            break
        more = _put_in(items, _article(cell, volume, rng, seed), cell, rng)
        volume *= 0.5
    return more


def _bears(item: Item, other: Item) -> bool:
    drop = other.place[1] - item.place[1] - item.taken[1]
    overlaps = (
        min(item.place[axis] + item.taken[axis], other.place[axis] + other.taken[axis])
        > max(item.place[axis], other.place[axis])
        for axis in (0, 2)
    )
    return -0.01 < drop < _GIVE and all(overlaps)


def _put_in(items: tuple[Item, ...], article: Article, cell: Cell, rng: np.random.Generator) -> tuple[Item, ...]:
    """The items with one more piece of an article that fits, where it rests well and hides no other piece."""
    kin = [item for item in items if item.article == article]
    ways = ways_to_lie(article, cell)
    laid = kin[0].laid if kin and rng.random() < 0.93 else ways[int(len(ways) * rng.beta(1, 2))]
    yaw, lean = _turns(article, laid, rng)
    taken = room_taken(laid, yaw, lean if article.kind in (Kind.BOX, Kind.BOOK) else 0.2 * lean)
    beside = _beside(kin[-1], taken) if kin else []
    anywhere = [(rng.random() * cell.size[0], rng.beta(1, 3) * (cell.size[2] - taken[2])) for _ in range(9)]
    look, upside_down = int(rng.integers(2**32)), bool(rng.random() < 0.12)
    spots = []
    for rank, (x, z) in enumerate(beside + anywhere):
        place = (_within(x, cell.size[0] - taken[0]), 0.0, _within(z, cell.size[2] - taken[2]))
        comfort, item = _let_down(Item(article, laid, place, taken, yaw, lean, 0.0, upside_down, look), items, cell)
        in_rank = rank < len(beside) and rank // 2 == article.look % 3
        spots.append((comfort + 0.7 * in_rank, item))
    best, best_worth = items, -math.inf
    for comfort, item in sorted(spots, key=lambda spot: -spot[0]):
        # What can be seen costs most to tell and adds at most this much.
        if comfort + 5 * _SEEN_ENOUGH <= best_worth:
            break
        worth = comfort + 5 * min(float(seen_shares((*items, item), cell).min()), _SEEN_ENOUGH)
        if worth > best_worth:
            best, best_worth = (*items, item), worth
    return best


def _turns(article: Article, laid: Inches, rng: np.random.Generator) -> tuple[float, float]:
    """Yaw and lean in radians: thin upright things lean, soft ones slump, heavy ones are merely askew."""
    yaw = rng.normal(0, 0.05) if rng.random() < 0.75 else rng.uniform(-0.6, 0.6)
    yaw *= article.kind in (Kind.BOX, Kind.BOOK)
    slump = {Kind.BAG: 0.16, Kind.ROLL: 0.08, Kind.TUB: 0.03}.get(article.kind, 0.01)
    thin = article.kind in (Kind.BOX, Kind.BOOK) and laid[0] < 0.35 * laid[1]
    return float(yaw), float(rng.normal(0, 0.13 if thin else slump))


def _beside(last: Item, taken: Inches) -> list[tuple[float, float]]:
    """Floor positions (x, z) in line with the piece put in before: two beside it, two on it, two before and behind."""
    (x, _, z), (dx, _, dz) = last.place, last.taken
    return [(x + 0.97 * dx, z), (x - 0.97 * taken[0], z), (x, z), (x + 0.15 * dx, z), (x, z - taken[2]), (x, z + dz)]


def _within(value: float, most: float) -> float:
    return min(max(value, 0.0), max(most, 0.0))


def _let_down(item: Item, items: tuple[Item, ...], cell: Cell) -> tuple[float, Item]:
    """The item let down onto the others, and how well it rests: held from below, low, under the cell's ceiling."""
    (x, _, z), taken = item.place, item.taken
    depth, bearing = z, [(0.0, taken[0] * taken[2])]
    for other in items:
        (ox, oy, oz), (dx, dy, dz) = other.place, other.taken
        across = min(x + taken[0], ox + dx) - max(x, ox)
        inwards = min(z + taken[2], oz + dz) - max(z, oz)
        # Goods give: an edge that merely brushes another does not carry.
        if across > 0.15 * min(dx, taken[0]) and inwards > 0.15 * min(dz, taken[2]):
            depth = min(depth, other.depth - 0.01)
            bearing.append((oy + dy, across * inwards))
    y = max(top for top, _ in bearing)
    held = sum(area for top, area in bearing if top > y - _GIVE) / (taken[0] * taken[2])
    overflow = max(0.0, y + taken[1] - cell.size[1])
    return 4 * min(held, 0.6) - 1.8 * y / cell.size[1] - 3 * overflow, replace(item, place=(x, y, z), depth=depth)


def _photo(plan: _Plan, number: int, seed: int) -> bytes:
    """The JPEG of a planned bin: a chain's first id sets the pod and its light, the id itself this one shot of it."""
    # One stream for each part of the pod: the sizes of this shot must not shift what twins share.
    walls, frame, tapes, light = _generator(seed, _POD, plan.first).spawn(4)
    shot = _generator(seed, _SHOT, number)
    width, height = (int(side + shot.integers(-6, 7)) for side in (plan.width, plan.height))
    scale = plan.width * (1 - 2 * plan.side) / plan.cell.size[0]
    left, bottom = plan.side * plan.width + shot.normal(0, 2), (1 - plan.sill) * plan.height + shot.normal(0, 2)
    view = View(plan.cell, scale, float(left), float(bottom))
    canvas = _walls(width, height, view, walls)
    paint_goods(canvas, plan.items, view)
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
            pen.polygon([(x, y) for x, y in quad], fill=_dimmed(colour, tone * light))
    back = _dimmed(tuple(int(a + hue * (b - a)) for a, b in zip(_FABRIC, _BACK, strict=True)), deep * 0.76)
    pen.polygon([(x, y) for x, y in rings[-1]], fill=back)
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
    pen.text((4 * inset, height / 2), code, (30, 28, 30), _code_font(height), anchor="lm", stroke_width=1)
    x, y = 1.7 * height, height / 2
    pen.polygon([(x - 0.2 * height, y), (x, y - 0.28 * height), (x + 0.2 * height, y)], fill=(30, 28, 30))
    pen.rectangle((x - 0.06 * height, y, x + 0.06 * height, y + 0.25 * height), fill=(30, 28, 30))
    square = Image.fromarray(np.where(rng.random((11, 11)) < 0.5, 40, 240).astype(np.uint8)).convert("RGB")
    side = height - 3 * inset
    plate.paste(square.resize((side, side), Image.Resampling.NEAREST), (int(2.35 * height), inset + inset // 2))
    for bar in range(4):
        pen.line((3.6 * height + 3 * bar, 2 * inset, 3.6 * height + 3 * bar, height - 2 * inset), fill=(236, 232, 224))
    return plate


@functools.cache
def _code_font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(0.74 * height)


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
    if last <= first:
        return
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
