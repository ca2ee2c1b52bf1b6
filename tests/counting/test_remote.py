"""Counting from far away: the same Counts, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from binventory import Count, Counter, Photo
from binventory import photo as photos_room
from binventory.counting import wire
from binventory.counting.remote import A_CALL, Remote
from binventory.data import drawn
from binventory.errors import BinventoryError, OutsideError, PhotoError
from hosts import PHOTOS, Host, hosted


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosted(tmp_path_factory.mktemp("host"), "--bundle", "open") as host:
        host.comes_up()
        yield host


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter.load("open")


@cache
def given_photos() -> list[Photo | BinventoryError]:
    """Photos of every kind, good and bad, more than one call takes."""
    few = [one.jpeg for one in drawn.draw(8, seed=6)]
    drawn_ones = [Photo(f"{number}.jpg", few[number % len(few)]) for number in range(A_CALL + 2)]
    with Image.open(BytesIO(few[0])) as image:
        large = BytesIO()
        image.resize((1200, 900)).save(large, "JPEG", quality=98)
        image.resize((1200, 900)).save(turned := BytesIO(), "PNG")
    noise = np.random.default_rng(1).integers(0, 256, (500, 800, 3), np.uint8)
    real = [Photo(path.name, path.read_bytes()) for path in sorted(PHOTOS.glob("*.jpg"))]
    odd: list[Photo | BinventoryError] = [
        Photo("large.jpg", large.getvalue()),
        PhotoError("lost.jpg does not exist", "there is no such file", "check the path"),
        Photo("text.jpg", b"hello"),
        Photo("large.png", turned.getvalue()),
        Photo("bro\udcffken name.jpg", photos_room.png(noise)),
        Photo("empty.jpg", b""),
    ]
    return [*real, *odd, *drawn_ones]


def alike(one: Count | BinventoryError, other: Count | BinventoryError) -> bool:
    """The same outcome but for the last digits, in which batches of other sizes may differ."""
    if isinstance(one, Count) and isinstance(other, Count):
        return (one.count, one.interval, one.tail_mean) == (other.count, other.interval, other.tail_mean) and bool(
            np.allclose(one.probs, other.probs, atol=1e-5)
        )
    return isinstance(one, PhotoError) and isinstance(other, PhotoError) and one.why == other.why


@pytest.fixture(scope="module")
def expected(counter: Counter) -> list[Count | BinventoryError]:
    return list(counter.count_each(given_photos()))


@pytest.mark.parametrize("most_bytes", [6_291_456, 420_000])
def test_an_endpoint_gives_the_counts_of_the_bundle_that_it_serves(
    host: Host, expected: list[Count | BinventoryError], most_bytes: int
) -> None:
    sizes = []

    def send(body: bytes) -> bytes:
        sizes.append(len(body))
        return host.send(body)

    found = list(Remote(send, most_bytes).count_each(given_photos()))
    assert len(found) == len(expected)
    assert all(alike(one, other) for one, other in zip(found, expected, strict=True))
    assert max(sizes) <= most_bytes
    assert len(sizes) < len(expected) / 2


def test_a_reduced_photo_has_the_very_count_of_the_photo(counter: Counter) -> None:
    """A large photo travels as the picture that counting first makes of it."""
    for one in given_photos():
        if isinstance(one, Photo) and "large" in one.name:
            light = photos_room.lightened(one.data)
            assert len(light) < len(one.data)
            assert counter.count(light) == counter.count(one)


def test_a_picture_too_narrow_to_reduce_travels_whole(counter: Counter, host: Host) -> None:
    narrow = photos_room.png(np.random.default_rng(2).integers(0, 256, (12, 16_000, 3), np.uint8))
    assert photos_room.lightened(narrow) == narrow
    (found,) = Remote(host.send).count_each([Photo("narrow.png", narrow)])
    assert alike(found, counter.count(narrow))
    (found,) = Remote(host.send, 100_000).count_each([Photo("narrow.png", narrow)])
    assert isinstance(found, PhotoError)
    assert found.why == f"its request has {len(wire.line('narrow.png', narrow)):,} bytes, the endpoint takes 100,000"


def test_a_failed_call_marks_its_photos_and_the_rest_goes_on(host: Host, counter: Counter) -> None:
    asked = [Photo(one.id, one.jpeg) for one in drawn.draw(9, seed=7)]
    two = 2 * max(len(wire.line(one.name, one.data)) for one in asked)
    called = 0

    def send(body: bytes) -> bytes:
        nonlocal called
        called += 1
        if called == 2:
            raise OutsideError("Endpoint e does not answer", "it timed out", "run it again")
        return host.send(body)

    found = list(Remote(send, two, calls=1).count_each(asked))
    failed = [number for number, one in enumerate(found) if isinstance(one, OutsideError)]
    assert 1 <= len(failed) < 5
    assert failed == list(range(failed[0], failed[0] + len(failed)))
    for number, one in enumerate(counter.count_each(asked)):
        assert number in failed or alike(found[number], one)


def test_a_server_that_dies_midway_ends_no_loop(tmp_path: Path) -> None:
    asked = [Photo(one.id, one.jpeg) for one in drawn.draw(12, seed=8)]
    with hosted(tmp_path, "--bundle", "open") as host:
        host.comes_up()

        def send(body: bytes) -> bytes:
            try:
                return host.send(body)
            except httpx.TransportError as error:
                raise OutsideError("Endpoint e does not answer", str(error), "run it again") from None

        outcomes = Remote(send, 200_000, calls=1).count_each(asked)
        found = [next(outcomes)]
        host.process.kill()
        host.process.wait()
        found += list(outcomes)
    assert len(found) == len(asked)
    assert isinstance(found[0], Count)
    assert isinstance(found[-1], OutsideError)


ROW = wire.row("a", Count((0.5, 0.5, *[0.0] * 20), 25.0, (0, 1)))


def answered(**changes: object) -> bytes:
    return json.dumps(ROW | changes).encode() + b"\n"


ODD: dict[str, bytes] = {
    "nothing": b"",
    "half": answered()[:-40],
    "no JSON": b"Internal Server Error",
    "too many": answered() * 2,
    "another photo": answered(photo="b"),
    "an array": b"[1]",
    "too few probabilities": answered(probs=[1.0]),
    "no sum": answered(probs=[0.1] * 22),
    "not finite": answered(probs=[float("nan")] * 22),
    "infinite": answered(probs=[1e999] * 22),
    "negative": answered(probs=[2.0, -1.0, *[0.0] * 20]),
    "another count": answered(count=3),
    "no count": json.dumps({"photo": "a"}).encode(),
    "odd interval": answered(interval=[3, 1]),
    "wide interval": answered(interval=[0, 400]),
    "odd tail": answered(tail_mean=1e300),
    "half an error": json.dumps({"photo": "a", "error": {"what": "x"}}).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_cannot_be_one_is_the_error_of_its_photos(odd: str) -> None:
    (found,) = Remote(lambda _: ODD[odd]).count_each([Photo("a", (PHOTOS / "00112.jpg").read_bytes())])
    assert isinstance(found, OutsideError)
    assert found.what == "The endpoint's answer cannot be used"


@given(st.integers(0, len(answered())), st.binary(max_size=4))
def test_a_damaged_answer_is_an_error_or_a_whole_count(place: int, put: bytes) -> None:
    whole = answered()
    for damaged in (whole[:place], whole[:place] + put + whole[place + len(put) :]):
        try:
            (outcome,) = wire.outcomes(damaged, ["a"])
        except OutsideError:
            continue
        assert isinstance(outcome, Count)
        assert abs(sum(outcome.probs) - 1) < 1e-3


@pytest.mark.parametrize(
    ("accept", "one", "several"),
    [(None, wire.JSON, wire.LINES), ("", wire.JSON, wire.LINES), ("*/*", wire.JSON, wire.LINES),
     ("application/*", wire.JSON, wire.LINES), ("application/json", wire.JSON, wire.JSON),
     ("application/jsonlines", wire.LINES, wire.LINES), ("text/html, */*;q=0.1", wire.JSON, wire.LINES),
     ("application/json;q=0.5, application/jsonlines", wire.LINES, wire.LINES),
     ("application/json;q=0, */*", wire.LINES, wire.LINES)],
)  # fmt: skip
def test_the_answer_comes_as_it_is_liked(accept: str | None, one: str, several: str) -> None:
    assert (wire.answer_type(accept, False), wire.answer_type(accept, True)) == (one, several)


def test_what_was_counted_travels_without_loss(counter: Counter) -> None:
    every = [Photo(one.id, one.jpeg) for one in drawn.draw(20, seed=9)]
    counts = list(counter.count_each(every))
    body = wire.answer(wire.LINES, [one.name for one in every], counts, several=True)
    assert wire.outcomes(body, [one.name for one in every]) == counts
