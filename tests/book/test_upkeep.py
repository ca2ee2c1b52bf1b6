"""Backups that restore whole, on either database; checks that find what is wrong; photos let go as the policy says."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from binventory.book import acts, engines, migrations, retention, upkeep
from binventory.book.acts import Shot
from binventory.book.entries import Bundled, Entry, Expected, Forgotten, Moved, keyed
from binventory.book.store import Ledger, opened
from binventory.deciding.policy import Policy
from binventory.errors import BinventoryError, InputError, MissingError, UsageError
from binventory.records import Count
from postgres import Postgres

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(keep_photos_days=30)
BUNDLE = Bundled("d" * 64, "a bundle", "")
ONE = Count((0.0, 0.9, 0.1, *[0.0] * 19), 30.0, (1, 2))


def photographed(
    ledger: Ledger, bin: str, day: float = 0, data: bytes = b"", bundle: Bundled = BUNDLE
) -> None:  # fmt: skip
    at, data = BEGIN + timedelta(days=day), data or f"{bin} {day}".encode()
    acts.counted(ledger, Shot(bin, at, "p.jpg", data, "exif", "path", "cam"), ONE, bundle, POLICY)


def filled(ledger: Ledger) -> Ledger:
    ledger.append([Entry(f"e{n}", f"bin-{n}", BEGIN, "wms", Expected(n)) for n in range(2100)])
    ledger.append([Entry("late", "bin-1", BEGIN - timedelta(days=1), "x", Moved(1))])
    for n in range(3):
        photographed(ledger, f"bin-{n}")
    acts.recounted(ledger, "bin-1", 3, "bin", "ann", BEGIN + timedelta(days=1), POLICY)
    acts.adjusted(ledger, "bin-1", "ann", "", POLICY)
    return ledger


@pytest.fixture
def empty(tmp_path: Path, made_book: Path) -> Iterator[Ledger]:
    """An empty book on SQLite, whatever the other is on."""
    with opened(str(tmp_path / "restored.db"), str(tmp_path / "restored")) as found:
        yield found


def test_a_backup_restores_entry_for_entry_on_either_database(
    ledger: Ledger, fresh_book: Callable[[], str], empty: Ledger, tmp_path: Path
) -> None:
    path = str(tmp_path / "backup.tar")
    made = upkeep.backup(filled(ledger), path)
    assert (made.entries, made.photos, made.missing) == (len(list(ledger.entries())), 3, 0)
    with opened(fresh_book(), str(tmp_path / "same")) as same:
        for restored in (same, empty):
            assert upkeep.restore(restored, path) == made
            assert list(restored.entries()) == list(ledger.entries())
            assert restored.state("bin-1") == ledger.state("bin-1")
            assert list(upkeep.check(restored)) == []
            assert restored.append([Entry("more", "bin-1", BEGIN, "x", Moved(1))]) == (True,)


def test_a_backup_overwrites_nothing_and_a_book_with_entries_is_not_restored_into(
    ledger: Ledger, empty: Ledger, tmp_path: Path
) -> None:
    path = str(tmp_path / "backup.tar")
    upkeep.backup(filled(ledger), path, photos=False)
    with pytest.raises(UsageError, match="there already"):
        upkeep.backup(ledger, path)
    with pytest.raises(UsageError, match="holds entries"):
        upkeep.restore(ledger, path)
    assert upkeep.restore(empty, path).photos == 0
    assert {one.what.partition(":")[0][:5] for one in upkeep.check(empty)} == {"photo"}


def test_a_photo_that_is_missing_or_damaged_is_told_and_the_rest_backed_up(ledger: Ledger, tmp_path: Path) -> None:
    photos = sorted(filled(ledger).photos.all())
    ledger.photos.forget(photos[0])
    Path(ledger.photos.address(photos[1])).write_bytes(b"other bytes")
    orphan = ledger.photos.keep(b"kept just before a crash")
    made = upkeep.backup(ledger, str(tmp_path / "backup.tar"))
    assert (made.photos, made.missing) == (1, 2)
    found = list(upkeep.check(ledger))
    assert [one.harmless for one in found] == [False, False, True]
    assert orphan in found[2].what


def test_a_backup_that_is_no_longer_whole_is_refused_and_nothing_of_it_kept(
    ledger: Ledger, empty: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "backup.tar"
    upkeep.backup(filled(ledger), str(path))
    whole = path.read_bytes()
    photo, line = whole.index(b"bin-0 0"), whole.index(b'"bin":"bin-1500"')
    damages = {
        "cut": whole[: len(whole) // 2],
        "no manifest": whole[: whole.rindex(b"manifest.json")],
        "photo": whole[:photo] + b"X" + whole[photo + 1 :],
        "entry": whole[: line + 8] + b"X" + whole[line + 9 :],
        "no tar": b"bin,quantity\n" * 100,
        "empty": b"",
    }
    for name, data in damages.items():
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"no whole backup"):
            upkeep.restore(empty, str(path))
        assert list(empty.entries()) == [], name
        assert list(empty.photos.all()) == [], name
    with pytest.raises(MissingError):
        upkeep.restore(empty, str(tmp_path / "nowhere.tar"))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "photos/../../x", "entries.jsonl", "link"])
def test_a_hostile_backup_is_refused(empty: Ledger, tmp_path: Path, name: str) -> None:
    path = tmp_path / "backup.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("entries.jsonl"), io.BytesIO())
        member = tarfile.TarInfo(name)
        if name == "link":
            member.name, member.type, member.linkname = "photos/" + "f" * 64, tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    with pytest.raises(InputError, match="no part of one"):
        upkeep.restore(empty, str(path))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("UPDATE bins SET quantity = 99 WHERE bin = 'bin-7'", "bin bin-7 is not what its entries make it"),
        ("UPDATE states SET state = '{}' WHERE bin = 'bin-7'", "bin bin-7 is not what its entries make it"),
        ("DELETE FROM bins WHERE bin = 'bin-7'", "bin bin-7 is not what its entries make it"),
        ("INSERT INTO states VALUES ('nowhere', '{}')", "there are bins that no entry tells of"),
        ("INSERT INTO entries VALUES (9999, 'k', 'movement', 'A', 1, 1, 'x', NULL, '{\"delta\":1}')", "is missing"),
        ("INSERT INTO entries VALUES (2119, 'k', 'movement', 'A', 1, 1, 'x', NULL, '{}')", "cannot be read"),
        ("INSERT INTO entries VALUES (2119, 'k', 'magic', 'A', 1, 1, 'x', NULL, '{}')", "cannot be read"),
    ],
)
def test_a_check_finds_what_was_done_behind_the_books_back(ledger: Ledger, harm: str, told: str) -> None:
    number = len(list(filled(ledger).entries()))
    assert list(upkeep.check(ledger)) == []
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql(harm.replace("2119", str(number + 1)))
    (found,) = upkeep.check(ledger)
    assert told in found.what
    assert not found.harmless
    if "entries" not in harm:
        assert upkeep.mend(ledger) == 2100
        assert list(upkeep.check(ledger)) == []


def test_a_check_finds_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with opened(str(path)) as ledger:
        filled(ledger)
    data = bytearray(path.read_bytes())
    data[-40_000:-20_000] = bytes(20_000)
    path.write_bytes(data)
    try:
        with opened(str(path)) as ledger:
            found = [one.what for one in upkeep.check(ledger)]
    except BinventoryError as error:
        found = [str(error)]
    assert "damaged" in found[0]


def test_a_book_of_an_older_version_is_migrated_with_all_that_follows_from_its_entries(
    postgresql: Postgres, tmp_path: Path
) -> None:
    for address in (str(tmp_path / "old.db"), postgresql.database()):
        place = engines.place(address)
        if place.path:
            Path(place.path).touch()
        engine = create_engine(place.url)
        with engine.begin() as connection:
            migrations.upgrade(connection, "0001")
            _old_entry(connection)
        engine.dispose()
        with pytest.raises(InputError, match="book migrate"), opened(address):
            pass
        assert upkeep.migrate(address) == ("0001", "0002")
        assert upkeep.migrate(address) == ("0002", "0002")
        with opened(address, str(tmp_path)) as ledger:
            assert ledger.state("A-1").quantity == 3
            assert list(upkeep.check(ledger)) == []


def _old_entry(connection: Connection) -> None:
    connection.execute(text("INSERT INTO entries VALUES (1, 'k', 'movement', 'A-1', 1, 1, 'x', NULL, :body)"),
                       {"body": '{"delta":3}'})  # fmt: skip


def test_old_photos_go_but_for_those_of_bins_that_wait_and_the_book_says_so(ledger: Ledger) -> None:
    now = BEGIN + timedelta(days=40)
    for bin, day in (("done", 0), ("waits", 0), ("recent", 20)):
        photographed(ledger, bin, day)
    acts.recounted(ledger, "done", 1, "bin", "ann", now, POLICY)
    acts.recounted(ledger, "recent", 1, "bin", "ann", now, POLICY)
    assert retention.retain(ledger, Policy(), now) == 0
    assert retention.retain(ledger, POLICY, now) == 1
    assert retention.retain(ledger, POLICY, now) == 0
    assert [entry.kind for entry in ledger.entries()].count("retention") == 1
    assert len(list(ledger.photos.all())) == 2
    assert ledger.state("done").count
    assert list(upkeep.check(ledger)) == []
    acts.recounted(ledger, "waits", 1, "bin", "ann", now, POLICY)
    assert retention.retain(ledger, POLICY, now) == 1


def test_a_photo_that_was_let_go_and_comes_again_for_another_bin_goes_again(ledger: Ledger) -> None:
    now = BEGIN + timedelta(days=40)
    for days, bin in enumerate(("first", "second", "first", "third")):
        photographed(ledger, bin, data=b"one photo")
        acts.recounted(ledger, bin, 1, "bin", "ann", now, POLICY)
        assert list(upkeep.check(ledger)) == []
        assert retention.retain(ledger, POLICY, now + timedelta(days=days)) == 1
        assert list(ledger.photos.all()) == []
        assert list(upkeep.check(ledger)) == []


def test_the_photo_of_a_bin_that_waits_stays_though_it_was_let_go_before(ledger: Ledger) -> None:
    now = BEGIN + timedelta(days=40)
    photographed(ledger, "waits", data=b"one photo")
    acts.recounted(ledger, "waits", 1, "bin", "ann", BEGIN, POLICY)
    assert retention.retain(ledger, POLICY, now) == 1
    photographed(ledger, "waits", 1, b"one photo", Bundled("e" * 64, "a better bundle", ""))
    assert ledger.state("waits").open
    assert retention.retain(ledger, POLICY, now) == 0
    assert len(list(ledger.photos.all())) == 1
    assert list(upkeep.check(ledger)) == []


def test_a_photo_that_comes_again_while_it_is_let_go_is_there_in_the_end(ledger: Ledger) -> None:
    photographed(ledger, "first", data=b"one photo")
    (sha256,) = ledger.photos.all()
    with ThreadPoolExecutor(1) as pool:
        with ledger.writing() as writing:
            coming = pool.submit(photographed, ledger, "second", data=b"one photo")
            time.sleep(0.3)  # it is kept, and waits to be entered
            writing.append(Entry(keyed("retention", sha256, 0), None, BEGIN, "retention", Forgotten(sha256, "old")))
            ledger.photos.forget(sha256)
        coming.result()
    assert list(upkeep.check(ledger)) == []


@pytest.mark.parametrize("name", ["entries.jsonl", "old", "n" * 251 + ".tar"])
def test_a_backup_may_be_called_anything(ledger: Ledger, empty: Ledger, tmp_path: Path, name: str) -> None:
    made = upkeep.backup(filled(ledger), str(tmp_path / name))
    assert upkeep.restore(empty, str(tmp_path / name)) == made
    assert list(empty.entries()) == list(ledger.entries())


@pytest.mark.parametrize("at", ["2026-03-01T00:00:00", "9999-12-31T23:59:59-12:00"])
def test_a_backup_with_a_time_that_cannot_be_is_no_whole_one(empty: Ledger, tmp_path: Path, at: str) -> None:
    line = f'{{"seq":1,"key":"k","kind":"movement","bin":"A","at":"{at}","entered":"2026-03-01T00:00:00Z",'
    data = (line + '"who":"x","consignment":null,"body":{"delta":1}}').encode()
    with tarfile.open(tmp_path / "backup.tar", "w") as tar:
        member = tarfile.TarInfo("entries.jsonl")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InputError, match="no whole backup"):
        upkeep.restore(empty, str(tmp_path / "backup.tar"))


def test_what_was_to_go_goes_the_next_time_where_it_was_interrupted(ledger: Ledger) -> None:
    now = BEGIN + timedelta(days=40)
    photographed(ledger, "done")
    acts.recounted(ledger, "done", 1, "bin", "ann", now, POLICY)
    assert retention.retain(ledger, POLICY, now) == 1
    ledger.photos.keep(b"done 0")  # as if it had been entered, and the process killed then
    assert [one.harmless for one in upkeep.check(ledger)] == [True]
    assert retention.retain(ledger, POLICY, now) == 1
    assert list(upkeep.check(ledger)) == []
