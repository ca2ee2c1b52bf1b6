"""Plots that pages and the report share: what they hold, and one of them as a picture that stands alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from binventory.learning.html import percent, template
from binventory.records import LEVELS, TAIL, shown

_PAPER = """
.plot text { font: 12px "Libertinus Serif", serif; fill: #454e55 }
.bars, .plot { fill: none }
.grid { stroke: #dde1e4 } .even { stroke: #566069; stroke-dasharray: 4 4 }
.curve { stroke: #1f6390; stroke-width: 2; stroke-linejoin: round } .dot, .done, .mode { fill: #1f6390 }
.gap { stroke: #1f6390; opacity: .45 } .level { stroke: #9a5600; stroke-width: 1.5; stroke-dasharray: 5 4 }
.tally, .other { fill: #aab6bf } .interval { fill: #9a5600 } .truth { fill: #1d2429 }
.usual { stroke: #9a5600; stroke-width: 2.5 } .around { stroke: #fff; stroke-width: 5 }
"""
"""The look of a plot on white paper, as style.css has it on a page in the light."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A plot of upright bars. Heights, marks and places are shares 0..1 of the plot; ``said`` tells it in words.

    ``marks``: a height beside each bar, or none. ``lines``: heights with their labels. ``ticks``: places on the
    horizontal axis with theirs. ``middle``: the place of the median, None where none is drawn.
    """

    said: str
    bars: tuple[float, ...]
    tips: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[float, ...] = ()
    lines: tuple[tuple[float, str], ...] = ()
    middle: float | None = None


def counts(tally: Sequence[int], usual: Sequence[float], counted: str) -> Columns:
    """How many of what is ``counted`` have each count 0..20 and more, beside the ``usual`` shares; at least one."""
    own = [n / sum(tally) for n in tally]
    top, lines = scale(max(*own, *usual))
    return Columns(
        f"Share of {counted} by count. "
        + " ".join(f"{shown(k)}: {percent(own[k])}, usually {percent(usual[k])}." for k in range(LEVELS)),
        tuple(one / top for one in own),
        tuple(f"{shown(k)}: {n:,} {counted}, {percent(own[k])}; usually {percent(usual[k])}"
              for k, n in enumerate(tally)),
        tuple(((k + 0.5) / LEVELS, shown(k)) for k in (*range(0, TAIL - 1, 2), TAIL)),
        tuple(one / top for one in usual),
        lines,
    )  # fmt: skip


def scale(most: float) -> tuple[float, tuple[tuple[float, str], ...]]:
    """The top of an axis that holds the share ``most``, and its lines: places 0..1 with labels in per cent."""
    step = round_step(max(most, 0.04) / 4)
    lines = max(ceil(most / step - 1e-9), 1)
    return lines * step, tuple((k / lines, f"{100 * k * step:.0f}") for k in range(lines + 1))


def round_step(about: float) -> float:
    """The first of 1, 2, 5, 10 … that is not below ``about``."""
    power = 10.0 ** floor(log10(about))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= about * (1 - 1e-9))


def alone(plot: str, *values: object) -> str:
    """A plot of ``plots.svg.j2`` as SVG text that stands alone, for white paper."""
    drawn = str(getattr(template("plots.svg.j2").module, plot)(*values)).strip()
    opening, _, rest = drawn.partition(">")
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{_PAPER}</style>{rest}'
