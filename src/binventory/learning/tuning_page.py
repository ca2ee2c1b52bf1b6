"""A tuning as one HTML page that stands alone: styles and plots are all inside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor, log10

import tomli_w

from binventory import __version__
from binventory.learning.html import template, written
from binventory.learning.space import Axis
from binventory.learning.tuning import DEFAULT, Trial, Tuning, verdict

TEMPLATE = "tuning.html.j2"
_MOST_TICKS = 8
_LOOKS = ("failed", "pruned", "complete", "default", "best")  # the later, the higher it lies


@dataclass(frozen=True, slots=True)
class Dot:
    """A trial in a plot, at shares 0..1 of it. ``look``: best, default, or its state; ``tip`` tells it."""

    x: float
    y: float
    look: str
    tip: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Trials as dots. ``lines`` and ``ticks``: places 0..1 on the upright and the level axis with their labels;
    ``level``: the height of the default recipe; ``path``: points that a line joins; ``said`` tells it in words."""

    name: str
    said: str
    dots: tuple[Dot, ...]
    lines: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    level: float
    path: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """A trial's log loss after each epoch, as places 0..1."""

    points: tuple[tuple[float, float], ...]
    look: str
    tip: str


def tuning_page(tuning: Tuning, title: str) -> str:
    """The whole tuning as one HTML document in UTF-8. It loads nothing and runs nothing."""
    scale = _Scale([one.log_loss for one in tuning.trials if one.log_loss is not None])
    best, default = tuning.of(tuning.best), tuning.of(DEFAULT)
    varied = [axis for axis in tuning.axes if len(axis.values) != 1]
    text = template(TEMPLATE).render(
        title=title,
        tuning=tuning,
        verdict=verdict(tuning),
        best=best,
        default=default,
        tally=[(name, sum(one.state == state for one in tuning.trials)) for name, state in
               (("finished", "complete"), ("pruned", "pruned"), ("failed", "failed"))],
        course=_course(tuning, scale),
        slices=[_slice(tuning, axis, scale) for axis in varied],
        curves=_curves(tuning, scale),
        importance=list(tuning.importance.items()),
        changes=[(axis.setting, _given(default.settings.get(axis.setting)), _given(best.settings.get(axis.setting)),
                  _reach(axis)) for axis in tuning.axes],
        names=[axis.setting for axis in tuning.axes],
        toml=tomli_w.dumps(tuning.recipe),
        given=_given,
        signed=lambda value: f"{value:+.4f}".replace("-", "−"),
        points=lambda value: f"{100 * value:+.1f}".replace("-", "−"),
        seconds=_seconds,
        version=__version__,
    )  # fmt: skip
    return written(text)


class _Scale:
    """Log losses as heights 0..1, the round values between them, and where they would leave the plot."""

    def __init__(self, losses: Sequence[float]) -> None:
        low, high = min(losses), max(losses)
        step = _round_step(max(high - low, 0.01) / 4)
        self.low, self.high = floor(low / step) * step, ceil(high / step) * step
        if self.high - self.low < step / 2:
            self.high += step
        digits = max(0, -floor(log10(step)))
        marks = round((self.high - self.low) / step)
        self.lines = tuple((k / marks, f"{self.low + k * step:.{digits}f}") for k in range(marks + 1))

    def __call__(self, loss: float) -> float:
        return min(max((loss - self.low) / (self.high - self.low), 0.0), 1.0)


def _course(tuning: Tuning, scale: _Scale) -> Plot:
    """The log loss of each trial, and the least so far."""
    last = max(len(tuning.trials) - 1, 1)

    def place(number: int) -> float:
        return 0.03 + 0.94 * number / last

    complete = [one for one in tuning.trials if one.log_loss is not None]
    least = list(accumulate((one.log_loss or 0.0 for one in complete), min))
    steps = [(place(one.number), scale(loss)) for one, loss in zip(complete, least, strict=True)]
    every = max(1, ceil(len(tuning.trials) / 10))
    return Plot(
        "Log loss on validate, trial by trial",
        "Log loss on validate of each trial. " + " ".join(f"{_tip(one)}." for one in tuning.trials),
        _dots(tuning, scale, lambda one: place(one.number)),
        scale.lines,
        tuple((place(one.number), str(one.number)) for one in tuning.trials[::every]),
        scale(tuning.of(DEFAULT).log_loss or 0.0),
        tuple(_stairs(steps)),
    )


def _slice(tuning: Tuning, axis: Axis, scale: _Scale) -> Plot:
    """The log loss of each trial by one setting."""

    def place(one: Trial) -> float | None:
        value = one.settings.get(axis.setting)
        if axis.values:
            return (axis.values.index(value) + 0.5) / len(axis.values) if value in axis.values else None
        if not isinstance(value, int | float):
            return None
        low, high, at = (log10(v) if axis.log else v for v in (axis.low, axis.high, max(value, 1e-12)))
        return min(max((at - low) / (high - low), 0.0), 1.0) * 0.94 + 0.03

    return Plot(
        axis.setting,
        f"Log loss on validate by {axis.setting}. "
        + " ".join(f"{_given(one.settings.get(axis.setting))}: {one.log_loss:.4f}."
                   for one in tuning.trials if one.log_loss is not None and place(one) is not None),
        _dots(tuning, scale, place),
        scale.lines,
        _ticks(axis),
        scale(tuning.of(DEFAULT).log_loss or 0.0),
    )  # fmt: skip


def _dots(tuning: Tuning, scale: _Scale, place: Callable[[Trial], float | None]) -> tuple[Dot, ...]:
    """The trials that have a place and a score, the marked ones last so that nothing covers them."""
    dots = []
    for one in tuning.trials:
        loss = one.log_loss if one.log_loss is not None else (one.epochs[-1] if one.epochs else None)
        at = place(one)
        if loss is not None and at is not None:
            dots.append(Dot(at, scale(loss), _look(one, tuning), _tip(one)))
    return tuple(sorted(dots, key=lambda dot: _LOOKS.index(dot.look)))


def _curves(tuning: Tuning, scale: _Scale) -> tuple[Curve, ...]:
    """Epoch by epoch, where the trials had any."""
    longest = max((len(one.epochs) for one in tuning.trials), default=0)
    if longest < 2:
        return ()
    highest = max(loss for one in tuning.trials for loss in one.epochs)
    low, wide = scale.low, max(highest - scale.low, 1e-9)
    curves = [
        Curve(
            tuple((number / (longest - 1), (loss - low) / wide) for number, loss in enumerate(one.epochs)),
            _look(one, tuning),
            _tip(one),
        )
        for one in tuning.trials
        if one.epochs
    ]
    return tuple(sorted(curves, key=lambda curve: _LOOKS.index(curve.look)))


def _look(one: Trial, tuning: Tuning) -> str:
    if one.number == tuning.best:
        return "best"
    return "default" if one.number == DEFAULT else one.state


def _tip(one: Trial) -> str:
    name = f"Trial {one.number}" + (" (default)" if one.number == DEFAULT else "")
    if one.log_loss is not None:
        return f"{name}: {one.log_loss:.4f}"
    return f"{name}: {one.state}" + (f" after epoch {len(one.epochs)}" if one.epochs else "")


def _ticks(axis: Axis) -> tuple[tuple[float, str], ...]:
    if axis.values:
        shown = axis.values if len(axis.values) <= _MOST_TICKS else axis.values[:: ceil(len(axis.values) / _MOST_TICKS)]
        return tuple(((axis.values.index(one) + 0.5) / len(axis.values), _given(one)) for one in shown)
    if axis.log:
        powers = range(ceil(log10(axis.low) - 1e-9), floor(log10(axis.high) + 1e-9) + 1)
        low, high = log10(axis.low), log10(axis.high)
        if len(powers) > 1:
            return tuple((0.03 + 0.94 * (power - low) / (high - low), f"{10.0**power:g}") for power in powers)
        return (0.03, _given(axis.low)), (0.97, _given(axis.high))
    step = _round_step((axis.high - axis.low) / 4)
    first, last = ceil(axis.low / step - 1e-9), floor(axis.high / step + 1e-9)
    wide = axis.high - axis.low
    return tuple((0.03 + 0.94 * (k * step - axis.low) / wide, f"{k * step:.4g}") for k in range(first, last + 1))


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points joined by level and upright lines alone."""
    found = list(points[:1])
    for x, y in points[1:]:
        found += [(x, found[-1][1]), (x, y)]
    return found


def _reach(axis: Axis) -> str:
    if axis.values:
        return ", ".join(map(_given, axis.values))
    return f"{_given(axis.low)} to {_given(axis.high)}" + (", logarithmic" if axis.log else "")


def _given(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}\u202fs"
    return f"{seconds / 60:.1f}\u202fmin" if seconds < 3600 else f"{seconds / 3600:.1f}\u202fh"


def _round_step(about: float) -> float:
    """The first of 1, 2, 5, 10 … that is not below ``about``."""
    power = 10.0 ** floor(log10(about))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= about * (1 - 1e-9))
