"""Counts from far away: the protocol ``Counts`` over whatever takes a body of JSON lines and gives one back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from binventory import photo as photos
from binventory.counting import wire
from binventory.errors import BinventoryError, OutsideError, PhotoError
from binventory.flow import ahead
from binventory.records import Count, Photo

REAL_TIME = 6_291_456
"""The most bytes that a real-time endpoint takes in one call (botocore's model of sagemaker-runtime)."""

SERVERLESS = 4 * 1024 * 1024
"""The most bytes that a serverless endpoint takes in one call."""

A_CALL = 64
"""The most photos in one call: an endpoint has a minute to answer."""

_HEAVY = 3 * photos.COMMON_SIDE**2
"""Bytes above which a photo travels as the picture to which counting reduces it first, which has no more than these."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Counts through ``send``, which takes a request's body of JSON lines and gives the answer's, or raises
    OutsideError. ``most_bytes``: the largest body that may be sent; ``calls``: how many may be under way at once.

    Names of photos travel with them, and are what the far side's errors speak of.
    """

    send: Callable[[bytes], bytes]
    most_bytes: int = REAL_TIME
    calls: int = 2

    def count_each(self, photos: Iterable[Photo | BinventoryError]) -> Iterator[Count | BinventoryError]:
        """One outcome a photo, in order. A bad photo becomes its error, a failed call the error of each photo in it."""
        for outcomes in ahead(self._answered, self._packed(photos), most=self.calls, threads=self.calls):
            yield from outcomes

    def _packed(self, given: Iterable[Photo | BinventoryError]) -> Iterator[list[_Line | BinventoryError]]:
        """Calls of as many photos as fit; errors travel along, unsent, so that the order stays."""
        call: list[_Line | BinventoryError] = []
        size = 0
        for one in given:
            packed = self._line(one)
            weight = 0 if isinstance(packed, BinventoryError) else len(packed.data)
            if call and (len(call) == A_CALL or size + weight > self.most_bytes):
                yield call
                call, size = [], 0
            call.append(packed)
            size += weight
        if call:
            yield call

    def _line(self, one: Photo | BinventoryError) -> _Line | BinventoryError:
        if isinstance(one, BinventoryError):
            return one
        name = one.name.encode("utf-8", "backslashreplace").decode()  # a file's name may be no text
        try:
            data = photos.lightened(one.data, name) if len(one.data) > _HEAVY else one.data
        except BinventoryError as error:
            return error
        line = wire.line(name, data)
        if len(line) > self.most_bytes:
            why = f"its request has {len(line):,} bytes, the endpoint takes {self.most_bytes:,}"
            return PhotoError(f"{name} is too large", why, "save it smaller")
        return _Line(name, line)

    def _answered(self, call: list[_Line | BinventoryError]) -> list[Count | BinventoryError]:
        asked = [one for one in call if isinstance(one, _Line)]
        try:
            body = self.send(b"".join(one.data for one in asked)) if asked else b""
            outcomes = iter(wire.outcomes(body, (one.name for one in asked)))
        except OutsideError as error:
            return [one if isinstance(one, BinventoryError) else error for one in call]
        return [one if isinstance(one, BinventoryError) else next(outcomes) for one in call]


@dataclass(frozen=True, slots=True)
class _Line:
    """A photo as a line of a request, newline included."""

    name: str
    data: bytes
