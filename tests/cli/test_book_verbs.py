"""The verbs of the book as a site uses them, from its records to an adjusted stock: real processes, drawn bins."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WHO = ("--who", "ana")


def binventory(*words: object, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the command as its users do. Whatever happens, there is never a traceback."""
    environment = {name: value for name, value in os.environ.items() if name != "BINVENTORY_BOOK"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
        input=stdin, capture_output=True, cwd=cwd, check=False, timeout=120,
        env=environment | {"XDG_DATA_HOME": str(cwd / "home")},
    )  # fmt: skip
    told = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in told.stderr, told.stderr
    return told


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder with a site's TOML that names its book."""
    (tmp_path / "binventory.toml").write_text('[book]\nurl = "site.db"\n[policy]\nvariance_limit = 2\n')
    return tmp_path


def records(place: Path, bins: Path, numbers: range, change: dict[str, int] | None = None) -> dict[str, int]:
    """Write ``records.csv`` of drawn bins, some totals changed; what it says by bin."""
    told = {}
    with (place / "records.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("bin", "sku", "quantity", "value", "at"))
        for number in numbers:
            bin = f"{number:05d}"
            record = json.loads((bins / "metadata" / f"{bin}.json").read_text())
            lines = {sku: line["quantity"] for sku, line in record["BIN_FCSKU_DATA"].items()}
            if change and bin in change:
                lines[next(iter(lines))] += change[bin]
            for sku, quantity in (lines or {"": 0}).items():
                writer.writerow((bin, sku, quantity, 2.5, "2026-01-12T06:00:00Z"))
            told[bin] = sum(lines.values())
    return told


@pytest.mark.parametrize("words", [
    ["stock"], ["stock", "--accuracy"], ["stock", "A-1", "--history"], ["plan"], ["review"], ["book", "check"],
])  # fmt: skip
def test_a_book_that_is_not_there_yet_answers_with_nothing_and_no_error(words: list[str], here: Path) -> None:
    done = binventory(*words, "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert all(row.get("bins", {}).get("counted") == 0 for row in rows(done))


def test_from_records_and_photos_to_a_verdict_and_a_queue(here: Path, bins: Path, site: Path) -> None:
    told = records(here, bins, range(1, 9))
    assert binventory("expect", "records.csv", cwd=here).returncode == 0
    again = binventory("expect", "records.csv", "--json", cwd=here)
    assert rows(again) == [{"entered": 0, "known": 8, "rejected": 0}]
    names = [bins / "bin-images" / f"{bin}.jpg" for bin in told]
    done = binventory("verify", *names, "--bundle", site, "--json", cwd=here)
    assert done.returncode in (0, 1), done.stderr
    verdicts = {row["bin"]: row for row in rows(done)}
    assert verdicts.keys() == told.keys()
    for bin, row in verdicts.items():
        assert {"bin", "photo", "verdict", "p_right", "expected", "count", "interval", "reason"} <= row.keys()
        assert row["expected"] == told[bin]
        assert row["verdict"] in ("match", "short", "over", "recount")
        assert 0 <= row["p_right"] <= 1
    assert done.returncode == int(any(row["verdict"] != "match" for row in verdicts.values()))
    queue = rows(binventory("review", "--json", cwd=here))
    assert {row["bin"] for row in queue} == {bin for bin, row in verdicts.items() if row["verdict"] != "match"}
    assert all(row.keys() == {"bin", "photo", "at"} and Path(row["photo"]).is_file() for row in queue)
    booked = binventory("stock", "--history", "00001", "--json", cwd=here)
    assert [row["kind"] for row in rows(booked)] == ["expectation", "photo", "count", "verdict"]
    binventory("verify", *names, "--bundle", site, cwd=here)
    assert booked.stdout == binventory("stock", "--history", "00001", "--json", cwd=here).stdout


def test_a_quantity_that_is_given_is_held_against_the_photo_and_leaves_the_record(
    here: Path, bins: Path, site: Path
) -> None:
    records(here, bins, range(1, 3))
    binventory("expect", "records.csv", cwd=here)
    photo = bins / "bin-images" / "00001.jpg"
    before = binventory("stock", "00001", "--json", cwd=here)
    (asked,) = rows(binventory("verify", photo, "--bundle", site, "--quantity", 77, "--json", cwd=here))
    assert asked["expected"] == 77
    assert asked["verdict"] in ("over", "short", "recount")
    assert asked["p_right"] < 0.5
    after = binventory("stock", "00001", "--json", cwd=here)
    assert rows(after)[0]["quantity"] == rows(before)[0]["quantity"]


def test_a_photo_whose_bin_nobody_tells_is_refused_with_the_way_out_and_the_others_go_on(
    here: Path, bins: Path, site: Path
) -> None:
    records(here, bins, range(1, 2))
    binventory("expect", "records.csv", cwd=here)
    stray = here / "IMG_2041.jpg"
    shutil.copy(bins / "bin-images" / "00002.jpg", stray)
    done = binventory("verify", stray, bins / "bin-images" / "00001.jpg", "--bundle", site, "--json", cwd=here)
    assert done.returncode == 3
    bad, good = rows(done)
    assert "--bin" in bad["error"]["next"]
    assert good["bin"] == "00001"
    (named,) = rows(binventory("verify", stray, "--bin", "Z-9", "--bundle", site, "--json", cwd=here))
    assert (named["bin"], named["expected"], named["verdict"], named["p_right"]) == ("Z-9", None, "recount", None)


def test_photos_without_bins_each_speak_for_themselves(here: Path, bins: Path, site: Path) -> None:
    for number in (2, 3):
        shutil.copy(bins / "bin-images" / f"0000{number}.jpg", here / f"IMG_{number}.jpg")
    done = binventory("verify", "IMG_2.jpg", "IMG_3.jpg", "--quantity", 2, "--bundle", site, "--json", cwd=here)
    assert [(row["bin"], row["photo"]) for row in rows(done)] == [(None, "IMG_2.jpg"), (None, "IMG_3.jpg")]
    assert rows(binventory("stock", "--json", cwd=here)) == []


def test_how_many_of_what_passed_may_be_wrong_is_said_where_a_rate_is_declared(
    here: Path, bins: Path, site: Path
) -> None:
    records(here, bins, range(1, 3))
    binventory("expect", "records.csv", cwd=here)
    photo = bins / "bin-images" / "00001.jpg"
    binventory("verify", photo, "--bundle", "open", cwd=here)
    asked = ("stock", "--accuracy", "--json")
    assert rows(binventory(*asked, cwd=here))[0]["wrong_among_passed"] is None
    (here / "sure.toml").write_text('[book]\nurl = "site.db"\n[policy]\nwrong_rate = 0.02\n')
    assert 0 < rows(binventory(*asked, "--site", "sure.toml", cwd=here))[0]["wrong_among_passed"] < 0.1


def test_bad_rows_are_told_one_by_one_and_the_good_kept_or_nothing_by_choice(here: Path) -> None:
    (here / "wms.csv").write_text("Location;Qty\nA-1;3\nA-2;many\nA-3;-1\nA-4;4\n")
    whole = binventory("expect", "wms.csv", "--all-or-nothing", cwd=here)
    assert whole.returncode == 3
    assert "Line 3" in whole.stderr and "Line 4" in whole.stderr
    assert rows(binventory("stock", "--json", cwd=here)) == []
    some = binventory("expect", "wms.csv", "--json", cwd=here)
    assert some.returncode == 3
    first, *bad = rows(some)
    assert first == {"entered": 2, "known": 0, "rejected": 2}
    assert [row["line"] for row in bad] == [3, 4]
    assert {row["bin"]: row["quantity"] for row in rows(binventory("stock", "--json", cwd=here))} == {
        "A-1": 3,
        "A-4": 4,
    }


def test_a_recount_moves_nothing_until_someone_adjusts_and_a_large_one_wants_another_person(here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity,at\nA-1,10,2026-01-12T06:00:00Z\nA-2,10,2026-01-12T06:00:00Z\n")
    binventory("expect", "wms.csv", cwd=here)
    found = binventory("review", "recount", "A-1", 9, *WHO, "--json", cwd=here)
    assert found.returncode == 1
    assert rows(found)[0]["variance"] == -1
    assert rows(binventory("stock", "A-1", "--json", cwd=here))[0]["quantity"] == 10
    assert binventory("review", "adjust", "A-1", *WHO, cwd=here).returncode == 0
    assert binventory("review", "adjust", "A-1", *WHO, cwd=here).returncode == 0
    assert rows(binventory("stock", "A-1", "--json", cwd=here))[0]["quantity"] == 9

    assert rows(binventory("review", "recount", "A-2", 6, *WHO, "--json", cwd=here))[0]["needs_approval"] is True
    refused = binventory("review", "adjust", "A-2", *WHO, cwd=here)
    assert refused.returncode == 3
    assert "review approve A-2" in refused.stderr
    assert "t was ana" in binventory("review", "approve", "A-2", *WHO, cwd=here).stderr
    assert binventory("review", "approve", "A-2", "--who", "ben", cwd=here).returncode == 0
    assert binventory("review", "adjust", "A-2", *WHO, cwd=here).returncode == 0
    (stock,) = rows(binventory("stock", "A-2", "--json", cwd=here))
    assert (stock["quantity"], stock["variance"], stock["outstanding"]) == (6, -4, 0)
    (accuracy,) = rows(binventory("stock", "--accuracy", "--json", cwd=here))
    assert (accuracy["bins"]["counted"], accuracy["bins"]["right"]) == (2, 0)
    assert (accuracy["net"], accuracy["gross"]) == (-5, 5)


def test_what_is_advised_is_typed_on_the_same_book_and_a_slip_makes_no_bin(here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity\n00098,10\n")
    on = ("--book", "other book.db")
    binventory("expect", "wms.csv", *on, cwd=here)
    found = binventory("review", "recount", "00098", 4, *WHO, *on, cwd=here)
    assert found.stderr.strip().endswith(
        "Next: binventory review approve 00098 --book 'other book.db', by another person"
    )
    refused = binventory("review", "adjust", "00098", *WHO, *on, cwd=here)
    assert refused.stderr.strip().endswith("binventory review approve 00098 --book 'other book.db'.")
    (waiting,) = rows(binventory("review", "variances", "--json", *on, cwd=here))
    assert (waiting["outstanding"], waiting["waits_for"]) == (-6, "another person's approval")
    slip = binventory("review", "recount", "98", 4, *WHO, *on, cwd=here)
    assert slip.returncode == 3
    assert "Try: 00098, or --new" in slip.stderr
    assert [row["bin"] for row in rows(binventory("stock", "--json", *on, cwd=here))] == ["00098"]
    asked = binventory("stock", "--book", "typo.db", cwd=here)
    assert asked.returncode == 0
    assert "no book at typo.db" in asked.stderr
    assert not (here / "typo.db").exists()


def test_a_photo_older_than_a_table_without_times_is_held_against_it(here: Path, bins: Path, site: Path) -> None:
    photo = here / "old.jpg"
    shutil.copy(bins / "bin-images" / "00001.jpg", photo)
    os.utime(photo, (1_700_000_000, 1_700_000_000))
    (here / "wms.csv").write_text("bin,quantity\nA-1,3\n")
    binventory("expect", "wms.csv", cwd=here)
    (row,) = rows(binventory("verify", photo, "--bin", "A-1", "--bundle", site, "--json", cwd=here))
    assert row["expected"] == 3
    assert row["p_right"] is not None


def test_a_movement_that_comes_late_explains_a_variance(here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity,at\nA-1,10,2026-01-12T06:00:00Z\n")
    binventory("expect", "wms.csv", cwd=here)
    binventory("review", "recount", "A-1", 8, *WHO, cwd=here)
    (here / "late.csv").write_text("bin,delta,reference,at\nA-1,-2,PICK-7,2026-01-12T07:00:00Z\n")
    assert binventory("move", "late.csv", cwd=here).returncode == 0
    (stock,) = rows(binventory("stock", "A-1", "--json", cwd=here))
    assert (stock["quantity"], stock["recounted"], stock["variance"]) == (8, 8, 0)


def entered(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """How many entries were new and how many known."""
    first = rows(done)[0]
    return first["entered"], first["known"]


def test_movements_that_come_again_move_nothing(here: Path) -> None:
    log = b"bin,delta,reference\nA-1,-2,PICK-7\nA-1,-1,\nA-1,-1,\n"
    (here / "log.csv").write_bytes(log)
    first = binventory("move", "log.csv", "--json", cwd=here)
    assert entered(first) == (3, 0)
    assert "log.csv: 2 rows have neither a time nor a reference" in first.stderr
    shutil.copy(here / "log.csv", here / "copy.csv")
    os.utime(here / "copy.csv", (1_700_000_000, 1_700_000_000))
    assert entered(binventory("move", "copy.csv", "--json", cwd=here)) == (0, 3)
    assert entered(binventory("move", "-", "--json", cwd=here, stdin=log)) == (0, 3)
    (here / "grown.csv").write_text("bin,delta,reference\nA-1,-2,PICK-7\nA-1,4,PUT-1\n")
    assert entered(binventory("move", "grown.csv", "--json", cwd=here)) == (1, 1)
    binventory("book", "export", "--out", "all.csv", "--kind", "movement", "--as-imported", cwd=here)
    assert entered(binventory("move", "all.csv", "--json", cwd=here)) == (0, 4)


def test_one_record_that_the_book_has_from_another_file_keeps_no_other_out(here: Path) -> None:
    (here / "mon.csv").write_text("bin,quantity,at\nA-1,3,2026-01-12T06:00:00Z\n")
    (here / "tue.csv").write_text("bin,quantity,at\nA-1,3,2026-01-12T06:00:00Z\nA-2,4,2026-01-13T06:00:00Z\n")
    assert entered(binventory("expect", "mon.csv", "--json", cwd=here)) == (1, 0)
    assert entered(binventory("expect", "tue.csv", "--json", cwd=here)) == (1, 1)
    assert len(rows(binventory("stock", "--json", cwd=here))) == 2
    move = "bin,delta,reason,at\nA-1,-1,{},2026-01-13T06:00:00Z\nA-2,{},,2026-01-14T06:00:00Z\n"
    (here / "moves.csv").write_text(move.format("picked", 1))
    assert entered(binventory("move", "moves.csv", "--json", cwd=here)) == (2, 0)
    (here / "moves.csv").write_text(move.format("stolen", 2))
    assert entered(binventory("move", "moves.csv", "--json", cwd=here)) == (1, 1)


@pytest.mark.parametrize("words", [(), ("--all-or-nothing",)])
def test_a_large_import_is_entered_to_the_last_row(words: tuple[str, ...], here: Path) -> None:
    lines = [f"A-{number},{number % 20},2026-01-12T06:00:00Z\n" for number in range(2_100)]
    (here / "wms.csv").write_text("bin,quantity,at\n" + "".join(lines))
    assert entered(binventory("expect", "wms.csv", *words, "--json", cwd=here)) == (2_100, 0)
    assert entered(binventory("expect", "wms.csv", *words, "--json", cwd=here)) == (0, 2_100)


def test_a_consignment_that_comes_again_is_no_other_and_what_it_says_last_stands(here: Path) -> None:
    asn = here / "OUT-8.csv"
    for day, quantity in enumerate((5, 6, 5, 5)):
        asn.write_text(f"bin,quantity\nT-1,{quantity}\n")
        os.utime(asn, (1_760_000_000 + day * 86_400, 1_760_000_000 + day * 86_400))
        assert binventory("consign", asn, cwd=here).returncode == 1
        assert binventory("consign", asn, cwd=here).returncode == 1
    binventory("book", "export", "--out", "said.csv", "--kind", "consignment", cwd=here)
    said = [row["quantity"] for row in csv.DictReader((here / "said.csv").read_text().splitlines())]
    assert said == ["5", "6", "5", "5"]


def test_a_consignment_that_is_piped_in_names_itself(here: Path) -> None:
    unnamed = binventory("consign", "-", cwd=here, stdin=b"bin,quantity\nT-1,5\n")
    assert unnamed.returncode == 3
    assert "names no consignment" in unnamed.stderr and "Try: " in unnamed.stderr
    named = binventory("consign", "-", "--json", cwd=here, stdin=b"bin,quantity,consignment\nT-1,5,OUT-9\n")
    assert rows(named)[0]["consignment"] == "OUT-9"


def test_a_bin_is_the_same_however_its_name_was_typed(here: Path) -> None:
    composed, apart = "K\u00fc-1", " Ku\u0308-1"
    (here / "wms.csv").write_text(f"bin,quantity,at\n{composed},10,2026-01-12T06:00:00Z\n")
    binventory("expect", "wms.csv", cwd=here)
    assert rows(binventory("review", "recount", apart, 6, *WHO, "--json", cwd=here))[0]["variance"] == -4
    assert binventory("review", "approve", apart, "--who", "ben", cwd=here).returncode == 0
    assert binventory("review", "adjust", apart, *WHO, cwd=here).returncode == 0
    assert [row["bin"] for row in rows(binventory("stock", "--json", cwd=here))] == [composed]
    export = ("book", "export", "--out", "x.csv", "--kind", "recount", "--bin", apart, "--json")
    assert rows(binventory(*export, cwd=here))[0]["rows"] == 1


def test_an_adjustment_that_reaches_a_later_photo_has_it_judged_anew(here: Path, bins: Path, site: Path) -> None:
    told = records(here, bins, range(1, 2), {"00001": 1})
    binventory("expect", "records.csv", cwd=here)
    binventory("review", "recount", "00001", told["00001"] - 1, *WHO, cwd=here)
    later = shutil.copy(bins / "bin-images" / "00001.jpg", here)
    assert binventory("verify", later, "--bin", "00001", "--bundle", site, cwd=here).returncode in (0, 1)
    binventory("review", "adjust", "00001", *WHO, cwd=here)
    (stock,) = rows(binventory("stock", "00001", "--json", cwd=here))
    assert (stock["quantity"], stock["stale"]) == (told["00001"] - 1, False)


def test_what_follows_from_the_entries_is_made_anew_when_asked(here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity,at\nA-1,10,2026-01-12T06:00:00Z\n")
    binventory("expect", "wms.csv", cwd=here)
    with sqlite3.connect(here / "site.db") as connection:
        connection.execute("UPDATE bins SET quantity = 99")
    connection.close()
    found = binventory("book", "check", cwd=here)
    assert found.returncode == 1
    assert "book mend" in found.stderr
    assert rows(binventory("book", "mend", "--json", cwd=here)) == [{"bins": 1}]
    assert binventory("book", "check", cwd=here).returncode == 0


def test_what_may_leave_of_a_consignment_grows_with_what_people_found(here: Path, bins: Path, site: Path) -> None:
    told = records(here, bins, range(1, 11))
    shutil.move(here / "records.csv", here / "OUT-7.csv")
    first = binventory("consign", "OUT-7.csv", "--json", cwd=here)
    assert first.returncode == 1
    (row,) = rows(first)
    assert row["consignment"] == "OUT-7"
    assert row["release"] == []
    assert sorted(row["recount"]) == sorted(told)
    right, wrong = row["recount"][0], row["recount"][1]
    for bin, found in ((right, told[right]), (wrong, told[wrong] + 1)):
        binventory("review", "recount", bin, found, "--consignment", "OUT-7", *WHO, cwd=here)
    done = binventory("consign", "OUT-7.csv", "--json", "--discrepancies", "found.csv", cwd=here)
    (row,) = rows(done)
    assert row["release"] == [right]
    assert row["wrong"] == [wrong]
    assert row["p_all_right"] == 0
    (discrepancy,) = csv.DictReader((here / "found.csv").read_text().splitlines())
    assert (discrepancy["bin"], discrepancy["word"], discrepancy["difference"]) == (wrong, "over-shipped", "1")
    assert binventory("consign", "OUT-7.csv", "--discrepancies", "found.jsonld", cwd=here).returncode == 1
    assert json.loads((here / "found.jsonld").read_text())["type"] == "EPCISDocument"


def test_a_backup_fills_an_empty_book_and_an_export_reads_as_the_import(here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity,sku,at\nA-1,3,=cmd,2026-01-12T06:00:00Z\n")
    binventory("expect", "wms.csv", cwd=here)
    binventory("review", "recount", "A-1", 3, *WHO, cwd=here)
    assert binventory("book", "backup", "book.tar", cwd=here).returncode == 0
    assert binventory("book", "restore", "book.tar", "--book", "other.db", cwd=here).returncode == 0
    assert binventory("book", "check", "--book", "other.db", cwd=here).returncode == 0
    history = ("stock", "--history", "A-1", "--json")
    assert binventory(*history, cwd=here).stdout == binventory(*history, "--book", "other.db", cwd=here).stdout
    assert binventory("book", "restore", "book.tar", cwd=here).returncode != 0
    export = ("book", "export", "--out", "again.xlsx", "--kind", "expectation", "--as-imported")
    assert binventory(*export, cwd=here).returncode == 0
    known = binventory("expect", "again.xlsx", "--json", cwd=here)
    assert rows(known) == [{"entered": 0, "known": 1, "rejected": 0}]


@pytest.mark.parametrize(("words", "status", "told"), [
    (["verify", "nowhere.jpg", "--bin", "A"], 3, "nowhere.jpg"),
    (["verify", "wms.csv", "--bin", "A"], 3, "wms.csv"),
    (["expect", "nowhere.csv"], 3, "nowhere.csv does not exist"),
    (["expect", "binventory.toml"], 3, "binventory.toml"),
    (["move", "wms.csv"], 3, "delta"),
    (["consign", "nowhere.csv"], 3, "nowhere.csv does not exist"),
    (["watch", "nowhere"], 3, "nowhere"),
    (["stock", "--history"], 2, "one bin"),
    (["stock", "--history", "--accuracy", "A"], 2, "exclude"),
    (["stock", "--site", "nowhere.toml"], 2, "nowhere.toml"),
    (["stock", "--book", "wms.csv"], 3, "wms.csv"),
    (["stock", "--book", "postgresql://127.0.0.1:1/none"], 4, "127.0.0.1"),
    (["stock", "--book", "mysql://u:secret@127.0.0.1/b"], 2, "mysql"),
    (["review", "recount", "A-1", "3", "--where", "shelf"], 3, "--where bin"),
    (["review", "recount", "A-1", "3", "--new", "--line", "X"], 3, "SKU=N"),
    (["review", "adjust", "A-1"], 3, "no book at"),
    (["book", "backup", "b.tar"], 3, "no book at"),
    (["review", "adjust", " "], 2, "names no bin"),
    (["review", "recount", "A" * 101, "3"], 2, "100 printable characters"),
    (["book", "retain", "--site", "long.toml"], 2, "keep_photos_days"),
    (["book", "export", "--out", "x.pdf"], 3, "x.pdf"),
    (["book", "export", "--out", "x.csv", "--kind", "nothing"], 2, "--kind"),
    (["book", "restore", "wms.csv", "--book", "new.db"], 3, "wms.csv"),
])  # fmt: skip
def test_what_does_not_fit_is_told_in_one_sentence(words: list[str], status: int, told: str, here: Path) -> None:
    (here / "wms.csv").write_text("bin,quantity\nA-1,3\n")
    (here / "long.toml").write_text("[policy]\nkeep_photos_days = 1000000\n")
    done = binventory(*words, cwd=here)
    said = [line for line in done.stderr.splitlines() if not line.startswith(("licence:", "note:"))]
    assert done.returncode == status, done.stderr
    assert len(said) == 1 and told in said[0] and re.search(r" Try: .+\.$", said[0]), said
    assert "secret" not in done.stderr
