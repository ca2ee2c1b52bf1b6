"""What the processes of the tests do that are killed at any moment: write to one book, and note what they were told."""

from __future__ import annotations

import os
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from binventory.book import acts
from binventory.book.acts import Shot
from binventory.book.entries import Bundled, Entry, Moved
from binventory.book.store import Ledger, opened
from binventory.deciding.policy import Policy
from binventory.records import Count

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BINS = [f"bin-{n}" for n in range(12)]
BUNDLE = Bundled("d" * 64, "a bundle", "")
SHOWN = Count((0.0, 0.9, 0.1, *[0.0] * 19), 30.0, (1, 2))


def write(address: str, photos: str, notes: str, stop: str) -> None:
    """Note a key, enter what it tells, note that it was entered; again and again, until the file ``stop`` is there.

    Whoever comes after one that was killed first does again what may have been left half done.
    """
    told = Path(notes)
    left = unfinished(told)
    handle = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with opened(address, photos) as ledger:
        if left:
            enter(ledger, left)
            note(handle, "done", left)
        while not os.path.exists(stop):
            key = uuid.uuid4().hex
            note(handle, "begun", key)
            enter(ledger, key)
            note(handle, "done", key)


def enter(ledger: Ledger, key: str) -> None:
    """One item moves into a bin or, of one key in four, a photo of the bin is counted; all follows from the key."""
    chance = random.Random(key)
    bin, at = chance.choice(BINS), BEGIN + timedelta(minutes=chance.randrange(100_000))
    if chance.random() < 0.25:
        acts.counted(ledger, Shot(bin, at, "p.jpg", key.encode(), "exif", "path", "camera"), SHOWN, BUNDLE, Policy())
    else:
        ledger.append([Entry(key, bin, at, "scanner", Moved(1))])


def note(handle: int, what: str, key: str) -> None:
    os.write(handle, f"{what} {key}\n".encode())
    os.fsync(handle)


def noted(told: Path) -> tuple[set[str], set[str]]:
    """The keys that were begun, and those that were done."""
    lines = [line.split() for line in told.read_text().splitlines()] if told.exists() else []
    whole = [line for line in lines if len(line) == 2 and len(line[1]) == 32]
    begun = {key for what, key in whole if what == "begun"}
    return begun, {key for what, key in whole if what == "done"}


def unfinished(told: Path) -> str | None:
    begun, done = noted(told)
    return next(iter(begun - done), None)
