"""An exploration of data as one HTML page that stands alone: styles, plots and photos are all inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import PurePosixPath

from binventory import __version__
from binventory.data.explore import Exploration, Seen
from binventory.data.traits import Change, Spread, Volume
from binventory.data.traps import share, traps
from binventory.flow import Track, ahead, untracked
from binventory.learning import plots
from binventory.learning.html import percent, picture, template, written
from binventory.learning.plots import Columns, round_step, scale
from binventory.records import TAIL, shown

TEMPLATE = "exploration.html.j2"

_MEASURES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "side": ("Longer side", "Pixels as stored.", lambda value: f"{value:,.0f}"),
    "aspect": ("Aspect", "Width over height: above 1 lies, below 1 stands.", lambda value: f"{value:.2f}"),
    "brightness": ("Brightness", "Mean grey: 0 % is black, 100 % white.", lambda value: percent(value, 0)),
    "contrast": ("Contrast", "How far grey strays from its mean.", lambda value: percent(value, 0)),
    "sharpness": ("Sharpness", "How strong its edges are; blur has none.", lambda value: f"{value:,.0f}"),
}
_EXTREMES: dict[str, tuple[str, Callable[[float], str]]] = {
    "Darkest": ("by brightness", lambda value: percent(value, 0)),
    "Brightest": ("by brightness", lambda value: percent(value, 0)),
    "Flattest": ("by contrast", lambda value: percent(value, 1)),
    "Most blurred": ("by sharpness", lambda value: f"{value:.1f}"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of the photos: its name, what it means, its plot (None where all are alike), and a summary."""

    name: str
    meaning: str
    plot: Columns | None
    summary: str


@dataclass(frozen=True, slots=True)
class Boxes:
    """Volumes by count on a logarithmic scale: for each count its place and the places 0..1 of five quantiles."""

    said: str
    boxes: tuple[tuple[int, str, tuple[float, ...]], ...]
    lines: tuple[tuple[float, str], ...]


def exploration_page(found: Exploration, title: str, track: Track = untracked) -> str:
    """The whole exploration as one HTML document in UTF-8, with some hundred photos of at most 240 px in it.

    It loads nothing and runs nothing. Photos are read again from where they lie; one that cannot be read any more is
    shown by its id alone.
    """
    addresses = list(dict.fromkeys(seen.address for seen in _all_seen(found)))
    read = track(ahead(picture, addresses), "reading photos to show", len(addresses))
    text = template(TEMPLATE).render(
        title=title,
        found=found,
        lede=_lede(found),
        traps=[(trap, trap.text.replace(" %", "\u202f%")) for trap in traps(found)],
        pictures=dict(zip(addresses, read, strict=True)),
        counts=plots.counts(found.mix.tally, found.reference, found.counted) if found.mix else None,
        a_bin=_tallied(found.lines.a_bin, "Lines a record", "10+") if found.lines else None,
        quantities=_tallied(found.lines.quantities, "Quantity a line", shown(TAIL)) if found.lines else None,
        measures=[_measure(name, one) for name, one in found.pictures.spreads.items()] if found.pictures else [],
        extremes=_EXTREMES,
        boxes=_boxes(found.volumes.by_count) if found.volumes else None,
        steps=[(name, n, n / max(sum(found.twins.steps), 1)) for name, n in
               zip(("the same", "by 1", "by 2", "by 3", "by 4 or more"), found.twins.steps, strict=True)],
        leaks=[("each photo by itself", found.leaks.random), ("whole runs", found.leaks.by_runs)],
        name_of=lambda address: PurePosixPath(address).name or address,
        amount=_amount,
        share=lambda part, whole: share(part, whole).replace(" %", "\u202f%"),
        version=__version__,
    )  # fmt: skip
    return written(text)


def _all_seen(found: Exploration) -> Iterator[Seen]:
    for strip in found.strips:
        yield from strip.photos
    for extreme in found.pictures.extremes if found.pictures else ():
        yield from extreme.photos
    for pair in (*found.twins.shown, *found.copies.shown):
        yield from (pair.one, pair.other)


def _lede(found: Exploration) -> str:
    if found.photos:
        many = f"{found.photos:,} photo{'s' * (found.photos != 1)} in {found.runs:,} run{'s' * (found.runs != 1)}"
    else:
        many = f"No photos, but {found.unpictured:,} records"
    if not found.mix:
        return f"{many}; no count is known."
    return (
        f"{many}. A bin holds {found.mix.mean:.1f} items on average: half of the bins hold {found.mix.median:g} or "
        f"fewer, the fullest {found.mix.largest:,}."
    )


def _tallied(tally: Sequence[int], what: str, last: str) -> Columns:
    """The shares of the numbers 0, 1, 2 …; ``last`` names the last one, which stands for itself and all above."""
    own = [n / max(sum(tally), 1) for n in tally]
    names = [*map(str, range(len(tally) - 1)), last]
    top, lines = scale(max(own))
    labelled = range(0, len(tally) - 2, 1 if len(tally) < 12 else 2)  # the last label is wide
    return Columns(
        f"{what}. " + " ".join(f"{name}: {percent(one)}." for name, one in zip(names, own, strict=True) if one),
        tuple(one / top for one in own),
        tuple(f"{name}: {n:,}, {percent(one)}" for name, n, one in zip(names, tally, own, strict=True)),
        tuple(((k + 0.5) / len(tally), names[k]) for k in (*labelled, len(tally) - 1)),
        lines=lines,
    )


def _measure(name: str, spread: Spread) -> Measure:
    title, meaning, told = _MEASURES[name]
    lowest, low, _, middle, _, high, highest = spread.quantiles
    if not spread.low < spread.high:
        return Measure(title, meaning, None, f"{told(middle)} in every photo")
    most = max(spread.tally)
    wide = spread.high - spread.low
    edges = [spread.low + wide * k / len(spread.tally) for k in range(len(spread.tally) + 1)]
    summary = f"{told(middle)} in the middle; eight in ten from {told(low)} to {told(high)}"
    return Measure(
        title,
        meaning,
        Columns(
            f"{title}: from {told(lowest)} to {told(highest)}, {summary}.",
            tuple(n / most for n in spread.tally),
            tuple(f"{told(a)} to {told(b)}: {n:,} photos" for n, a, b in
                  zip(spread.tally, edges, edges[1:], strict=False)),
            tuple((place, told(value)) for place, value in _ticks(spread)),
            middle=(min(max(middle, spread.low), spread.high) - spread.low) / wide,
        ),
        summary,
    )  # fmt: skip


def _ticks(spread: Spread, about: int = 5) -> list[tuple[float, float]]:
    """Round values within a spread, and their places 0..1."""
    wide = spread.high - spread.low
    step = round_step(wide / about)
    values = [k * step for k in range(ceil(spread.low / step), floor(spread.high / step) + 1)]
    return [((value - spread.low) / wide, value) for value in values]


def _boxes(volumes: Sequence[Volume]) -> Boxes:
    low = floor(log10(min(one.quantiles[0] for one in volumes)))
    high = max(ceil(log10(max(one.quantiles[-1] for one in volumes))), low + 1)

    def place(volume: float) -> float:
        return (log10(volume) - low) / (high - low)

    return Boxes(
        "Volume of a bin's items in cubic inches, by count. "
        + " ".join(f"{shown(one.count)}: {one.quantiles[2]:,.0f} in the middle." for one in volumes),
        tuple((
            one.count,
            f"{shown(one.count)} items, {one.bins:,} bins: {one.quantiles[2]:,.0f} in³ in the middle, "
            f"half between {one.quantiles[1]:,.0f} and {one.quantiles[3]:,.0f}",
            tuple(map(place, one.quantiles)),
        ) for one in volumes),
        tuple((place(10.0**power), f"{10.0**power:,.0f}" if power >= 0 else f"{10.0**power:g}")
              for power in range(low, high + 1)),
    )  # fmt: skip


def _amount(change: Change) -> str:
    """A change of quantity in figures: ``+1``, ``−2``; ``?`` where it is not known."""
    if change.before is None or change.after is None:
        return "?"
    return f"{change.after - change.before:+d}".replace("-", "−")
