"""The thread that counts: loads a bundle, counts together what waits, and knows whether counting works."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from binventory.counting.counter import BATCH, Counter
from binventory.errors import BinventoryError
from binventory.photo import Pixels
from binventory.records import Count

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""How long no count may have worked before the engine counts as hung."""

IDLE_S = 5.0
"""How often the probe is counted while nobody asks for anything."""

LOADING = "the model is being loaded"


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong, in words (None: nothing), and when a count last worked (seconds of the monotonic clock)."""

    trouble: str | None
    worked: float

    def told(self, now: float, patience: float) -> str | None:
        """Why nothing should be asked of the engine now, or None where a count has worked lately."""
        if self.trouble is not None or now - self.worked <= patience:
            return self.trouble
        return f"no count has worked for {now - self.worked:.0f} seconds: counting hangs"


@dataclass(frozen=True, slots=True)
class _Job:
    pictures: list[Pixels]
    counts: Future[list[Count]]


class Engine:
    """Counts fitted pictures on a thread of its own, several requests' together. ``load`` makes the counter there.

    Nothing that happens on the thread ends it: what cannot be loaded is told for ever, and after a count that failed
    health is what a photo of the bundle's own says, asked again every ``idle`` seconds.
    """

    def __init__(self, load: Callable[[], Counter], patience: float = PATIENCE_S, idle: float = IDLE_S) -> None:
        self._load = load
        self._patience, self._idle = patience, idle
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._health = Health(LOADING, time.monotonic())
        self._stopped = False
        self.counter: Counter | None = None
        """The counter, once it is loaded."""
        # A daemon: a network that hangs cannot be interrupted, and must not keep the process.
        self._thread = threading.Thread(target=self._run, name="counting", daemon=True)

    def start(self) -> None:
        """Begin to load, and come back at once."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End when what waits is counted, within so many seconds; whether it came to that."""
        self._jobs.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def trouble(self) -> str | None:
        """Why no count can be expected now, or None where one has worked lately."""
        return self._health.told(time.monotonic(), self._patience)

    def count(self, pictures: list[Pixels]) -> Future[list[Count]]:
        """The counts of pictures uint8 [H, W, 3] that fit the input, when they are there. A cancelled job is skipped.

        The future's error is a BinventoryError where the network fails.
        """
        counts: Future[list[Count]] = Future()
        self._jobs.put(_Job(pictures, counts))
        return counts

    def _run(self) -> None:
        try:
            counter = self._load()
            self._try_out(counter)
        except Exception as error:  # whatever it is, it is told, and the process lives on to tell it
            self._fail("the model cannot be loaded", error)
            return
        self.counter = counter
        while not self._stopped:
            jobs = self._waiting()
            if jobs:
                self._count(counter, jobs)
            elif not self._stopped:
                self._examine(counter)

    def _waiting(self) -> list[_Job]:
        """The next jobs, together of a batch's size where so many wait; none after a while of quiet, or at the end."""
        jobs: list[_Job] = []
        with suppress(Empty):
            job = self._jobs.get(timeout=self._idle)
            while job is not None:
                jobs.append(job)
                if sum(len(one.pictures) for one in jobs) >= BATCH:
                    break
                job = self._jobs.get_nowait()
            self._stopped = job is None
        return [job for job in jobs if job.counts.set_running_or_notify_cancel()]

    def _count(self, counter: Counter, jobs: list[_Job]) -> None:
        try:
            counts = iter(counter.count_fitted(np.stack([one for job in jobs for one in job.pictures])))
        except Exception as error:
            for job in jobs:
                job.counts.set_exception(error)
            log.error("counting failed: %s", error)
            self._examine(counter)
            return
        self._health = Health(None, time.monotonic())
        for job in jobs:
            job.counts.set_result([next(counts) for _ in job.pictures])

    def _examine(self, counter: Counter) -> None:
        try:
            self._try_out(counter)
        except Exception as error:
            self._fail("counting fails", error)

    def _try_out(self, counter: Counter) -> None:
        counter.try_out()
        self._health = Health(None, time.monotonic())

    def _fail(self, what: str, error: Exception) -> None:
        trouble = f"{what}: {error if isinstance(error, BinventoryError) else f'{type(error).__name__}: {error}'}"
        if self._health.trouble != trouble:
            log.error("%s", trouble)
        self._health = Health(trouble, self._health.worked)
