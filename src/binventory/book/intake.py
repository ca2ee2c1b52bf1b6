"""Which bin a photo shows and when it was taken, each with its source. Pure, but for ``placed``, which reads.

Sources are tried in the order of the settings; the first that names a bin, or a time that can be, is believed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from binventory import objects, photo
from binventory.book import barcodes
from binventory.book.barcodes import Code
from binventory.errors import InputError, MissingError, OutsideError
from binventory.records import Photo

BinSource = Literal["sidecar", "path", "barcode", "name"]
TimeSource = Literal["sidecar", "path", "exif", "file"]
CodeFormat = Literal["QRCode", "MicroQRCode", "DataMatrix", "Aztec", "PDF417", "Code128", "Code39", "Code93", "ITF"]

LONGEST_BIN = 100
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No digital photo of a bin is older; cameras whose clock was never set say 1970 or 1980."""

FUTURE = timedelta(days=1)
"""How far ahead a camera's clock may go, a wrong zone included."""

_SIDECAR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """The section ``[intake]`` of a site's TOML.

    ``bin`` and ``time``: where to look, in order. ``pattern``: what the end of a photo's path below the watched folder
    looks like, without the ending (.jpg); ``{bin}``, ``{time}`` and ``{*}`` each stand for a part of one name. The
    source ``name`` takes the photo's own name, or else that of the folder that it lies in, where the book knows a bin
    of it.
    ``barcode_formats``, ``barcode_pattern``: which codes name bins, by a regular expression that the whole text
    matches; its first group is the bin. Codes on goods are so not taken for bins.
    ``timezone``: of times that name none, as in ``Europe/Berlin``; "" is this machine's.
    ``filed``, ``quarantine``: where watched photos go, below the watched folder or on the same disk.
    """

    bin: Annotated[tuple[BinSource, ...], Meta(min_length=1)] = ("sidecar", "path", "barcode", "name")
    time: Annotated[tuple[TimeSource, ...], Meta(min_length=1)] = ("sidecar", "path", "exif", "file")
    pattern: str = "{bin}/{time}.jpg"
    barcode_formats: Annotated[tuple[CodeFormat, ...], Meta(min_length=1)] = ("QRCode", "DataMatrix", "Code128")
    barcode_pattern: str = "BIN-(.+)"
    timezone: str = ""
    filed: Annotated[str, Meta(min_length=1)] = "filed"
    quarantine: Annotated[str, Meta(min_length=1)] = "quarantine"


@dataclass(frozen=True, slots=True)
class Placed:
    """The bin that a photo shows and when it was taken, in UTC, and the source of each."""

    bin: str
    bin_from: str
    taken: datetime
    taken_from: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a camera or program has written beside a photo, as JSON; more keys are passed over.

    Times: ISO 8601, or seconds since 1970.
    """

    bin: str | int | None = None
    taken: str | int | float | None = None
    time: str | int | float | None = None


def identified(
    settings: IntakeSettings,
    name: str,
    sidecar: bytes | None,
    exif: str,
    codes: Callable[[], Sequence[Code]],
    file_time: datetime | None,
    now: datetime,
    known: Callable[[str], bool],
    given: str | None = None,
) -> Placed | InputError:
    """The bin and time of the photo at the path ``name``, or why it has none.

    ``exif``: as ``photo.taken`` gives it. ``codes``: reads the picture's barcodes, which is slow, and is called at most
    once. ``known``: whether the book knows a bin. ``given``: the bin that a person names, over all sources.

    A clock that is a little ahead is believed up to now: what comes after the photo comes after it in the book, too.
    A sidecar that cannot be read, and a picture of two bins' labels, end it: what comes after would be a guess.
    """
    shown = printable(name)
    beside = Sidecar() if sidecar is None else _read(sidecar)
    if beside is None:
        return InputError(f"{shown} has a sidecar that cannot be read", 'it is no JSON object with "bin" and "time"',
                          "mend the sidecar, or remove it")  # fmt: skip
    path = path_pattern(settings.pattern).fullmatch(unicodedata.normalize("NFC", os.path.splitext(name)[0]))
    parts = path.groupdict() if path else {}
    found = _bin(settings, shown, beside, parts.get("bin"), codes, lambda: _named(name, known), given)
    if isinstance(found, InputError):
        return found
    refused = []
    clock = zone(settings.timezone)
    for source in settings.time:
        match source:
            case "sidecar":
                at = _told(beside.time if beside.taken is None else beside.taken, clock)
            case "path":
                at = time_of(parts.get("time") or "", clock)
            case "exif":
                at = time_of(exif, clock)
            case "file":
                at = file_time
        if at and EARLIEST <= at <= now + FUTURE:
            return Placed(*found, min(at, now), source)  # what is shown was there by now
        if at:
            refused.append(f"its {source} says {at:%Y-%m-%d}, which cannot be")
    why = ", ".join(refused) or "no source tells one"
    return InputError(f"{shown} has no time", why, "set the camera's clock, or write the time into a sidecar")


def bin_name(text: object) -> str | None:
    """A bin's name, stripped and in Unicode's composed form: 1 to 100 printable characters; else None."""
    name = unicodedata.normalize("NFC", str(text).strip())
    return name if 0 < len(name) <= LONGEST_BIN and name.isprintable() else None


def printable(text: str) -> str:
    """A file's name as people and the book can read it: it may be no text, and hold line breaks."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def time_of(text: str, clock: tzinfo | None) -> datetime | None:
    """The time in UTC that a text tells, or None: ISO 8601 basic or extended, as EXIF and cameras' file names write it
    (``20261130_091500``, ``2026-11-30 09.15.00``), or seconds (10 digits) or milliseconds (13) since 1970.

    ``clock``: the zone of what names none; None is this machine's.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    if epoch := found["epoch"]:
        return _told(float(epoch) / (1000 if len(epoch) == 13 and epoch.isdecimal() else 1), clock)
    year, month, day, hour, minute, second = (int(one or 0) for one in found.group(*_FIELDS))
    micro = int(((found["point"] or found["milli"] or "") + "000000")[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, micro)
        if offset := found["zone"]:
            digits = "+0000" if offset == "Z" else offset.replace(":", "")
            behind = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:]))
            return (at - (behind if digits[0] == "+" else -behind)).replace(tzinfo=UTC)
        return (at.replace(tzinfo=clock) if clock else at).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache
def path_pattern(text: str) -> re.Pattern[str]:
    """What the path of a photo, its ending left out, has to match. Raises ValueError for a pattern that is none."""
    stem, ending = os.path.splitext(text)
    pieces = re.split(r"(\{[^{}]*\})", stem if ending.lower() in photo.SUFFIXES else text)
    unknown = next((one for one in pieces[1::2] if one not in _PIECES), None)
    if unknown or any(set(one) & set("{}") for one in pieces[::2]):
        raise ValueError(f"it has {unknown or 'a bracket alone'}, and there are {{bin}}, {{time}} and {{*}}")
    if pieces.count("{bin}") > 1 or pieces.count("{time}") > 1 or len(pieces) < 2:
        raise ValueError("it names {bin} once, and {time} at most once")
    body = "".join(_PIECES[one] if place % 2 else re.escape(one) for place, one in enumerate(pieces))
    return re.compile(f"(?:.*/)?{body}", re.DOTALL)


@lru_cache
def code_pattern(text: str) -> re.Pattern[str]:
    """What the text of a bin's barcode has to match. Raises ValueError for what is no regular expression."""
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"it is no regular expression: {error}") from None


@lru_cache
def zone(name: str) -> tzinfo | None:
    """The zone of a name of the IANA's, None for "". Raises ValueError where there is no such zone."""
    if name in ("", "UTC"):
        return UTC if name else None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"there is no zone {name!r} on this machine") from None


def placed(settings: IntakeSettings, one: Photo, known: Callable[[str], bool], folder: str = "") -> Placed | InputError:
    """The bin and time of a photo whose name is its address, or its path below ``folder``; or why it has none.

    ``known``: whether the book knows a bin of a name. A bin that the photo says already is taken as given. What lies in
    no file (standard input, S3) is taken now, unless another source tells. Links are not followed to sidecars. Raises
    PhotoError for a photo that cannot be decoded where its barcodes are asked for, OutsideError where a disk or S3
    fails.
    """
    address = os.path.join(folder, one.name)
    shown, now = printable(one.name), datetime.now(UTC)
    return identified(
        settings,
        one.name,
        next((data for beside in sidecars(address) if (data := _sidecar(beside)) is not None), None),
        photo.taken(one.data, shown) if "exif" in settings.time else "",
        lambda: barcodes.read(one.data, settings.barcode_formats, shown),
        _file_time(address, now),
        now,
        known,
        one.bin,
    )


def sidecars(address: str) -> tuple[str, str]:
    """Where a photo's sidecar may lie: ``NAME.jpg.json``, else ``NAME.json``."""
    return f"{address}.json", f"{os.path.splitext(address)[0]}.json"


def read_unlinked(path: str, most: int) -> bytes | None:
    """The bytes of a regular file, at most ``most`` + 1 of them; None where there is none, or a link.

    Raises OSError where it cannot be read.
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO) or os.path.islink(path):
            return None
        raise
    with os.fdopen(handle, "rb") as file:
        return file.read(most + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else None


def _bin(
    settings: IntakeSettings,
    name: str,
    beside: Sidecar,
    by_path: str | None,
    codes: Callable[[], Sequence[Code]],
    by_name: Callable[[], str | None],
    given: str | None,
) -> tuple[str, str] | InputError:
    if given is not None:
        named = bin_name(given)
        return (named, "given") if named else InputError(f"{given!r} names no bin", _NAMES, "give the bin's name")
    missed = []
    for source in settings.bin:
        match source:
            case "sidecar":
                told: object = beside.bin
                missed.append("no sidecar names one")
            case "path":
                told = by_path
                missed.append(f"its path is not like {settings.pattern}")
            case "barcode":
                labels = _labels(settings, codes())
                if len(labels) > 1:
                    return InputError(f"{name} shows two bins", f"its barcodes name {' and '.join(labels)}",
                                      "take a photo of one bin")  # fmt: skip
                told = labels[0] if labels else None
                missed.append("no barcode in it names one")
            case "name":
                told = by_name()
                missed.append("neither it nor its folder is called as a bin of the book is")
        if told is not None and (named := bin_name(told)):
            return named, source
    how = f"name it like {settings.pattern}" if "path" in settings.bin else 'put {"bin": "…"} into a sidecar'
    return InputError(f"{name} shows no known bin", ", ".join(missed), how)


def _named(name: str, known: Callable[[str], bool]) -> str | None:
    """The bin of the book that a photo, or else the folder it lies in, is called by."""
    folder, own = os.path.split(os.path.splitext(name)[0])
    called = (bin_name(own), bin_name(os.path.basename(folder)))
    return next((one for one in called if one is not None and known(one)), None)


def _labels(settings: IntakeSettings, codes: Sequence[Code]) -> list[str]:
    """The bins that barcodes name, each once."""
    pattern = code_pattern(settings.barcode_pattern)
    matches = [pattern.fullmatch(text) for format, text in codes if format in settings.barcode_formats]
    named = (bin_name(found[min(1, pattern.groups)] or "") for found in matches if found)
    return sorted({one for one in named if one})


def _told(told: str | float | None, clock: tzinfo | None) -> datetime | None:
    if isinstance(told, str) or told is None:
        return time_of(told or "", clock)
    try:
        return datetime.fromtimestamp(told, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _read(sidecar: bytes) -> Sidecar | None:
    try:
        return msgspec.json.decode(sidecar.removeprefix(b"\xef\xbb\xbf"), type=Sidecar)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _sidecar(address: str) -> bytes | None:
    if objects.is_remote(address):
        try:
            return objects.read(address, _SIDECAR_BYTES)
        except MissingError:
            return None
    try:
        return read_unlinked(address, _SIDECAR_BYTES)
    except OSError as error:
        raise OutsideError(
            f"{printable(address)} cannot be read", error.strerror or str(error), "check its rights"
        ) from None


def _file_time(address: str, now: datetime) -> datetime | None:
    try:
        return now if objects.is_remote(address) else _told(os.stat(address).st_mtime, None)
    except (OSError, ValueError):
        return now


_NAMES = f"a bin's name has 1 to {LONGEST_BIN} printable characters"
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
_TIME = re.compile(
    r"(?P<epoch>\d{13}|\d{10}(?:\.\d{1,9})?)"
    r"|(?P<year>\d{4})[-_.:]?(?P<month>\d\d)[-_.:]?(?P<day>\d\d)[T _-]?"
    r"(?P<hour>\d\d)[-_.:]?(?P<minute>\d\d)(?:[-_.:]?(?P<second>\d\d)(?:[.,](?P<point>\d{1,9})|(?P<milli>\d{3}))?)?"
    r" ?(?P<zone>Z|[+-](?:0\d|1[0-4]):?(?:00|15|30|45))?",
    re.ASCII,
)
_PIECES = {
    "{bin}": r"(?P<bin>[^/]+?)",
    "{time}": rf"(?P<time>{re.sub(r'[?]P<[a-z]+>', '?:', _TIME.pattern)})",
    "{*}": r"[^/]*?",
}
