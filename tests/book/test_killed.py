"""Processes that write to one book are killed at any moment: nothing acknowledged is lost, nothing is entered twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import writers

from binventory.book import upkeep
from binventory.book.entries import Counted, Moved
from binventory.book.store import Ledger, opened

pytestmark = pytest.mark.timeout(600)

KILLS = 1000 if os.environ.get("BINVENTORY_SOAK") else 100
PROCESSES = 8


@contextmanager
def eight_writing(address: str, folder: Path) -> Iterator[Callable[[], None]]:
    """Eight processes that write; a call kills one of them and sets another in its place. All end in order."""
    start = multiprocessing.get_context("forkserver")
    start.set_forkserver_preload(["writers"])
    stop = folder / "stop"

    def begun(place: int) -> multiprocessing.process.BaseProcess:
        given = (address, str(folder / "photos"), str(folder / f"notes-{place}"), str(stop))
        process = start.Process(target=writers.write, args=given)
        process.start()
        return process

    running = [begun(place) for place in range(PROCESSES)]

    def kill_one() -> None:
        place = random.randrange(PROCESSES)
        assert running[place].is_alive(), "a writer ended by itself"
        running[place].kill()
        running[place].join()
        running[place] = begun(place)

    try:
        yield kill_one
    finally:
        stop.touch()
        for process in running:
            process.join()
    assert {process.exitcode for process in running} == {0}


def test_of_eight_writers_killed_at_any_moment_nothing_is_lost_or_doubled_and_a_backup_meanwhile_is_whole(
    fresh_book: Callable[[], str], tmp_path: Path
) -> None:
    address, again = fresh_book(), fresh_book()
    with opened(address, str(tmp_path / "photos")) as ledger, eight_writing(address, tmp_path) as kill_one:
        for kill in range(KILLS):
            time.sleep(random.uniform(0, 0.2))
            kill_one()
            if kill == KILLS // 2:
                backup = upkeep.backup(ledger, str(tmp_path / "backup.tar"))
    with opened(address, str(tmp_path / "photos")) as ledger:
        assert_all_is_there_once(ledger, tmp_path)
        with opened(again, str(tmp_path / "photos-again")) as restored:
            assert upkeep.restore(restored, str(tmp_path / "backup.tar")) == backup
            assert backup.missing == 0
            assert list(restored.entries()) == list(ledger.entries(most=backup.entries))
            assert list(upkeep.check(restored)) == []


def assert_all_is_there_once(ledger: Ledger, folder: Path) -> None:
    begun: set[str] = set()
    done: set[str] = set()
    for place in range(PROCESSES):
        one, two = writers.noted(folder / f"notes-{place}")
        begun, done = begun | one, done | two
    assert done, "nothing was entered"
    assert begun == done  # whoever came after one that was killed did its last thing again
    moved, pictures = list[str](), list[str]()
    for entry in ledger.entries(kinds=("movement", "count")):
        if isinstance(entry.body, Moved):
            moved.append(entry.key)
        elif isinstance(entry.body, Counted):
            pictures.append(ledger.photos.read(entry.body.photo).decode())
    assert sorted(moved + pictures) == sorted(done)
    assert sum(ledger.state(bin).quantity or 0 for bin in writers.BINS) == len(moved)
    assert [one for one in upkeep.check(ledger) if not one.harmless] == []
