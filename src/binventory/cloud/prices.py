"""What instances cost, from a table that comes with the package and says from when it is. Pure but for reading it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_ALIKE = frozenset({"training", "hosting", "transform", "processing", "notebook"})
"""The uses of an instance that cost the same an hour, and so stand in one column."""


@dataclass(frozen=True, slots=True)
class Table:
    """Dollars an hour in us-east-1 by instance type, how regions compare with it, and where that comes from."""

    as_of: str
    source: str
    hour: dict[str, float]
    region: dict[str, float]


@dataclass(frozen=True, slots=True)
class Bill:
    """What something costs. ``dollars``: None where the table has no price. ``note``: what the figure leans on."""

    dollars: float | None
    note: str

    def __str__(self) -> str:
        return f"no price known ({self.note})" if self.dollars is None else f"{said(self.dollars)} ({self.note})"


def said(dollars: float) -> str:
    """Dollars as they are read: cents, and finer where there is less than one."""
    return f"${dollars:,.2f}" if dollars >= 0.01 or not dollars else f"${dollars:.4f}"


@lru_cache(maxsize=1)
def table() -> Table:
    """The table that comes with the package."""
    text = resources.files("binventory.cloud").joinpath("prices.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    return Table(values["as_of"], values["source"], values["hour"], values["region"])


def hour(use: str, instance: str, region: str) -> float | None:
    """Dollars an hour of one instance for a use (``training``, ``hosting``, ``transform`` …); None where unknown.

    A region that is not in the table costs what us-east-1 does.
    """
    known = table()
    base = known.hour.get(instance) if use in _ALIKE else None
    return None if base is None else base * known.region.get(region, 1.0)


def bill(use: str, instance: str, count: int, region: str, seconds: float) -> Bill:
    """What ``count`` instances cost for so many seconds each."""
    known, each = table(), hour(use, instance, region)
    if each is None:
        return Bill(None, f"{instance} is not in the table of {known.as_of}")
    factor = known.region.get(region)
    where = f"{region} at {factor:g} times us-east-1" if factor else f"{region} is not in the table, us-east-1 is meant"
    return Bill(each * count * seconds / 3600, f"prices of {known.as_of}, {where}")
