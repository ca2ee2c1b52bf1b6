"""Fetching and selecting as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from binventory import objects
from faults import Proxy
from s3server import S3Server

pytestmark = pytest.mark.timeout(120)


def binventory(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its users do. Whatever happens, there is never a traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def place(bins: Path, bucket: S3Server) -> str:
    """Forty of the drawn bins in the public bucket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", bucket.key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
        for path in [*sorted((bins / "bin-images").iterdir())[:40], *sorted((bins / "metadata").iterdir())[:40]]:
            objects.write(f"s3://public/drawn/{path.parent.name}/{path.name}", path.read_bytes())
    return "s3://public/drawn"


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_records_come_first_a_list_is_made_of_them_and_its_photos_follow(
    bins: Path, place: str, faulty: Proxy, tmp_path: Path
) -> None:
    source = ("--from", place, "--endpoint-url", faulty.endpoint)
    done = binventory("fetch", "--all", "--only", "metadata", *source, "--out", "far", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (told,) = rows(done)
    assert (told["fetched"], told["there"], told["failed"]) == (40, 0, 0)
    assert told["bytes"] == sum(len((bins / name).read_bytes()) for name in there(tmp_path / "far"))
    binventory("catalogue", "--data", "far", "--work", "work", cwd=tmp_path)
    done = binventory("select", "--work", "work", "--counts", "1-3", "--size", "6", "--balanced", "--out", "list.json",
                      "--json", cwd=tmp_path)  # fmt: skip
    assert rows(done) == [{"list": "list.json", "counts": {"1": 2, "2": 2, "3": 2}}]
    none = binventory("select", "--work", "work", "--counts", "99", "--out", "none.json", cwd=tmp_path)
    assert (none.returncode, (tmp_path / "none.json").exists()) == (3, False)
    assert "There are no ids of counts 99" in none.stderr
    few = binventory("select", "--work", "work", "--size", "9999", "--balanced", "--out", "few.json", cwd=tmp_path)
    assert "ids instead of 9,999: there are no more of some counts" in few.stderr
    chosen = {Path(one).stem for ids in json.loads((tmp_path / "list.json").read_text()).values() for one in ids}
    done = binventory("fetch", "--list", "list.json", *source, "--out", "far", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {one for one in there(tmp_path / "far") if one.endswith(".jpg")} == {f"bin-images/{id}.jpg" for id in chosen}
    (told,) = rows(done)
    assert (told["fetched"], told["there"]) == (6, 6)
    more = binventory("fetch", "--where", "count = 4", "--work", "work", *source, "--out", "four", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert any(one.endswith(".jpg") for one in there(tmp_path / "four"))


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["00001", "00002"], ["00001", "00002"]),
        (["--ids", "00001,00003"], ["00001", "00003"]),
        (["--range", "00009-00011"], ["00009", "00010", "00011"]),
        (["--all", "--limit", "2"], ["00001", "00002"]),
    ],
)
def test_each_way_to_choose_chooses(
    words: list[str], ids: list[str], place: str, faulty: Proxy, tmp_path: Path
) -> None:
    done = binventory("fetch", *words, "--from", place, "--endpoint-url", faulty.endpoint, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert there(tmp_path) == {name for id in ids for name in (f"bin-images/{id}.jpg", f"metadata/{id}.json")}
    assert done.stdout.startswith(f"fetched\t{2 * len(ids)}\nthere\t0\nfailed\t0\n")


def test_a_condition_chooses_from_the_catalogue(bins: Path, place: str, faulty: Proxy, tmp_path: Path) -> None:
    binventory("catalogue", "--data", bins, "--work", tmp_path / "work")
    done = binventory("fetch", "--where", "id < '00003'", "--work", tmp_path / "work", "--only", "photos",
                      "--from", place, "--endpoint-url", faulty.endpoint, "--out", tmp_path / "far")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert there(tmp_path / "far") == {"bin-images/00001.jpg", "bin-images/00002.jpg"}


def test_failures_are_rows_and_sentences_and_the_status_says_whose_they_are(
    place: str, faulty: Proxy, tmp_path: Path
) -> None:
    words = ("fetch", "--range", "00039-00070", "--only", "photos", "--from", place, "--endpoint-url", faulty.endpoint,
             "--out", tmp_path)  # fmt: skip
    done = binventory(*words, "--json")
    assert done.returncode == 3
    *failed, told = rows(done)
    assert sorted(one["id"] for one in failed) == [f"{number:05d}" for number in range(41, 71)]
    assert all(set(one["error"]) == {"what", "why", "next"} for one in failed)
    assert (told["fetched"], told["failed"]) == (2, 30)
    plain = binventory(*words)
    assert plain.stderr.count("failed: s3://public/drawn/bin-images/000") == 20
    assert "and more: --json prints them all" in plain.stderr
    assert plain.stdout.startswith("fetched\t0\nthere\t2\nfailed\t30\n")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["fetch"], 2, "Missing option '--out'"),
        (["fetch", "--out", "x"], 2, "fetch needs one choice of ids. None was given"),
        (["fetch", "--out", "x", "1", "--all"], 2, "2 ways to choose were given"),
        (["fetch", "--out", "x", "--range", "5-1"], 2, "Range '5-1' does not read"),
        (["fetch", "--out", "x", "--list", "nowhere"], 3, "nowhere does not exist"),
        (["fetch", "--out", "x", "--where", "count = 5"], 2, "--where needs a catalogue"),
        (["fetch", "--out", "x", "--only", "pictures", "1"], 2, "Half 'pictures' does not exist"),
        (["fetch", "--out", "x", "--from", "gs://bucket", "1"], 3, "gs://bucket names no bucket"),
        (["fetch", "--out", "x", "--endpoint-url", "nonsense", "1"], 2, "--endpoint-url is no address"),
        (["fetch", "--out", "x", "../1"], 3, "'../1' is no id"),
        (["fetch", "--out", "/proc/x", "1"], 4, "/proc/x cannot be written"),
        (["select", "--out", "x"], 2, "select needs a catalogue"),
        (["select", "--out", "x", "--work", "nowhere"], 3, "nowhere holds no catalogue"),
        (["select", "--out", "x", "--work", "nowhere", "--counts", "5-1"], 2, "Counts '5-1' do not read"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_its_status(
    tmp_path: Path, words: list[str], status: int, sentence: str
) -> None:
    done = binventory(*words, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert done.stdout == ""
