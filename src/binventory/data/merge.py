"""What several files say of one id, made one entry: pure. Contradictions are refused by name, the rest goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from binventory.data.layout import Found, Label, Reject, Source
from binventory.errors import PhotoError, RecordError
from binventory.photo import alike


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a photo's file gave: its hashes and size, or why it gave no pixels.

    ``stamp`` tells whether the file has changed since (None: cannot be told). ``likeness`` as in ``photo.likeness``,
    the three measures as in ``photo.measured``.
    """

    address: str
    stamp: str | None
    sha256: str | None
    width: int | None
    height: int | None
    likeness: str | None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    what: str | None = None
    why: str | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What reading a record's file gave, or why it is none. ``products``: what its lines hold, by ASIN, else SKU."""

    address: str
    stamp: str | None
    quantity: int | None = None
    flags: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    what: str | None = None
    why: str | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The record of one id. ``photo``: whether its photo is there, too."""

    id: str
    address: str
    photo: bool
    quantity: int | None
    flags: tuple[str, ...]
    products: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo of the catalogue. ``counted_by``: what its count was taken from."""

    id: str
    source: str
    address: str
    sha256: str
    width: int
    height: int
    likeness: str
    brightness: float
    contrast: float
    sharpness: float
    count: int | None
    counted_by: str | None
    has_record: bool
    flags: tuple[str, ...]


def recorded(
    sources: Sequence[Source], looks: Mapping[str, Look], reads: Mapping[str, Read]
) -> tuple[dict[str, Recorded], list[Reject]]:
    """The record of every id that has one, the first in order, and what was refused.

    Of records for one id without a photo that name two quantities, neither is believed; with one, ``merge`` tells.
    """
    pictured = {one.id for source in sources for one in source.photos if looks[one.address].sha256 is not None}
    found: dict[str, Recorded] = {}
    rejects: list[Reject] = []
    for source in sources:
        for id, place in source.records.items():
            read = reads[place]
            if read.what is not None:
                error = RecordError(read.what, read.why or "it cannot be read", read.next or "fetch it again")
                rejects.append(Reject(id, place, error))
                continue
            first = found.get(id)
            if first is None:
                found[id] = Recorded(id, place, id in pictured, read.quantity, read.flags, read.products)
            elif not first.photo and first.quantity != read.quantity:
                labels = Label(first.quantity or 0, first.address), Label(read.quantity or 0, place)
                rejects.append(Reject(id, place, _two_counts(id, *labels)))
                found[id] = replace(first, quantity=None)
    return found, rejects


def merge(
    sources: Sequence[Source],
    looks: Mapping[str, Look],
    reads: Mapping[str, Read],
    records: Mapping[str, Recorded],
) -> tuple[list[Entry], list[Reject]]:
    """One entry an id with a photo, from every file that bears it, and what was refused.

    Copies of one photo (same bytes, or a reduced copy by its likeness) are one entry, the first in order. An id with
    two different photos is refused whole; one with two different counts is kept without a count, and told.
    """
    by_id: dict[str, list[Found]] = {}
    for source in sources:
        for found in source.photos:
            by_id.setdefault(found.id, []).append(found)
    entries: list[Entry] = []
    rejects = [reject for source in sources for reject in source.rejects]
    for id, bearers in sorted(by_id.items()):
        good = []
        for one in bearers:
            look = looks[one.address]
            if look.sha256 is None:
                error = PhotoError(look.what or one.address, look.why or "it gave no pixels", look.next or "check it")
                rejects.append(Reject(id, one.address, error))
            else:
                good.append(one)
        stranger = next((one for one in good[1:] if not _same(looks[good[0].address], looks[one.address])), None)
        if stranger is not None:
            rejects.append(Reject(id, stranger.address, _two_photos(id, good[0], stranger)))
        elif good:
            labels = _labels(id, good, sources, reads)
            contrary = next((label for label in labels if label.quantity != labels[0].quantity), None)
            if contrary is not None:
                rejects.append(Reject(id, good[0].address, _two_counts(id, labels[0], contrary)))
                labels = []
            entries.append(_entry(good[0], looks[good[0].address], labels, records.get(id)))
    return entries, rejects


def _labels(
    id: str, found: Sequence[Found], sources: Sequence[Source], reads: Mapping[str, Read]
) -> list[Label]:  # fmt: skip
    """Every count that labels.csv, class folders and records state for an id; their items' sum where none does."""
    own = {one.source for one in found}
    stated = [label for source in sources if source.address in own for label in source.labels.get(id, ())]
    stated += [one.label for one in found if one.label]
    summed: list[Label] = []
    for place in (source.records[id] for source in sources if id in source.records):
        read = reads[place]
        if read.quantity is not None:
            by_sum = "quantity missing" in read.flags
            (summed if by_sum else stated).append(Label(read.quantity, place))
    return stated or summed


def _entry(first: Found, look: Look, labels: Sequence[Label], record: Recorded | None) -> Entry:
    count, counted_by = (labels[0].quantity, labels[0].place) if labels else (None, None)
    assert look.sha256 is not None and look.width is not None and look.height is not None and look.likeness is not None
    assert look.brightness is not None and look.contrast is not None and look.sharpness is not None
    return Entry(
        first.id, first.source, first.address, look.sha256, look.width, look.height, look.likeness,
        look.brightness, look.contrast, look.sharpness, count, counted_by, record is not None,
        record.flags if record else (),
    )  # fmt: skip


def _same(one: Look, other: Look) -> bool:
    return one.sha256 == other.sha256 or alike(one.likeness or "0", other.likeness or "0")


def _two_photos(id: str, one: Found, other: Found) -> RecordError:
    return RecordError(
        f"Id {id} has two different photos", f"{one.address} and {other.address}", "rename one: an id is one photo"
    )


def _two_counts(id: str, one: Label, other: Label) -> RecordError:
    return RecordError(
        f"Id {id} has two counts",
        f"{one.quantity} in {one.place} and {other.quantity} in {other.place}",
        "mend the wrong one",
    )
