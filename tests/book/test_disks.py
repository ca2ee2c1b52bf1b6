"""A full disk and a read-only one, real ones: a clear error, and the book as it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from binventory.book import acts, upkeep
from binventory.book.acts import Shot
from binventory.book.entries import Bundled, Entry, Moved
from binventory.book.store import Ledger, opened
from binventory.deciding.policy import Policy
from binventory.errors import OutsideError
from binventory.records import Count

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SHOWN = Count((0.0, 0.9, 0.1, *[0.0] * 19), 30.0, (1, 2))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one and a half megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mounted("-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(folder)):
        pytest.skip("only root mounts disks")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def mounted(*how: str) -> bool:
    return subprocess.run(["mount", *how], capture_output=True, check=False).returncode == 0


def moved(number: int) -> Entry:
    return Entry(f"move-{number}", f"bin-{number % 7}", BEGIN + timedelta(hours=number), "scanner", Moved(1))


def fill(disk: Path) -> Path:
    """What leaves no room on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def written_until_full(ledger: Ledger) -> int:
    """How many entries were acknowledged before the disk was full."""
    for number in range(100_000):
        try:
            ledger.append([moved(number)])
        except OutsideError as error:
            assert "free space" in str(error)
            return number
    raise AssertionError("the disk is never full")


def test_on_a_full_disk_what_was_acknowledged_stays_and_writing_goes_on_once_there_is_room(disk: Path) -> None:
    with opened(str(disk / "book.db")) as ledger:
        ledger.append([moved(-1)])
        filler = fill(disk)
        number = written_until_full(ledger)
        with pytest.raises(OutsideError, match="free space"):
            ledger.append([moved(number)])
        assert [entry.key for entry in ledger.entries()] == [f"move-{n}" for n in range(-1, number)]
        assert list(upkeep.check(ledger)) == []
    with opened(str(disk / "book.db")) as ledger:  # a disk without room can be read
        assert len(list(ledger.entries())) == number + 1
        filler.unlink()
        assert ledger.append([moved(number)]) == (True,)
        assert list(upkeep.check(ledger)) == []


def test_a_photo_that_finds_no_room_is_not_entered(disk: Path, tmp_path: Path) -> None:
    shot = Shot("bin-1", BEGIN, "p.jpg", bytes(100_000), "exif", "path", "camera")
    with opened(str(tmp_path / "book.db"), str(disk / "photos")) as ledger:
        filler = fill(disk)
        with pytest.raises(OutsideError, match="free space"):
            acts.counted(ledger, shot, SHOWN, Bundled("d" * 64, "a bundle", ""), Policy())
        assert list(ledger.entries()) == []
        filler.unlink()
        acts.counted(ledger, shot, SHOWN, Bundled("d" * 64, "a bundle", ""), Policy())
        assert list(upkeep.check(ledger)) == []


def test_a_book_and_a_backup_that_find_no_room_are_not_begun(disk: Path, tmp_path: Path) -> None:
    filler = fill(disk)
    with pytest.raises(OutsideError, match="free space"), opened(str(disk / "book.db")):
        pass
    with opened(str(tmp_path / "book.db")) as ledger:
        ledger.append(moved(number) for number in range(100))
        with pytest.raises(OutsideError, match="free space"):
            upkeep.backup(ledger, str(disk / "backup.tar"))
    assert list(disk.iterdir()) == [filler]


def test_a_book_on_a_read_only_disk_is_told_and_stays_as_it_is(disk: Path) -> None:
    with opened(str(disk / "book.db")) as ledger:
        ledger.append(moved(number) for number in range(10))
    assert mounted("-o", "remount,ro", str(disk))
    with pytest.raises(OutsideError, match=r"read-only|refuse"), opened(str(disk / "book.db")) as ledger:
        ledger.append([moved(10)])
    with pytest.raises(OutsideError, match="Read-only"), opened(str(disk / "another.db")):
        pass
    assert mounted("-o", "remount,rw", str(disk))
    with opened(str(disk / "book.db")) as ledger:
        assert len(list(ledger.entries())) == 10
        assert list(upkeep.check(ledger)) == []
