"""What a site declares: how records go wrong there, what a mistake costs, and how much may pass unseen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from binventory.errors import UsageError

Share = Annotated[float, Meta(ge=0, le=1)]
Cost = Annotated[float, Meta(ge=0, le=1e9)]
Minutes = Annotated[float, Meta(gt=0, le=1e6)]

ErrorKind = Literal["one more", "one fewer", "two more", "two fewer", "line added", "line dropped"]
"""How a record can be wrong: its total is one or two more or fewer than what is there, or it has a line too many or
lacks one. Two articles exchanged leave the total right: no photo tells that, so it is no kind of its own."""

ERRORS: tuple[ErrorKind, ...] = get_args(ErrorKind)


@dataclass(frozen=True, slots=True)
class Policy:
    """The section ``[policy]`` of a site's TOML.

    ``bound``: of records that are wrong in a declared way, at most this share may pass without a look. ``errors``: the
    kinds that the site declares. ``wrong_rate``: the share of wrong records that it declares; without it nothing is
    said about how many of what passed are wrong, and P(record right) is reckoned with ``assumed_rate``.
    ``short_cost``, ``over_cost``: what it costs where fewer or more items leave than the record says;
    ``minute_cost``: of a person's minute; a recount takes ``bin_minutes`` and ``item_minutes`` for each item.
    ``tell``: from which probability on a record is called short or over.
    ``variance_limit``: an adjustment of more items than this needs another person's approval.
    ``max_wrong``: the share of a consignment's released bins that may be wrong.
    ``value_shares``: up to which share of the stock's value a bin is of class A, and of B; ``every_days``: how often
    bins of class A, B and C are counted.
    ``keep_photos_days``: how long photos are kept, a hundred years at most (None: for ever).

    Raises UsageError where a value is out of its range.
    """

    bound: Share = 0.1
    errors: Annotated[tuple[ErrorKind, ...], Meta(min_length=1)] = ERRORS
    wrong_rate: Share | None = None
    assumed_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    short_cost: Cost = 10.0
    over_cost: Cost = 10.0
    minute_cost: Cost = 1.0
    bin_minutes: Minutes = 1.0
    item_minutes: Annotated[float, Meta(ge=0, le=1e6)] = 0.05
    tell: Annotated[float, Meta(gt=0.5, le=1)] = 0.9
    variance_limit: Annotated[int, Meta(ge=0)] = 5
    max_wrong: Share = 0.02
    value_shares: tuple[Share, Share] = (0.8, 0.95)
    every_days: tuple[Minutes, Minutes, Minutes] = (30.0, 90.0, 180.0)
    keep_photos_days: Annotated[float, Meta(ge=0, le=36_500)] | None = None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            try:
                msgspec.convert(getattr(self, name), kind)
            except msgspec.ValidationError as error:
                raise UsageError(f"policy.{name} = {getattr(self, name)!r} cannot be", str(error).lower(),
                                 f"policy.{name} as docs/deciding.md has it") from None  # fmt: skip

    @property
    def deciding(self) -> str:
        """All of it that a verdict follows from, in 16 hex digits: the same where every count is judged alike."""
        told = (self.bound, sorted(self.errors), self.wrong_rate, self.assumed_rate, self.short_cost, self.over_cost,
                self.minute_cost, self.bin_minutes, self.item_minutes, self.tell)  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]

    def minutes(self, quantity: int) -> float:
        """How long a recount of a bin with about so many items takes."""
        return self.bin_minutes + self.item_minutes * quantity
