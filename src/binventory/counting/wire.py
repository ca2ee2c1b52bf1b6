"""Photos and counts as they travel: the bodies of SageMaker's ``/invocations``, read and written on both sides.

One picture (``image/jpeg``, ``image/png``, ``application/x-image``) is answered by one JSON object. Several travel as
``application/jsonlines``, a line ``{"photo": NAME, "image": BASE64}`` each (or ``{"photo": "s3://…"}``), and are
answered by as many lines in order. A count's line is ``Count.as_row`` with its probabilities unrounded and the mean of
the tail, so that the very same Count can be made of it; a bad photo's is ``{photo, error: {what, why, next}}``.
Nothing here touches a network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from binventory import objects
from binventory.errors import BinventoryError, OutsideError, PhotoError, RequestError
from binventory.records import TOP, Count, Photo

JSON = "application/json"
LINES = "application/jsonlines"
PICTURES = ("image/jpeg", "image/png", "application/x-image")
TAKEN = (*PICTURES, LINES)
"""The content types that are taken. Of which format a picture is, its bytes alone decide."""

MOST_PHOTOS = 10_000
"""The most photos in one request."""

ALONE = "photo"
"""The name of a picture that comes alone, and so without one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A photo that lies on S3, named by its address."""

    address: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The photos that a request wants counted, with their names, in order; ``several``: it came in lines."""

    names: tuple[str, ...]
    photos: tuple[Photo | Stored | BinventoryError, ...]
    several: bool


def is_several(content_type: str | None) -> bool:
    """Whether a request of this content type holds photos in lines. Raises RequestError (415) unless it is taken."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in TAKEN:
        why = f"its content type is {kind[:100]}" if kind else "it names no content type"
        raise RequestError("The request cannot be read", why, f"Content-Type {', '.join(TAKEN)}", 415)
    return kind == LINES


def asked(content_type: str | None, body: bytes) -> Asked:
    """What a request of this content type asks for.

    Raises RequestError: 415 for a content type that is not taken, 400 for a body that is none of its kind, 413 for
    more than ``MOST_PHOTOS``. A photo that cannot be counted is found out later, or stands as its error in ``photos``.
    """
    if not is_several(content_type):
        if not body:
            raise RequestError("The request holds no photo", "its body is empty", "send the photo's bytes as the body")
        return Asked((ALONE,), (Photo("the photo", body),), several=False)
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    if not lines:
        raise RequestError("The request holds no photo", "its body has no line", _EXAMPLE)
    if len(lines) > MOST_PHOTOS:
        raise RequestError("The request is too large", f"it has {len(lines):,} lines, {MOST_PHOTOS:,} at most",
                           "send fewer photos a call", 413)  # fmt: skip
    read = [_line(number, line) for number, line in lines]
    return Asked(tuple(one.photo for one in read), tuple(map(_photo, read)), several=True)


def carried(asked: Asked) -> list[Photo | BinventoryError]:
    """The photos that came with the request, in order; one that lies on S3 is an error, for nobody fetches it."""
    return [_unread(one) if isinstance(one, Stored) else one for one in asked.photos]


def answer_type(accept: str | None, several: bool) -> str:
    """The content type of the answer: the first of those that ``Accept`` likes best, by default the request's own kind.

    Raises RequestError (406) where it likes neither JSON nor JSON lines.
    """
    offered = (LINES, JSON) if several else (JSON, LINES)
    liked = _liked(accept) if accept and accept.strip() else {"*/*": 1.0}
    best = max(offered, key=lambda kind: _quality(kind, liked))
    if _quality(best, liked) <= 0:
        raise RequestError("The answer has no such form", f"Accept is {accept}", f"Accept {JSON} or {LINES}", 406)
    return best


def answer(kind: str, names: Sequence[str], outcomes: Sequence[Count | BinventoryError], several: bool) -> bytes:
    """The outcomes as the body of an answer of type ``kind``; JSON of several photos is an array.

    A photo alone that could not be counted has no answer: its error is raised.
    """
    if not several and isinstance(outcomes[0], BinventoryError):
        raise outcomes[0]
    rows = [row(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
    if kind == LINES:
        return b"".join(msgspec.json.encode(one) + b"\n" for one in rows)
    return msgspec.json.encode(rows if several else rows[0])


def row(name: str, outcome: Count | BinventoryError) -> dict[str, object]:
    """An outcome as it travels: a count with all of its digits, or what was wrong with the photo."""
    if isinstance(outcome, BinventoryError):
        return {"photo": name, "error": outcome.as_row()}
    return outcome.as_row(name) | {"probs": list(outcome.probs), "tail_mean": outcome.tail_mean}


def line(name: str, data: bytes) -> bytes:
    """A photo as a line of a request."""
    return msgspec.json.encode({"photo": name, "image": base64.b64encode(data).decode()}) + b"\n"


def outcomes(body: bytes, names: Iterable[str]) -> list[Count | BinventoryError]:
    """The outcomes in an answer of JSON lines to a request of photos with these names.

    Raises OutsideError unless it holds a whole, finite, consistent line for each of them, in their order.
    """
    expected = list(names)
    lines = [one for one in body.split(b"\n") if one.strip()]
    if len(lines) != len(expected):
        raise _odd(f"{len(lines):,} lines came for {len(expected):,} photos")
    return [_outcome(one, name) for one, name in zip(lines, expected, strict=True)]


@dataclass(frozen=True, slots=True)
class _Line:
    photo: str
    image: str | None = None


@dataclass(frozen=True, slots=True)
class _Error:
    what: str
    why: str
    next: str


@dataclass(frozen=True, slots=True)
class _Row:
    photo: str
    count: int | None = None
    probs: tuple[float, ...] = ()
    tail_mean: float = 0.0
    interval: tuple[int, int | None] = (0, None)
    error: _Error | None = None


_EXAMPLE = 'a line {"photo": NAME, "image": BASE64} for each photo'
_LINE = msgspec.json.Decoder(_Line)
_ROW = msgspec.json.Decoder(_Row)
_MOST_TAIL = 1e6


def _line(number: int, line: bytes) -> _Line:
    try:
        return _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"Line {number} of the request cannot be read", str(error), _EXAMPLE) from None


def _photo(line: _Line) -> Photo | Stored | BinventoryError:
    if line.image is None:
        if objects.is_remote(line.photo):
            return Stored(line.photo)
        return PhotoError(f"{line.photo} cannot be counted", "its line holds no image", _EXAMPLE)
    try:
        return Photo(line.photo, base64.b64decode(line.image, validate=True))
    except (binascii.Error, ValueError) as error:
        return PhotoError(f"{line.photo} cannot be read", f"its image is no base64 ({error})", "encode it again")


def _unread(one: Stored) -> PhotoError:
    return PhotoError(f"{one.address} may not be read", "this server reads nothing from S3", "send the photo itself")


def _outcome(line: bytes, name: str) -> Count | BinventoryError:
    try:
        read = _ROW.decode(line)
        if read.photo != name:
            raise _odd(f"a line for {read.photo[:80]} came where {name} was asked")
        if read.error is not None:
            return PhotoError(read.error.what, read.error.why, read.error.next)
        if not 0 <= read.tail_mean <= _MOST_TAIL:
            raise _odd(f"its tail's mean of {read.tail_mean:g} is absurd")
        count = Count(read.probs, read.tail_mean, read.interval)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _odd(str(error)[:200]) from None
    if (read.interval[1] or 0) > TOP:
        raise _odd(f"its interval reaches to {read.interval[1]}, which is more than {TOP}")
    if read.count != count.count:
        raise _odd(f"it counts {read.count} where its probabilities say {count.count}")
    return count


def _odd(why: str) -> OutsideError:
    return OutsideError("The endpoint's answer cannot be used", why, "check that it serves a bundle of this version")


def _liked(accept: str) -> dict[str, float]:
    """Media types by quality (RFC 9110, 12.5.1); a quality that is no number is 0."""
    liked = {}
    for part in accept.split(","):
        kind, *settings = (piece.strip().lower() for piece in part.split(";"))
        given = [one.removeprefix("q=") for one in settings if one.startswith("q=")]
        try:
            liked[kind] = float(given[0]) if given else 1.0
        except ValueError:
            liked[kind] = 0.0
    return liked


def _quality(kind: str, liked: dict[str, float]) -> float:
    wider = f"{kind.partition('/')[0]}/*"
    return next((liked[one] for one in (kind, wider, "*/*") if one in liked), 0.0)
