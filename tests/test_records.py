"""A count says what its distribution says, and is refused where that makes no sense."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.errors import BinventoryError, InputError, LeakError, OutsideError, PhotoError, StoppedError, UsageError
from binventory.records import LEVELS, TAIL, TOP, Count, level, shown, span


def peaked(at: int, peak: float = 1.0) -> tuple[float, ...]:
    """A distribution with ``peak`` at one entry and the rest spread evenly."""
    rest = (1 - peak) / (LEVELS - 1)
    return tuple(peak if entry == at else rest for entry in range(LEVELS))


def spread(**shares: float) -> tuple[float, ...]:
    """A distribution from its entries that are not 0, as _3=0.5."""
    return tuple(shares.get(f"_{entry}", 0.0) for entry in range(LEVELS))


distributions = (
    st.lists(st.floats(0, 1), min_size=LEVELS, max_size=LEVELS)
    .filter(lambda weights: sum(weights) > 1e-3)
    .map(lambda weights: tuple(weight / sum(weights) for weight in weights))
)


@given(distributions, st.floats(21, 500))
def test_mode_median_and_mean_agree_with_the_distribution(probs: tuple[float, ...], tail_mean: float) -> None:
    count = Count(probs, tail_mean, (0, None))
    assert probs[count.count] == max(probs) == count.confidence
    assert math.fsum(probs[: count.median + 1]) >= 0.5 - 1e-9
    assert math.fsum(probs[: count.median]) < 0.5 + 1e-9
    assert 0 <= count.mean <= max(tail_mean, TOP) + 1e-6
    assert count.mean == pytest.approx(
        sum(min(k, TOP) * p for k, p in enumerate(probs)) + probs[TAIL] * (tail_mean - TOP)
    )


@given(distributions)
def test_the_json_row_is_json_and_says_the_same(probs: tuple[float, ...]) -> None:
    count = Count(probs, 25.0, (0, None))
    row = json.loads(json.dumps(count.as_row("bin.jpg")))
    assert row["photo"] == "bin.jpg"
    assert (row["count"], row["median"], row["interval"]) == (count.count, count.median, [0, None])
    assert row["probs"] == pytest.approx(probs, abs=1e-6)
    assert row["confidence"] == pytest.approx(count.confidence, abs=1e-6)
    assert row["mean"] == pytest.approx(count.mean, abs=1e-4)


@pytest.mark.parametrize(
    ("probs", "count", "median", "mean"),
    [
        (peaked(0), 0, 0, 0.0),
        (peaked(20), 20, 20, 20.0),
        (peaked(21), 21, 21, 30.0),
        (spread(_3=0.5, _5=0.5), 3, 3, 4.0),
        (spread(_3=0.4, _5=0.6), 5, 5, 4.2),
        (spread(_0=0.45, _1=0.1, _21=0.45), 0, 1, 13.6),
    ],
)
def test_mode_median_mean(probs: tuple[float, ...], count: int, median: int, mean: float) -> None:
    one = Count(probs, 30.0, (0, None))
    assert (one.count, one.median) == (count, median)
    assert one.mean == pytest.approx(mean)


@pytest.mark.parametrize(
    ("probs", "interval"),
    [
        pytest.param(peaked(3)[:-1], (3, 3), id="an entry too few"),
        pytest.param((*peaked(3), 0.0), (3, 3), id="an entry too many"),
        pytest.param((), (0, 0), id="no entries"),
        pytest.param(tuple(p / 2 for p in peaked(3)), (3, 3), id="sums to a half"),
        pytest.param(spread(_2=-0.5, _3=1.5), (3, 3), id="a negative probability"),
        pytest.param((math.nan,) * LEVELS, (0, None), id="no numbers"),
        pytest.param((*peaked(3)[:-1], math.nan), (3, 3), id="one no number"),
        pytest.param(peaked(3), (4, 5), id="interval above the count"),
        pytest.param(peaked(3), (1, 2), id="interval below the count"),
        pytest.param(peaked(3), (4, None), id="open interval above the count"),
        pytest.param(peaked(21), (18, 20), id="interval ends below more than 20"),
        pytest.param(peaked(21), (18, 21), id="more than 20 written as a number"),
        pytest.param(peaked(3), (-1, 3), id="interval from below nothing"),
        pytest.param(peaked(3), (5, 2), id="interval turned round"),
    ],
)
def test_a_count_that_makes_no_sense_is_refused(probs: tuple[float, ...], interval: tuple[int, int | None]) -> None:
    with pytest.raises(ValueError, match="Count"):
        Count(probs, 25.0, interval)


@pytest.mark.parametrize("interval", [(3, 3), (0, 20), (0, None), (3, None)])
def test_an_interval_around_the_count_is_taken(interval: tuple[int, int | None]) -> None:
    assert Count(peaked(3), 25.0, interval).interval == interval


@pytest.mark.parametrize(
    ("count", "interval", "text"),
    [(4, (4, 4), "4"), (4, (2, 5), "2 to 5"), (19, (18, None), "18 or more"), (21, (21, None), ">20")],
)
def test_an_interval_reads_as_people_say_it(count: int, interval: tuple[int, int | None], text: str) -> None:
    assert span(Count(peaked(count), 25.0, interval).interval) == text


def test_rounding_of_a_network_is_no_reason_to_refuse() -> None:
    assert Count(tuple(p * 1.0005 for p in peaked(3, 0.9)), 25.0, (3, 3)).count == 3


def test_a_count_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Count(peaked(3), 25.0, (3, 3)).tail_mean = 1.0  # type: ignore[misc]


@given(st.integers(0, 10_000))
def test_more_than_20_is_one_level_and_shown_as_such(quantity: int) -> None:
    assert level(quantity) == (quantity if quantity <= TOP else TAIL)
    assert shown(level(quantity)) == (str(quantity) if quantity <= 20 else ">20")


@pytest.mark.parametrize(
    ("kind", "exit_status", "http_status"),
    [
        (UsageError, 2, 400),
        (InputError, 3, 422),
        (PhotoError, 3, 422),
        (LeakError, 3, 409),
        (OutsideError, 4, 502),
        (StoppedError, 143, 503),
    ],
)
def test_an_error_says_what_why_and_what_next(kind: type[BinventoryError], exit_status: int, http_status: int) -> None:
    error = kind("a.jpg is empty", "it holds no bytes", "take it again")
    assert str(error) == "a.jpg is empty. It holds no bytes. Try: take it again."
    assert error.as_row() == {"what": "a.jpg is empty", "why": "it holds no bytes", "next": "take it again"}
    assert (kind.exit_status, kind.http_status) == (exit_status, http_status)
