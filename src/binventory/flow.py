"""Items through a few threads, in order and never far ahead of the reader, or through many waits at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")
_BATCH_SECONDS = 0.1


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


def at_once(work: Callable[[A], Awaitable[B]], items: Iterable[A], most: int) -> Generator[B]:
    """What ``work`` gives for the items, as it comes, with at most ``most`` of them waited for at once.

    An error of ``work`` ends it all, and so does a reader that stops: what was begun is cancelled and has ended by
    then. Items are worked on while the reader waits for one, not between.
    """
    import asyncio  # most verbs do without, and start the sooner

    rest = iter(items)
    came: list[B] = []

    async def one_after_another() -> None:
        for item in rest:
            came.append(await work(item))

    async def begun() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(one_after_another()) for _ in range(most)]

    with asyncio.Runner() as runner:
        waiting = set(runner.run(begun()))
        while waiting:
            # Waking the reader for every single one would cost more than the work.
            some = asyncio.wait(waiting, timeout=_BATCH_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            ended, waiting = runner.run(some)
            yield from came
            came.clear()
            for error in [task.exception() for task in ended]:
                if error is not None:
                    raise error


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
