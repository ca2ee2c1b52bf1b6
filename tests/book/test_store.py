"""Entries stay as they were entered, once each, whoever writes; a book's address says what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from binventory.book import engines, upkeep
from binventory.book.entries import Body, Entry, Expected, Moved, Recounted
from binventory.book.store import Ledger, opened
from binventory.errors import BinventoryError, InputError, OutsideError, RecordError, UsageError
from binventory.records import Item
from postgres import PASSWORD, Postgres
from s3server import free_ports

BEGIN = datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)


def entry(key: str, body: Body | None = None, bin: str | None = "A-1", hour: int = 0) -> Entry:
    return Entry(key, bin, BEGIN + timedelta(hours=hour), "scanner", body or Moved(1))


def without_place(entries: Iterable[Entry]) -> list[Entry]:
    return [replace(one, seq=None, entered=None) for one in entries]


def test_what_was_entered_is_read_again_in_order_with_its_place_and_time(ledger: Ledger) -> None:
    item = Item("Schlüssel ✓", None, "a\0b", 5, 1.5, None, None, None, gtin="4006381333931", value=0.1)
    found = Recounted(4, "photo")
    given = [entry("1", Expected(5, (item,), "wms\n")), entry("2", bin="ä"), entry("3", found, bin=None)]
    assert ledger.append(given) == (True, True, True)
    there = list(ledger.entries())
    assert without_place(there) == given
    assert [one.seq for one in there] == [1, 2, 3]
    assert all(one.entered is not None and one.entered > BEGIN for one in there)
    assert ledger.entry("2") == there[1]
    assert ledger.entry("4") is None


def test_entries_are_found_by_kind_bin_and_consignment_from_a_place_on(ledger: Ledger) -> None:
    ledger.append([entry(str(n), Expected(n) if n % 2 else None, f"bin-{n % 3}") for n in range(5000)])
    ledger.append([replace(entry("of-asn"), consignment="ASN-1")])
    assert [one.key for one in ledger.entries(after=4998)] == ["4998", "4999", "of-asn"]
    assert [one.key for one in ledger.entries(kinds=("expectation",), bin="bin-1", most=2)] == ["1", "7"]
    assert [one.key for one in ledger.entries(consignment="ASN-1")] == ["of-asn"]
    assert len(list(ledger.entries())) == 5001
    assert ledger.state("bin-0").movements == 834


def test_a_key_is_entered_once_whoever_sends_it_and_never_with_other_content(ledger: Ledger) -> None:
    assert ledger.append([entry("1"), entry("1"), entry("2")]) == (True, False, True)
    assert ledger.append([replace(entry("1"), who="somebody else")]) == (False,)
    for other in (entry("1", Moved(2)), entry("1", bin="B"), entry("1", hour=1), entry("1", Expected(1)),
                  replace(entry("1"), consignment="ASN-1")):  # fmt: skip
        with pytest.raises(RecordError, match="entry 1 is in the book with other content"):
            ledger.append([entry("3"), other])
    assert [one.key for one in ledger.entries()] == ["1", "2"]
    assert ledger.state("A-1").quantity == 2


@pytest.mark.parametrize(
    "wrong",
    [
        entry(""), entry("a\nb"), entry("k" * 201), entry("k", bin=""), replace(entry("k"), who="\ud800"),
        entry("k", Expected(-1)), entry("k", Recounted(100_001, "bin")), entry("k", Recounted(1, "desk")),  # type: ignore[arg-type]
        entry("k", Moved(1, "\ud800")),
    ],
)  # fmt: skip
def test_what_may_not_be_entered_is_refused_with_all_that_comes_with_it(ledger: Ledger, wrong: Entry) -> None:
    with pytest.raises(RecordError):
        ledger.append([entry("good"), wrong])
    assert list(ledger.entries()) == []


def test_an_entry_cannot_be_changed_or_removed_in_the_database_itself(ledger: Ledger) -> None:
    ledger.append([entry("1")])
    attempts = ["UPDATE entries SET who = 'me'", "DELETE FROM entries"]
    for attempt in attempts + (["TRUNCATE entries"] if ledger.engine.dialect.name == "postgresql" else []):
        with pytest.raises(exc.DBAPIError, match="never changed or removed"), ledger.engine.begin() as connection:
            connection.execute(text(attempt))
    assert len(list(ledger.entries())) == 1


def test_writers_at_once_lose_nothing_and_double_nothing(book: str, tmp_path: Path) -> None:
    def write(place: int) -> int:
        with opened(book, str(tmp_path)) as ledger:
            return sum(ledger.append([entry(f"{n if n % 2 else (place, n)}", hour=n)])[0] for n in range(40))

    with ThreadPoolExecutor(6) as pool:
        new = sum(pool.map(write, range(6)))
    with opened(book, str(tmp_path)) as ledger:
        found = list(ledger.entries())
        assert [one.seq for one in found] == list(range(1, len(found) + 1))
        assert len(found) == new == 20 + 6 * 20
        assert ledger.state("A-1").quantity == new
        assert list(upkeep.check(ledger)) == []


def test_what_a_writer_has_read_stays_so_until_it_has_written(ledger: Ledger) -> None:
    def raise_to_ten(place: int) -> None:
        with ledger.writing() as writing:
            have = writing.state("A-1").quantity or 0
            if have < 10:
                writing.append(entry(f"{place}", Moved(10 - have)))
                assert writing.state("A-1").quantity == 10

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(raise_to_ten, range(12)))
    assert ledger.state("A-1").quantity == 10
    assert len(list(ledger.entries())) == 1


def test_processes_that_make_one_book_at_once_end_with_one(tmp_path: Path) -> None:
    address = str(tmp_path / "deep" / "er" / "my book?%41#.db")

    def make(place: int) -> bool:
        with opened(address) as ledger:
            return ledger.append([entry(str(place))]) == (True,)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(make, range(6)))
    with opened(address) as ledger:
        assert len(list(ledger.entries())) == 6
    assert sorted(os.listdir(os.path.dirname(address))) == ["my book?%41#.db"]


def test_a_log_without_its_book_is_not_played_into_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "book.db-wal").write_bytes(b"what was entered last")
    assert "put" in refusal(tmp_path / "book.db", InputError)


def refusal(address: Path | str, kind: type[BinventoryError]) -> str:
    with pytest.raises(kind) as caught, opened(str(address)) as ledger:
        list(ledger.entries())
    return str(caught.value)


def test_a_file_that_is_no_book_is_told_for_what_it_is(tmp_path: Path, made_book: Path) -> None:
    (tmp_path / "empty").touch()
    assert "is empty" in refusal(tmp_path / "empty", InputError)
    (tmp_path / "text").write_text("bin,quantity\n" * 100)
    assert "is no book" in refusal(tmp_path / "text", InputError)
    with sqlite3.connect(tmp_path / "foreign") as other:
        other.execute("CREATE TABLE photos (id)")
    other.close()
    assert "another program's" in refusal(tmp_path / "foreign", InputError)
    assert "no regular file" in refusal(tmp_path, InputError)
    (tmp_path / "damaged").write_bytes(made_book.read_bytes()[:4096] + os.urandom(40_000))
    assert "damaged" in refusal(tmp_path / "damaged", InputError)
    assert "cannot be made" in refusal(tmp_path / "text" / "book.db", OutsideError)


@pytest.mark.parametrize(("revision", "told"), [("0001", "book migrate"), ("9999", "newer version")])
def test_a_book_of_another_version_is_refused_with_what_to_do(ledger: Ledger, revision: str, told: str) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE book_version SET version_num = :it"), {"it": revision})
    with pytest.raises(InputError, match=told):
        engines.refuse_other_versions(ledger.engine, ledger.name)


def test_a_locked_book_is_told_and_a_reader_does_not_wait(
    ledger: Ledger, book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.2)
    with opened(book, str(tmp_path)) as other, ledger.writing() as writing:
        writing.append(entry("1"))
        with pytest.raises(OutsideError, match="nother program has been writing"):
            other.append([entry("2")])
        assert list(other.entries()) == []
    assert [one.key for one in ledger.entries()] == ["1"]


def test_writers_see_each_other_whatever_the_server_takes_for_granted(postgresql: Postgres, tmp_path: Path) -> None:
    address = postgresql.database()
    with opened(address, str(tmp_path)) as ledger, ledger.engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"))

    def write(place: int) -> None:
        with opened(address, str(tmp_path)) as ledger:
            for n in range(10):
                ledger.append([entry(f"{place}-{n}")])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with opened(address, str(tmp_path)) as ledger:
        assert ledger.state("A-1").quantity == 60


def test_a_writer_that_says_nothing_any_more_stops_nobody(
    postgresql: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_SILENCE_S", 1)
    address = postgresql.database()
    with opened(address, str(tmp_path)) as other, opened(address, str(tmp_path)) as ledger:
        with pytest.raises(OutsideError, match="silent for too long"), ledger.writing() as writing:
            writing.append(entry("1"))
            other.append([entry("2")])
            writing.append(entry("3"))
        assert ledger.append([entry("4")]) == (True,)
        assert [one.key for one in other.entries()] == ["2", "4"]


@pytest.mark.parametrize("address", ["", "mysql://u:secret@host/db", "s3://bucket/book.db", "sqlite://", "http://["])
def test_an_address_of_no_book_is_a_usage_error(address: str) -> None:
    assert "secret" not in refusal(address, UsageError)


def test_a_server_that_refuses_is_told_without_the_password(postgresql: Postgres) -> None:
    (port,) = free_ports(1)
    gone = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/book"
    for address in (gone, postgresql.url("nothing"), postgresql.url("made", "wrong-password")):
        told = refusal(address, OutsideError)
        assert told.startswith("postgresql://")
        assert PASSWORD not in told
        assert "wrong-password" not in told
    foreign = postgresql.database()
    with engines.connected(engines.place(foreign)) as engine, engine.begin() as connection:
        connection.execute(text("DROP TABLE entries, states, bins, book_version"))
        connection.execute(text("CREATE TABLE photos (id int)"))
    assert "another program's" in refusal(foreign, InputError)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'binventory[postgres]'" in refusal("postgresql://me@127.0.0.1/book", UsageError)
