"""Which settings of a recipe a tuning varies, and how far. Pure.

An axis is one setting with either its choices or a range. What a setting may be at all is the recipe's to say: both
ends of a range, and each choice, go through its own refusals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from binventory.errors import UsageError
from binventory.recipe import Recipe, changed, parse_value, to_mapping

Value = int | float | str | bool
Settings = Mapping[str, Value]
"""Values by the name of their setting, as ``--set`` names it."""

_LOGARITHMIC = ("full.lr", "full.decay", "quick.ridge")
_SIZE = {"quick": "quick.size", "full": "full.size"}
# What these change is either not there yet when an epoch is judged, or changes the judges.
_WITHOUT_A_SAY = ("full.blend", "full.count_size", "full.save_seconds", "full.learn")


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting and what it may be: one of ``values``, or, where there are none, from ``low`` to ``high``.

    ``log``: values a factor apart are as far from each other as others by that factor. ``whole``: whole numbers alone.
    """

    setting: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def holds(self, value: object) -> bool:
        """Whether a value lies on the axis."""
        if self.values:
            return value in self.values
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


def usual(recipe: Recipe, sizes: Sequence[int]) -> tuple[Axis, ...]:
    """What is varied where nobody says otherwise; whatever the recipe itself says is among the choices.

    ``sizes``: of the pictures, those that the trunk takes; its own one alone where it takes no other.
    """
    if recipe.kind == "quick":
        least, most = min(recipe.quick.ridge), max(recipe.quick.ridge)
        if least == most:
            least, most = least / 10, most * 10
        return (
            Axis("quick.size", tuple(sorted(set(sizes)))),
            Axis("quick.ridge", low=least, high=most, log=True),
            Axis("quick.balance", low=0.0, high=1.0),
        )
    full = recipe.full
    return (
        Axis("full.lr", low=min(3e-5, full.lr), high=max(3e-3, full.lr), log=True),
        Axis("full.batch", tuple(sorted({16, 32, 64, full.batch}))),
        Axis("full.momentum", low=min(0.8, full.momentum), high=max(0.98, full.momentum)),
        Axis("full.size", tuple(sorted({*sizes, full.size}))),
    )


def asked(recipe: Recipe, axes: Iterable[Axis], ranges: Iterable[str], choices: Iterable[str]) -> tuple[Axis, ...]:
    """The axes with those that a user names: ``full.lr=1e-5:1e-3``, with ``:log`` or ``:linear`` behind it on wish,
    or ``full.batch=16,32,64``. One that is named twice counts as it was named last.

    Raises UsageError for a setting that does not exist, does not fit or has no say, and for a range that is none.
    """
    found = {axis.setting: axis for axis in axes}
    for text in ranges:
        axis = _range(recipe, text)
        found[axis.setting] = axis
    for text in choices:
        axis = _choices(recipe, text)
        found[axis.setting] = axis
    for axis in found.values():
        for value in axis.values or (axis.low, axis.high):
            with_settings(recipe, {axis.setting: int(value) if axis.whole else value})
    return tuple(found.values())


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with one value for each of some settings; one that lists several has that one alone then.

    Raises UsageError where the recipe refuses a value.
    """
    return changed(recipe, {name: _as_listed(recipe, name, value) for name, value in settings.items()})


def settings_of(recipe: Recipe, axes: Iterable[Axis], own_size: int) -> dict[str, Value]:
    """What a recipe says of each axis, where that is one value. ``own_size``: of the trunk's pictures, in pixels."""
    said = {axis.setting: _said(recipe, axis.setting) for axis in axes}
    if said.get("quick.size") == 0:
        said["quick.size"] = own_size
    return {name: value for name, value in said.items() if isinstance(value, Value)}


def _range(recipe: Recipe, text: str) -> Axis:
    name, ends = _named(recipe, text, "--range", "LOW:HIGH")
    if name in _SIZE.values():
        raise UsageError(f"{name} takes no range", "photos are prepared once for each size, so sizes are listed",
                         f"--choose {name}=192,256,320")  # fmt: skip
    low, high, *more = (*ends.split(":"), "")
    scale = "".join(more[:1])
    numbers = [parse_value(one.strip()) for one in (low, high)]
    good = all(isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one) for one in numbers)
    if not good or numbers[0] >= numbers[1] or scale not in ("", "log", "linear") or len(more) > 2:
        raise UsageError(f"Range {text!r} is none", "a range reads LOW:HIGH, the lower number first",
                         f"--range {name}=1:2, or 1:2:log")  # fmt: skip
    log = scale == "log" or (not scale and name in _LOGARITHMIC)
    if log and numbers[0] <= 0:
        raise UsageError(
            f"Range {text!r} is none", "a logarithmic one begins above 0", _above_zero(recipe, name, *numbers)
        )
    whole = isinstance(_said(recipe, name), int) and not isinstance(_said(recipe, name), bool)
    return Axis(name, (), numbers[0], numbers[1], log, whole)


def _above_zero(recipe: Recipe, name: str, low: float, high: float) -> str:
    """What to ask for instead of a logarithmic range that begins at 0 or below."""
    if high <= 0:
        return f"--range {name}={low}:{high}:linear"
    least = 1 if isinstance(_said(recipe, name), int) else high / 1000
    return f"--range {name}={least:g}:{high:g}:log"


def _choices(recipe: Recipe, text: str) -> Axis:
    name, listed = _named(recipe, text, "--choose", "ONE,ANOTHER")
    values = tuple(dict.fromkeys(parse_value(one.strip()) for one in listed.split(",")))
    return Axis(name, values)


def _named(recipe: Recipe, text: str, option: str, form: str) -> tuple[str, str]:
    """The setting's name and what is said of it. Raises UsageError where it has no say in this recipe."""
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not name or not rest:
        raise UsageError(
            f"{option} {text!r} says nothing", f"it reads section.field={form}", f"{option} {_SIZE[recipe.kind]}=…"
        )
    if not name.startswith(f"{recipe.kind}.") and name.partition(".")[0] in to_mapping(recipe):
        raise UsageError(f"Setting {name} cannot be tuned", f"of recipe {recipe.kind} the settings {recipe.kind}.… can",
                         f"{option} {_SIZE[recipe.kind]}=…")  # fmt: skip
    if name in _WITHOUT_A_SAY:
        raise UsageError(f"Setting {name} cannot be tuned", "it has no say in an epoch's score, or changes who judges",
                         f"--set {name}=…")  # fmt: skip
    return name, rest


def _said(recipe: Recipe, name: str) -> Any:
    """What a recipe says of a setting, as a plain value; None where there is no such one."""
    place: Any = to_mapping(recipe)
    for part in name.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def _as_listed(recipe: Recipe, name: str, value: Value) -> Any:
    return [value] if isinstance(_said(recipe, name), list | tuple) else value
