"""Items through a few threads: in order, in chunks, and never far ahead of the reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(work: Callable[[A], B], items: Iterable[A], most: int = 64, threads: int = 2) -> Generator[B]:
    """``map(work, items)`` on ``threads`` threads, in order, at most ``most`` items ahead of the reader."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def chunks(items: Iterable[A], size: int) -> Iterator[list[A]]:
    """The items in lists of ``size``, the last one shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


class Track(Protocol):
    """Shows how far a loop has come: called with its items, what is being done, and how many there are."""

    def __call__(self, items: Iterable[A], what: str, total: int | None) -> Iterable[A]:
        """The same items, in order."""
        ...


def untracked(items: Iterable[A], what: str, total: int | None) -> Iterable[A]:  # noqa: ARG001
    """Shows nothing."""
    return items
