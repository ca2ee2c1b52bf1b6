"""The values that carry everything, frozen, and the one protocol between photos and counts. No I/O, no numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Literal, Protocol

from binventory.errors import BinventoryError

TOP = 20
"""K: the highest quantity with a probability of its own."""

TAIL = TOP + 1
"""The place of "more than 20" in a distribution, and how such a count is written."""

LEVELS = TAIL + 1
"""How many entries a distribution has: 0..20 and the tail."""

COVERAGE = 0.9
"""The share of photos whose true quantity the printed interval is to hold."""


def level(quantity: int) -> int:
    """The entry of a distribution that stands for ``quantity`` (>= 0): itself up to 20, else the tail."""
    return min(quantity, TAIL)


def shown(count: int) -> str:
    """A count as people read it: ``21`` means more than 20 and is shown ``>20``."""
    return f">{TOP}" if count >= TAIL else str(count)


@dataclass(frozen=True, slots=True)
class Photo:
    """An image as bytes, and where, when and of which bin it is, as far as known."""

    name: str
    data: bytes
    bin: str | None = None
    taken: datetime | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bin's record: a SKU and its quantity. Inches and pounds; None where the record is silent.

    ``gtin``: 8, 12, 13 or 14 digits with a right check digit; ``value``: of one, in the site's money.
    """

    sku: str
    asin: str | None
    name: str | None
    quantity: int | None
    height: float | None
    length: float | None
    width: float | None
    weight: float | None
    gtin: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class BinRecord:
    """What a record says of a bin: its total and its lines, with flags for whatever is missing or absurd."""

    quantity: int | None
    items: tuple[Item, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How many items a photo shows, as a calibrated distribution.

    ``probs``: 22 probabilities, for 0..20 and for "more than 20"; they sum to one.
    ``tail_mean``: the mean quantity of bins above 20, as the bundle learnt it.
    ``interval``: the lowest and highest count it holds, both included; highest None where "more than 20" is in it.
    """

    probs: tuple[float, ...]
    tail_mean: float
    interval: tuple[int, int | None]

    def __post_init__(self) -> None:
        if len(self.probs) != LEVELS:
            raise ValueError(f"a Count has {LEVELS} probabilities (0..{TOP} and more), got {len(self.probs)}")
        if not (abs(sum(self.probs) - 1) <= 1e-3 and min(self.probs) >= 0):  # so put that NaN fails, too
            raise ValueError(f"a Count's probabilities are >= 0 and sum to one, got a sum of {sum(self.probs):.4f}")
        low, high = self.interval
        if not 0 <= low <= self.count <= (TAIL if high is None else min(high, TOP)):
            raise ValueError(f"a Count's interval holds its count {self.count}, got {self.interval}")

    @property
    def count(self) -> int:
        """The mode: the likeliest count; 21 means more than 20."""
        return max(range(LEVELS), key=self.probs.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of ``count``."""
        return self.probs[self.count]

    @property
    def median(self) -> int:
        """The lowest count that at least half of the probability does not exceed; 21 means more than 20."""
        return next((k for k, below in enumerate(accumulate(self.probs)) if below >= 0.5), TAIL)

    @property
    def mean(self) -> float:
        """The expected number of items, the tail counted with its mean."""
        return sum(k * p for k, p in enumerate(self.probs[:TAIL])) + self.tail_mean * self.probs[TAIL]

    def as_row(self, photo: str) -> dict[str, object]:
        """The count as it stands in JSON output; ``interval`` is [low, high], high null where >20 is in it."""
        return {
            "photo": photo,
            "count": self.count,
            "confidence": round(self.confidence, 6),
            "interval": list(self.interval),
            "median": self.median,
            "mean": round(self.mean, 4),
            "probs": [round(p, 6) for p in self.probs],
        }


Decision = Literal["match", "short", "over", "recount"]
"""Whether a bin's record may stand: ``match`` passes without a look, ``short`` and ``over`` are told where the photo
shows fewer or more than the record says, ``recount`` is for a person to find out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """May a bin's record of its total stand? Nothing is said of which articles make the total.

    ``p_right``: the probability that the record's total is right (None: there is no record). ``expected``: the
    record's total; ``count`` and ``interval``: what the photo showed. ``reason`` and ``change``: why, and what would
    change it, a sentence each. ``bound``: where the verdict is ``match``, the most that P(pass | record wrong) is for
    each declared kind of error; else None. ``worth``: what a recount saves a minute, in the policy's costs (>= 0).
    """

    verdict: Decision
    p_right: float | None
    expected: int | None
    count: int
    interval: tuple[int, int | None]
    reason: str
    change: str
    bound: float | None = None
    worth: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether the record may stand without a look."""
        return self.verdict == "match"

    def as_row(self, bin: str | None, photo: str) -> dict[str, object]:
        """The verdict as it stands in JSON output."""
        return {
            "bin": bin,
            "photo": photo,
            "verdict": self.verdict,
            "p_right": None if self.p_right is None else round(self.p_right, 6),
            "expected": self.expected,
            "count": self.count,
            "interval": list(self.interval),
            "reason": self.reason,
            "change": self.change,
            "bound": self.bound,
        }


def span(interval: tuple[int, int | None]) -> str:
    """An interval as people read it: ``4``, ``2 to 5`` or, where more than 20 is in it, ``18 or more``."""
    low, high = interval
    if high is None:
        return shown(TAIL) if low >= TAIL else f"{low} or more"
    return str(low) if low == high else f"{low} to {high}"


class Counts(Protocol):
    """Whatever turns photos into counts: a bundle on this machine, an endpoint far away."""

    def count_each(self, photos: Iterable[Photo | BinventoryError]) -> Iterator[Count | BinventoryError]:
        """One outcome a photo, in order. A bad photo becomes its error, and the rest goes on."""
        ...
