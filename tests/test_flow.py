"""Items through threads: in order, never far ahead, and nothing left running; or many at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.flow import ahead, at_once, chunks, untracked


@pytest.mark.timeout(30)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_what_ends_late_still_comes_in_its_place(threads: int) -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            assert second_is_done.wait(20)
        if item == 1:
            second_is_done.set()
        return item * 10

    assert list(ahead(work, range(100), threads=threads)) == [item * 10 for item in range(100)]


def test_an_error_comes_in_its_place_after_the_items_before_it() -> None:
    def work(item: int) -> int:
        return 60 // (3 - item)

    results = ahead(work, range(10))
    assert [next(results) for _ in range(3)] == [20, 30, 60]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_an_error_of_the_source_is_not_swallowed() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        list(ahead(str, items()))


@pytest.mark.parametrize("most", [1, 2, 7, 64])
def test_no_more_items_are_held_than_asked(most: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(300):
            taken += 1
            yield item

    for given_back, _ in enumerate(ahead(lambda item: item, items(), most=most)):
        assert taken - given_back <= most
    assert taken == 300


@pytest.mark.timeout(30)
def test_closing_early_stops_the_threads_and_the_work_that_waits() -> None:
    before = set(threading.enumerate())
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        assert item == 0 or gate.wait(20)
        return item

    results = ahead(work, iter(range(10**9)), most=16, threads=2)
    assert next(results) == 0
    opener = threading.Timer(0.3, gate.set)  # opens while close() waits for the two that have begun
    opener.start()
    results.close()
    opener.join()
    assert set(threading.enumerate()) <= before
    assert len(begun) <= 3


@pytest.mark.timeout(30)
def test_an_error_stops_the_threads() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 // item, iter(range(10**9))))
    assert set(threading.enumerate()) <= before


def test_nothing_gives_nothing() -> None:
    assert list(ahead(str, [])) == []
    assert list(chunks([], 3)) == []


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_chunks_are_whole_but_the_last_and_lose_nothing(items: list[int], size: int) -> None:
    made = list(chunks(iter(items), size))
    assert [item for chunk in made for item in chunk] == items
    assert all(len(chunk) == size for chunk in made[:-1])
    assert all(1 <= len(chunk) <= size for chunk in made)


def test_a_chunk_comes_as_soon_as_it_is_full() -> None:
    source = iter(range(10))
    assert next(chunks(source, 4)) == [0, 1, 2, 3]
    assert next(source) == 4


def test_without_a_track_items_pass_unchanged() -> None:
    assert list(untracked(range(3), "counting", 3)) == [0, 1, 2]


def test_many_at_once_gives_everything_as_it_comes() -> None:
    last_is_done = threading.Event()

    def work(item: int, ended: threading.Event) -> int:
        if item == 0:
            assert last_is_done.wait(20)
        if item == 99:
            last_is_done.set()
        return 2 * item

    with at_once(work, range(100), 7) as results:
        came = list(results)
    assert sorted(came) == list(range(0, 200, 2))
    assert came[-1] == 0
    with at_once(work, [], 7) as results:
        assert list(results) == []


def test_an_error_among_many_ends_all() -> None:
    begun = []
    before = threading.active_count()  # a server of another test may still run

    def failing(item: int, ended: threading.Event) -> int:
        begun.append(item)
        if item == 5:
            raise ZeroDivisionError
        assert item < 5 or ended.wait(20)
        return item

    with at_once(failing, range(1000), 8) as results, pytest.raises(ZeroDivisionError):
        assert {next(results) for _ in range(6)}
    assert len(begun) < 1000
    assert threading.active_count() == before


@pytest.mark.timeout(30)
def test_a_reader_that_stops_waits_for_none_that_cannot_end() -> None:
    silent = threading.Event()

    def stuck(item: int, ended: threading.Event) -> int:
        if item:
            silent.wait()
        return item

    with at_once(stuck, range(1000), 8) as results:
        assert next(results) == 0
    silent.set()
