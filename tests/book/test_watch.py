"""Photos that land are booked exactly once, and none is lost: with crashes, slow writers, links and odd names."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from binventory.book import acts, dropfolder, watch
from binventory.book.entries import Bundled, Counted, Entry, Expected, Judged, Pictured, SetAside
from binventory.book.intake import IntakeSettings
from binventory.book.site import Site
from binventory.book.store import Ledger, opened
from binventory.book.watch import Landed
from binventory.counting.counter import Counter
from binventory.data.drawn import draw_one
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, PhotoError
from binventory.records import Count, Counts, Photo

BUNDLED = Bundled("b" * 64, "site", "")
KILLS = int(os.environ.get("BINVENTORY_KILLS", "10"))
DAY = datetime(2026, 11, 30, 9, 15, tzinfo=UTC)
ANY = "{bin}/{*}.jpg"
UTC_SITE = Site(intake=IntakeSettings(pattern=ANY, timezone="UTC"))


@pytest.fixture(scope="module")
def counter(site: Path) -> Counter:
    return Counter.load(site, threads=1)


@pytest.fixture
def ledger(made_book: Path, tmp_path: Path) -> Iterator[Ledger]:
    """On SQLite alone: what is told apart here is files."""
    with opened(shutil.copy(made_book, str(tmp_path / "book.db")), str(tmp_path / "photos")) as found:
        yield found


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, number: int = 1, at: datetime = DAY) -> bytes:
    """A drawn bin's photo at a path below the folder, written at a time."""
    data = draw_one(number, 5).jpeg
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    os.utime(folder / name, (at.timestamp(),) * 2)
    return data


def watched(
    folder: Path, ledger: Ledger, counter: Counts, site: Site = UTC_SITE, *, once: bool = True,
    stop: threading.Event | None = None, look_seconds: float = 0.2,
) -> Iterator[Landed]:  # fmt: skip
    return watch.watch(folder, ledger, counter, BUNDLED, site, once=once, stop=stop or threading.Event(),
                       stable_seconds=0.2, look_seconds=look_seconds)  # fmt: skip


def files(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file() and one.name[0] != ".")


def bodies(ledger: Ledger, kind: str) -> list[object]:
    return [entry.body for entry in ledger.entries(kinds=[kind])]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_photo_is_counted_held_against_its_record_and_filed(drop: Path, ledger: Ledger, counter: Counter) -> None:
    ledger.append([Entry("e", "A1", datetime(2026, 11, 1, tzinfo=UTC), "wms", Expected(3))])
    data = put(drop, "A1/x.jpg")
    (one,) = watched(drop, ledger, counter)
    assert (one.name, one.bin, one.error) == ("A1/x.jpg", "A1", None)
    assert one.verdict is not None and one.verdict.expected == 3
    assert files(drop) == ["filed/2026-11-30/A1_x.jpg"]
    assert ledger.photos.read(sha256(data)) == data
    assert bodies(ledger, "photo") == [Pictured(sha256(data), "A1/x.jpg", len(data), "file", "path")]
    (entry,) = ledger.entries(kinds=["count"])
    assert (entry.bin, entry.at, entry.who) == ("A1", DAY, "watch")
    assert isinstance(entry.body, Counted) and entry.body.count.count == one.verdict.count


def test_a_photo_goes_with_its_sidecar(drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, "x.jpg")
    (drop / "x.json").write_text('{"bin": "S1", "time": "2026-10-01T00:00:00Z"}')
    put(drop, "B1/y.jpg", 2)
    (drop / "B1" / "y.jpg.json").write_text('{"time": "2026-10-02T00:00:00Z"}')
    assert {one.bin for one in watched(drop, ledger, counter)} == {"S1", "B1"}
    assert files(drop) == ["filed/2026-10-01/x.jpg", "filed/2026-10-01/x.json",
                           "filed/2026-10-02/B1_y.jpg", "filed/2026-10-02/B1_y.jpg.json"]  # fmt: skip


def test_photos_that_share_a_sidecar_each_have_it(drop: Path, ledger: Ledger, counter: Counter) -> None:
    for number, name in enumerate(("x.jpg", "x.JPEG", "x.png")):
        put(drop, name, number + 1)
    (drop / "x.json").write_text('{"bin": "S1", "time": "2026-10-01T00:00:00Z"}')
    assert [(one.bin, one.error) for one in watched(drop, ledger, counter)] == [("S1", None)] * 3
    assert [name.endswith(".json") for name in files(drop)].count(True) == 3
    assert all(name.startswith("filed/2026-10-01/x") for name in files(drop))


def test_a_photo_without_a_bin_or_pixels_is_set_aside_with_the_reason(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    lost = put(drop, "lost.jpg")
    (drop / "A1").mkdir()
    (drop / "A1" / "torn.jpg").write_bytes(lost[:2000])
    (drop / "A1" / "empty.png").write_bytes(b"")
    landed = {one.name: one for one in watched(drop, ledger, counter)}
    assert files(drop) == ["quarantine/A1_empty.png", "quarantine/A1_empty.reason.json", "quarantine/A1_torn.jpg",
                           "quarantine/A1_torn.reason.json", "quarantine/lost.jpg",
                           "quarantine/lost.reason.json"]  # fmt: skip
    told = json.loads((drop / "quarantine" / "lost.reason.json").read_text())
    assert told["what"] == "lost.jpg shows no known bin" and told["sha256"] == sha256(lost) and told["next"]
    aside = {entry.body.name: entry for entry in ledger.entries() if isinstance(entry.body, SetAside)}
    assert set(aside) == set(landed) == {"lost.jpg", "A1/torn.jpg", "A1/empty.png"}
    assert (aside["lost.jpg"].bin, aside["A1/torn.jpg"].bin) == (None, "A1")
    assert isinstance(landed["A1/torn.jpg"].error, PhotoError)
    assert not bodies(ledger, "photo")


def test_a_photo_that_was_set_aside_counts_when_it_comes_with_its_bin(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    put(drop, "lost.jpg")
    list(watched(drop, ledger, counter))
    (drop / "A1").mkdir()
    os.rename(drop / "quarantine" / "lost.jpg", drop / "A1" / "lost.jpg")
    assert [one.bin for one in watched(drop, ledger, counter)] == ["A1"]


def test_a_photo_that_comes_again_is_filed_under_another_name_and_not_entered(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    for _ in range(3):
        put(drop, "A1/x.jpg")
        (one,) = watched(drop, ledger, counter)
        assert one.verdict is not None
    assert files(drop) == [f"filed/2026-11-30/A1_x{n}.jpg" for n in ("", "~2", "~3")]
    assert [len(bodies(ledger, kind)) for kind in ("photo", "count", "verdict")] == [1, 1, 1]


def test_links_are_not_followed(drop: Path, tmp_path: Path, ledger: Ledger, counter: Counter) -> None:
    put(tmp_path, "outside/A1/x.jpg")
    (drop / "B1").mkdir()
    (drop / "B1" / "link.jpg").symlink_to(tmp_path / "outside" / "A1" / "x.jpg")
    (drop / "A1").symlink_to(tmp_path / "outside" / "A1")
    os.mkfifo(drop / "B1" / "pipe.jpg")
    assert list(watched(drop, ledger, counter)) == []
    assert (tmp_path / "outside" / "A1" / "x.jpg").exists()


def test_hidden_temporary_and_other_files_are_left_alone(drop: Path, ledger: Ledger, counter: Counter) -> None:
    names = ["A1/.x.jpg", ".cache/x.jpg", "A1/x.jpg.part", "A1/x.tmp", "A1/notes.txt", "A1/x.json"]
    for name in names:
        put(drop, name)
    assert list(watched(drop, ledger, counter)) == []
    assert all((drop / name).exists() for name in names)


@pytest.mark.parametrize("leases", [True, False])
def test_a_slow_writer_is_not_read_half(
    leases: bool, drop: Path, ledger: Ledger, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not leases:  # a system that does not tell who has a file open, as for other people's files
        monkeypatch.delattr(fcntl, "F_SETLEASE")
    stop, landed = threading.Event(), list[Landed]()
    data = draw_one(1, 5).jpeg
    (drop / "A1").mkdir()

    def standing_by() -> None:
        for one in watched(drop, ledger, counter, once=False, stop=stop):
            landed.append(one)
            stop.set()

    watcher = threading.Thread(target=standing_by)
    watcher.start()
    time.sleep(0.5)
    with (drop / "A1" / "x.jpg").open("wb", buffering=0) as file:
        file.write(data[:1000])
        time.sleep(1)  # far longer than a file has to be left alone
        assert not landed
        file.write(data[1000:])
    watcher.join(60)
    assert [one.bin for one in landed] == ["A1"]
    assert [body.sha256 for body in bodies(ledger, "photo") if isinstance(body, Pictured)] == [sha256(data)]


def test_photos_are_heard_of_as_they_land(drop: Path, ledger: Ledger, counter: Counter) -> None:
    stop = threading.Event()
    landing = watched(drop, ledger, counter, once=False, stop=stop, look_seconds=1000)
    threading.Timer(0.5, put, (drop, "A1/x.jpg", 1)).start()
    assert next(landing).bin == "A1"
    put(drop.parent, "y.jpg", 2)
    threading.Timer(0.5, os.rename, (drop.parent / "y.jpg", drop / "A1" / "y.jpg")).start()
    assert next(landing).name == "A1/y.jpg"
    stop.set()
    assert list(landing) == []


def test_once_ends_with_what_was_there(drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, "A1/x.jpg", 1)
    for one in watched(drop, ledger, counter):
        put(drop, "A1/y.jpg", 2)
        assert one.name == "A1/x.jpg"
    assert "A1/y.jpg" in files(drop)


def test_the_oldest_come_first(drop: Path, ledger: Ledger, counter: Counter) -> None:
    for number, name in enumerate(["C1/x.jpg", "A1/x.jpg", "B1/x.jpg"], 1):
        put(drop, name, number, datetime(2026, 11, 30, number, tzinfo=UTC))
    assert [one.bin for one in watched(drop, ledger, counter)] == ["C1", "A1", "B1"]


def test_stopping_finishes_what_is_under_way_and_leaves_the_rest(drop: Path, ledger: Ledger, counter: Counter) -> None:
    for number in range(1, 61):
        put(drop, f"A{number}/x.jpg", 1 + number % 3)
    stop, landed = threading.Event(), 0
    for _ in watched(drop, ledger, counter, once=False, stop=stop):
        landed += 1
        stop.set()
    left = [name for name in files(drop) if not name.startswith("filed")]
    assert landed + len(left) == 60 and landed == len(bodies(ledger, "count"))


def test_a_folder_has_one_watch(drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, "A1/x.jpg")
    first = watched(drop, ledger, counter)
    next(first)
    with pytest.raises(InputError, match="is watched already"):
        next(watched(drop, ledger, counter))
    first.close()  # type: ignore[attr-defined]
    assert list(watched(drop, ledger, counter)) == []


def test_a_folder_that_is_none_is_told(tmp_path: Path, ledger: Ledger, counter: Counter) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        next(watched(tmp_path / "none", ledger, counter))


def test_what_a_crash_left_between_entry_and_move_is_mended(drop: Path, ledger: Ledger, counter: Counter) -> None:
    data = put(drop, "A1/x.jpg")
    shot = acts.Shot("A1", DAY, "A1/x.jpg", data, "file", "path", "watch")
    stood = acts.counted(ledger, shot, counter.count(data), BUNDLED, UTC_SITE.policy)
    (one,) = watched(drop, ledger, counter)
    assert one.verdict == stood
    assert files(drop) == ["filed/2026-11-30/A1_x.jpg"]
    assert [len(bodies(ledger, kind)) for kind in ("photo", "count", "verdict")] == [1, 1, 1]


def test_a_sidecar_that_a_crash_left_without_its_photo_is_not_the_next_photos(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    put(drop, "x.jpg", 1)
    (drop / "x.json").write_text('{"bin": "S1"}')
    list(watched(drop, ledger, counter))
    shutil.copy2(drop / "filed" / "2026-11-30" / "x.json", drop / "x.json")
    (drop / "y.json").write_text('{"bin": "S2"}')  # has come before its photo
    list(watched(drop, ledger, counter))
    assert [name for name in files(drop) if "/" not in name] == ["y.json"]


class Meddling:
    """Counts as it should, and meanwhile another photo is put where the first lies."""

    def __init__(self, counter: Counter, meddle: Callable[[], object]) -> None:
        self.counter, self.meddle = counter, meddle

    def count_each(self, photos: Iterable[Photo | BinventoryError]) -> Iterator[Count | BinventoryError]:
        for outcome in self.counter.count_each(photos):
            self.meddle()
            yield outcome


def test_a_photo_that_takes_anothers_name_meanwhile_is_not_lost(drop: Path, ledger: Ledger, counter: Counter) -> None:
    first = put(drop, "A1/x.jpg", 1)
    second: list[bytes] = []

    def replace() -> None:
        if not second:
            second.append(put(drop, "A1/x.jpg", 2))

    meddling = Meddling(counter, replace)
    list(watched(drop, ledger, meddling))
    list(watched(drop, ledger, meddling))
    kept = [body.sha256 for body in bodies(ledger, "photo") if isinstance(body, Pictured)]
    assert kept == [sha256(first), sha256(second[0])]
    assert files(drop) == ["filed/2026-11-30/A1_x.jpg"]


def test_a_photo_that_is_taken_away_meanwhile_ends_nothing(drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, "A1/x.jpg", 1)
    put(drop, "B1/x.jpg", 2)
    meddling = Meddling(counter, lambda: (drop / "A1" / "x.jpg").unlink(missing_ok=True))
    assert len(list(watched(drop, ledger, meddling))) == 2
    assert files(drop) == ["filed/2026-11-30/B1_x.jpg"]


class Failing:
    """An endpoint that does not answer."""

    def count_each(self, photos: Iterable[Photo | BinventoryError]) -> Iterator[Count | BinventoryError]:
        for _ in photos:
            yield OutsideError("The endpoint does not answer", "it is gone", "start it")


def test_where_counting_or_the_book_fails_the_photos_stay(
    drop: Path, tmp_path: Path, made_book: Path, ledger: Ledger, counter: Counter
) -> None:
    put(drop, "A1/x.jpg")
    with pytest.raises(OutsideError, match="does not answer"):
        list(watched(drop, ledger, Failing()))
    (tmp_path / "file").write_text("")
    with (
        opened(shutil.copy(made_book, str(tmp_path / "other.db")), str(tmp_path / "file" / "photos")) as nowhere,
        pytest.raises(OutsideError, match="cannot be written"),
    ):
        list(watched(drop, nowhere, counter))
    assert files(drop) == ["A1/x.jpg"]
    assert len(list(watched(drop, ledger, counter))) == 1


def test_on_a_full_disk_the_watch_ends_and_goes_on_once_there_is_room(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(drop)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts disks")
    try:
        put(drop, "lost.jpg", 1)
        put(drop, "A1/x.jpg", 2)
        filler = drop / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        with pytest.raises(OutsideError, match="free space"):
            list(watched(drop, ledger, counter))
        assert "lost.jpg" in files(drop)
        filler.unlink()
        list(watched(drop, ledger, counter))
        assert files(drop) == ["filed/2026-11-30/A1_x.jpg", "quarantine/lost.jpg", "quarantine/lost.reason.json"]
        assert [len(bodies(ledger, kind)) for kind in ("count", "quarantine")] == [1, 1]
    finally:
        subprocess.run(["umount", "--lazy", drop], check=True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second disk")
def test_a_filing_folder_on_another_disk_is_told_and_mended_later(drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, "A1/x.jpg")
    elsewhere = Site(
        intake=IntakeSettings(pattern=ANY, timezone="UTC", filed=f"/dev/shm/{drop.parent.name}-{os.getpid()}")
    )
    try:
        with pytest.raises(OutsideError, match="on the same disk"):
            list(watched(drop, ledger, counter, elsewhere))
    finally:
        shutil.rmtree(elsewhere.intake.filed)
    assert len(list(watched(drop, ledger, counter))) == 1
    assert len(bodies(ledger, "count")) == 1


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"line\nbreak.jpg", b"x" * 251 + b".jpg", b"-rf.jpg", "ü.jpg".encode()]
)
def test_odd_names_are_booked_and_filed(name: bytes, drop: Path, ledger: Ledger, counter: Counter) -> None:
    put(drop, f"A1/{os.fsdecode(name)}", 1)
    put(drop, os.fsdecode(name), 2)
    landed = list(watched(drop, ledger, counter))
    assert sorted(one.bin or "" for one in landed) == ["", "A1"]
    assert all(f"{one.name} {one.error}".encode() for one in landed)
    assert [name.split("/")[0] for name in files(drop)] == ["filed", "quarantine", "quarantine"]


def test_a_name_that_is_taken_in_quarantine_gets_a_number_with_its_reason(
    drop: Path, ledger: Ledger, counter: Counter
) -> None:
    for number, name in enumerate(["x.jpg", "x.png"], 1):
        put(drop, name, number)
    list(watched(drop, ledger, counter))
    assert files(drop / "quarantine") == ["x.jpg", "x.reason.json", "x~2.png", "x~2.reason.json"]


def test_who_writes_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    with path.open("wb"):
        assert dropfolder._open_for_writing(str(path)) in (True, None)
    assert dropfolder._open_for_writing(str(path)) in (False, None)


STANDING_BY = """
import sys, threading
from binventory.book import store, watch
from binventory.book.entries import Bundled
from binventory.book.intake import IntakeSettings
from binventory.book.site import Site
from binventory.counting.counter import Counter
folder, book, photos, bundle = sys.argv[1:]
site = Site(intake=IntakeSettings(pattern="{bin}/{*}.jpg"))
counter = Counter.load(bundle, threads=1)
with store.opened(book, photos) as ledger:
    print("ready", flush=True)
    for landed in watch.watch(folder, ledger, counter, Bundled("b" * 64, "site", ""), site, once=False,
                              stop=threading.Event(), stable_seconds=0.2, look_seconds=0.3):
        pass
"""


def land(folder: Path, name: str, data: bytes, how: int, aside: Path) -> None:
    """Let a photo land: by a slow writer, renamed in, copied, or renamed from a hidden name beside it."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    if how == 0:
        with target.open("wb", buffering=0) as file:
            for place in range(0, len(data), len(data) // 4 + 1):
                file.write(data[place : place + len(data) // 4 + 1])
                time.sleep(0.1)
    elif how == 1:
        aside.write_bytes(data)
        os.rename(aside, target)
    elif how == 2:
        aside.write_bytes(data)
        shutil.copy2(aside, target)
    else:
        hidden = target.with_name(f".{target.name}.part")
        hidden.write_bytes(data)
        os.rename(hidden, target)


@pytest.mark.parametrize("seed", [1])
def test_each_photo_is_in_the_book_once_whenever_the_watch_is_killed(
    seed: int, book: str, drop: Path, tmp_path: Path, site: Path, shared_cache: Path, counter: Counter
) -> None:
    chance, photos = random.Random(seed), str(tmp_path / "kept")
    landed: dict[str, bytes] = {}
    done = threading.Event()

    def landing() -> None:
        for number in range(1, 10**6):
            if done.is_set():
                return
            name = f"x{number}.jpg" if number % 7 == 0 else f"A{number % 10}/x{number}.jpg"
            landed[name] = draw_one(number, 5).jpeg
            land(drop, name, landed[name], number % 4, tmp_path / "aside")
            if number % 5 == 0:
                (drop / name).with_suffix(".json").write_text('{"camera": 7}')
            time.sleep(0.05)

    camera = threading.Thread(target=landing)
    camera.start()
    try:
        for _ in range(KILLS):
            command = [sys.executable, "-c", STANDING_BY, str(drop), book, photos, str(site)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
                time.sleep(chance.uniform(0.1, 1.0))
                process.send_signal(signal.SIGKILL)
    finally:
        done.set()
        camera.join()
    with opened(book, photos) as ledger:
        before = len(bodies(ledger, "photo"))
        list(watched(drop, ledger, counter))
        counts = [entry for entry in ledger.entries(kinds=["count"]) if isinstance(entry.body, Counted)]
        aside = [body for body in bodies(ledger, "quarantine") if isinstance(body, SetAside)]
        with_bin = {name: sha256(data) for name, data in landed.items() if "/" in name}
        assert before > 0
        assert Tally((entry.bin, entry.body.photo) for entry in counts if isinstance(entry.body, Counted)) == Tally(
            (name.split("/")[0], digest) for name, digest in with_bin.items()
        )
        assert Tally(body.of for body in bodies(ledger, "verdict") if isinstance(body, Judged)) == Tally(
            entry.key for entry in counts
        )
        assert Tally(body.name for body in aside) == Tally(name for name in landed if "/" not in name)
        assert all(ledger.photos.read(digest) == landed[name] for name, digest in with_bin.items())
    left = [name for name in files(drop) if name.split("/")[0] not in ("filed", "quarantine")]
    assert not [name for name in left if name.endswith(".jpg")]
    filed = [Path(name).name for name in files(drop) if name.endswith(".jpg")]
    assert Tally(filed) == Tally(name.replace("/", "_") for name in landed)
