"""Items through a few threads, in order and never far ahead of the reader, or through many, as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")
_GRACE_SECONDS = 2.0


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


@contextmanager
def at_once(work: Callable[[A, Event], B], items: Iterable[A], threads: int) -> Iterator[Iterator[B]]:
    """What ``work`` gives for the items, as it comes and in no order, on many threads that mostly wait.

    The event is set when the block ends, however it does: no item is begun then, what is under way has some seconds to
    end, and what still waits for others is left behind; it must look at the event before it touches anything.
    """
    ended = Event()
    came: SimpleQueue[tuple[B] | BaseException | None] = SimpleQueue()
    rest = iter(items)
    turn = Lock()

    def one_after_another() -> None:
        try:
            while not ended.is_set():
                with turn:
                    item = next(rest)
                came.put((work(item, ended),))
        except StopIteration:
            came.put(None)
        except BaseException as error:
            came.put(error)

    def arrivals() -> Iterator[B]:
        for _ in range(threads):
            while one := came.get():
                if isinstance(one, BaseException):
                    raise one
                yield one[0]

    # Daemons, since a thread that waits for a silent server cannot be interrupted and need not be waited for.
    crew = [Thread(target=one_after_another, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    try:
        yield arrivals()
    finally:
        ended.set()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in crew:
            thread.join(max(0.0, until - time.monotonic()))


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
