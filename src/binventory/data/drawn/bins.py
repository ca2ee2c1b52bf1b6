"""Which drawn bin holds what: fresh bins and twins, how goods come to lie in them, their records, writing them."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from binventory import objects
from binventory.data.drawn.goods import (
    Article,
    Cell,
    Inches,
    Item,
    Kind,
    new_article,
    room_taken,
    seen_shares,
    ways_to_lie,
)
from binventory.data.drawn.pod import Pod, new_pod, take_photo

LONGEST_COUNT = 40
"""The most items in a drawn bin, unless told."""

TWIN_SHARE = 0.35
"""How often a bin is the one of the id before it, with an item or two more or fewer."""

_PLAN, _TWIN, _CHANGE, _COMMON, _POD, _SHOT = range(6)
_COMMON_ARTICLES = 150
_STEPS = {-2: 0.07, -1: 0.43, 1: 0.43, 2: 0.07}
_SEEN_ENOUGH = 0.45
_GIVE = 0.4


@dataclass(frozen=True, slots=True)
class DrawnBin:
    """One drawn bin: its id as the bucket names it, its photo and its metadata record."""

    id: str
    jpeg: bytes
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be seen, and the id of the first bin of its chain of twins."""

    first: int
    pod: Pod
    items: tuple[Item, ...]


def draw(bins: int, seed: int = 0, first_id: int = 1, longest_count: int = LONGEST_COUNT) -> Iterator[DrawnBin]:
    """Draw the bins `first_id`, `first_id` + 1, ... one by one; the same arguments give the same bytes."""
    for number in range(first_id, first_id + bins):
        yield draw_one(number, seed, longest_count)


def draw_one(number: int, seed: int = 0, longest_count: int = LONGEST_COUNT) -> DrawnBin:
    """Draw the bin of one id (1 or more), whichever others are drawn."""
    plan = _plan(number, seed, longest_count)
    chain, shot = _generator(seed, _POD, plan.first), _generator(seed, _SHOT, number)
    return DrawnBin(bin_id(number), take_photo(plan.pod, plan.items, chain, shot), _record(plan.items))


def record_of(number: int, seed: int = 0, longest_count: int = LONGEST_COUNT) -> Mapping[str, Any]:
    """The metadata record that `draw_one` gives, without the cost of the photo."""
    return _record(_plan(number, seed, longest_count).items)


def bin_id(number: int) -> str:
    """The id as the bucket names it: five digits or more."""
    return f"{number:05d}"


def is_twin(number: int, seed: int = 0) -> bool:
    """Whether the bin is the one of the id before it, with an item or two put in or taken out."""
    return number > 1 and bool(_generator(seed, _TWIN, number).random() < TWIN_SHARE)


def write(folder: Path, bins: int, seed: int = 0) -> Iterator[bool]:
    """Write bins 1 to `bins` as `bin-images/<id>.jpg` and `metadata/<id>.json`, yielding for each whether it is new.

    A bin whose two files are there is left alone, so that a write that was cut off goes on where it stopped. Raises
    OutsideError where the disk refuses.
    """
    for number in range(1, bins + 1):
        photo = folder / "bin-images" / f"{bin_id(number)}.jpg"
        record = folder / "metadata" / f"{bin_id(number)}.json"
        new = not (photo.exists() and record.exists())
        if new:
            drawn = draw_one(number, seed)
            objects.write(str(photo), drawn.jpeg)
            objects.write(str(record), json.dumps(drawn.record, indent=4).encode())
        yield new


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
    pod = new_pod(rng)
    return _Plan(number, pod, _filled(pod.cell, _count(rng, longest_count), rng, seed))


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
    for shrink in (1.0, 0.6, 0.36, 0.2):
        items: tuple[Item, ...] = ()
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
    odds = {step: share for step, share in _STEPS.items() if 1 <= len(items) + step <= longest_count}
    step = int(rng.choice(list(odds), p=np.divide(list(odds.values()), sum(odds.values()))))
    for _ in range(step):
        items = _added(items, plan.pod.cell, rng, seed)
    if step > 0 and len(plan.items) > 1 and not _all_seen(items, plan.pod.cell):
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
    taken = room_taken(laid, yaw, lean if article.kind.boxy else 0.2 * lean)
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
    yaw *= article.kind.boxy
    slump = {Kind.BAG: 0.16, Kind.ROLL: 0.08, Kind.TUB: 0.03}.get(article.kind, 0.01)
    thin = article.kind.boxy and laid[0] < 0.35 * laid[1]
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
