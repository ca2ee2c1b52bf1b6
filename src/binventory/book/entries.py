"""What stands in the book: entries, frozen, each of one kind with a body of its own. Pure.

An entry is never changed or removed. Its ``key`` says what it tells of: the same key is entered once, however often it
is sent. ``at`` is when that was true (a photo's snapshot, a movement's time); ``entered`` is when the book heard of
it, which may be much later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from binventory.records import LEVELS, Count, Decision, Item

Whole = Annotated[int, Meta(ge=0, le=100_000)]
Where = Literal["bin", "photo"]
"""Where a person recounted. At the bin it settles the bin's total; from the photo it is evidence, no more."""


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle that counts were made with: its ``digest`` (sha256 of its manifest), name, and ``rule``, the JSON text
    of what it learnt about passing ("" where it learnt nothing). Entered once a bundle; belongs to no bin."""

    digest: str
    name: str
    rule: str


@dataclass(frozen=True, slots=True)
class Pictured:
    """A photo, kept once by its sha256. ``name``: what it was called; ``taken_from`` and ``bin_from``: where its time
    and its bin came from (``sidecar``, ``path``, ``barcode``, ``exif``, ``file``, ``given``)."""

    sha256: str
    name: str
    bytes: int
    taken_from: str
    bin_from: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A photo's count by a bundle: the calibrated distribution over 0..20 and more, as ``records.Count`` has it."""

    photo: str
    bundle: str
    probs: tuple[float, ...]
    tail_mean: float
    interval: tuple[int, int | None]

    @property
    def count(self) -> Count:
        """The count as it was made."""
        return Count(self.probs, self.tail_mean, self.interval)


@dataclass(frozen=True, slots=True)
class Expected:
    """What another system's record says was in the bin at ``at``: a total (None: the sum of the lines), and lines where
    it has them. ``source``: the file or system that it came from."""

    quantity: Whole
    items: tuple[Item, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """Items that were put in (``delta`` > 0) or taken out. ``sku`` None: nobody says which."""

    delta: Annotated[int, Meta(ge=-100_000, le=100_000)]
    sku: str | None = None
    gtin: str | None = None
    reference: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A bin or tote of a consignment, and what its sender says is in it. ``sscc``: of the tote, 18 digits."""

    quantity: Whole
    items: tuple[Item, ...] = ()
    sscc: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the count ``of`` (its key) against the record as of that count's time (``expected`` None: none).

    The other fields are ``records.Verdict``'s. Where the entry has a consignment, it was held against what that
    declares, else against the bin's own record, whose ``timeline.digest`` is ``against``. ``policy``: the
    ``Policy.deciding`` that it was given under ("": not told, as with ``against``).
    """

    of: str
    verdict: Decision
    p_right: float | None
    expected: int | None
    count: int
    interval: tuple[int, int | None]
    reason: str
    change: str
    bound: float | None
    worth: float
    against: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """How many of a SKU a person found."""

    sku: str
    quantity: Whole


@dataclass(frozen=True, slots=True)
class Recounted:
    """How many items a person found, blind: in all, and by line where they were told apart. ``photo``: the one that
    shows the same ("": none does)."""

    quantity: Whole
    where: Where
    lines: tuple[Line, ...] = ()
    photo: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """Another person's yes to adjusting the record to the recount ``of`` (its key) by ``delta`` items, and its
    ``lines`` by SKU where it was line-wise."""

    of: str
    delta: int
    why: str = ""
    lines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The record moved by ``delta`` towards the recount ``of`` (its key); ``lines`` by SKU where it was line-wise.
    Its ``at`` is the recount's."""

    of: str
    delta: int
    lines: tuple[tuple[str, int], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that could not be counted as a bin's photo, and why."""

    sha256: str
    name: str
    what: str
    why: str
    next: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A photo whose bytes were removed, as the policy on retention says; its counts stay."""

    sha256: str
    why: str


Body = (
    Bundled | Pictured | Counted | Expected | Moved | Declared | Judged | Recounted | Approved | Adjusted | SetAside
    | Forgotten
)  # fmt: skip

KINDS: dict[str, type] = {
    "bundle": Bundled,
    "photo": Pictured,
    "count": Counted,
    "expectation": Expected,
    "movement": Moved,
    "consignment": Declared,
    "verdict": Judged,
    "recount": Recounted,
    "approval": Approved,
    "adjustment": Adjusted,
    "quarantine": SetAside,
    "retention": Forgotten,
}
"""Every kind of entry by its name in the book, in exports and in the API."""

_NAMES = {body: name for name, body in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line in the book.

    ``key``: 1 to 200 printable characters. ``bin``: which bin or tote it is about, None for none. ``at``: when it was
    true, in UTC, to the microsecond. ``who``: a person or program. ``consignment``: which one it belongs to, if any.
    ``seq`` and ``entered``: its place in the book and when it was written; the book gives both.
    """

    key: str
    bin: str | None
    at: datetime
    who: str
    body: Body
    consignment: str | None = None
    seq: int | None = None
    entered: datetime | None = None

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError(f"an entry's time has a zone, got {self.at.isoformat()}")

    @property
    def kind(self) -> str:
        """The name of the body's kind."""
        return _NAMES[type(self.body)]

    def as_row(self) -> dict[str, object]:
        """The entry as one flat JSON object: its own fields, then its body's."""
        row = {
            "seq": self.seq,
            "kind": self.kind,
            "key": self.key,
            "bin": self.bin,
            "at": stamped(self.at),
            "entered": None if self.entered is None else stamped(self.entered),
            "who": self.who,
            "consignment": self.consignment,
        }
        body: dict[str, object] = msgspec.to_builtins(self.body)
        return row | body


def keyed(*parts: object) -> str:
    """A key from what an entry tells: the first part in words, the rest as a digest of 32 hex digits."""
    rest = hashlib.sha256(msgspec.json.encode([str(part) for part in parts[1:]])).hexdigest()[:32]
    return f"{parts[0]}:{rest}"


def stamped(at: datetime) -> str:
    """A time as ISO 8601 in UTC with a Z; read back by ``datetime.fromisoformat``."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def counted(photo: str, bundle: str, count: Count) -> Counted:
    """A count as it is entered: probabilities to six decimals, so that a distribution takes little room."""
    assert len(count.probs) == LEVELS
    return replace(
        Counted(photo, bundle, count.probs, count.tail_mean, count.interval),
        probs=tuple(round(p, 6) for p in count.probs),
    )
