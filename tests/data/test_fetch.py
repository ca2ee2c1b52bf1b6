"""Fetching from a real S3 server, past every fault that a proxy can plan, real kills and a disk that is really full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import objects, s3
from binventory.data import fetch
from binventory.data.fetch import KINDS, Arrival, Persistence, Wanted
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError
from faults import FAULTS, Proxy
from s3server import S3Server, free_ports

pytestmark = pytest.mark.timeout(120)

PLACE = "s3://public/site"
IDS = [*(f"{number:05d}" for number in range(1, 29)), "1044", "01044"]
BOTH = list(KINDS.values())
HASTY = Persistence(tries=4, first=0.01, longest=0.02)
SHORT = s3.Patience(seconds=1.0, slowest=200_000.0)


@dataclass(frozen=True, slots=True)
class Site:
    """What lies in the bucket below ``PLACE``: key to bytes."""

    objects: dict[str, bytes]


@pytest.fixture(scope="session")
def site(bucket: S3Server) -> Site:
    """Thirty bins' photos and records, in the public bucket and in the private one."""
    noise = random.Random(5)
    held = {f"bin-images/{id}.jpg": noise.randbytes(noise.randint(2_000, 30_000)) for id in IDS}
    held |= {f"metadata/{id}.json": f'{{"EXPECTED_QUANTITY": {len(id)}}}'.encode() for id in IDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", bucket.key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
        for key, data in held.items():
            objects.write(f"{PLACE}/{key}", data)
            objects.write(f"s3://private/site/{key}", data)
        objects.write(f"{PLACE}/bin-images/deeper/00001.jpg", b"of another folder")
        objects.write(f"{PLACE}/bin-images/note.txt", b"no photo")
    return Site(held)


def fetched(
    proxy: Proxy, out: Path, wanted: list[Wanted] | None = None, place: str = PLACE, verify: bool = False,
    checked: bool = True, jobs: int = 8, persistence: Persistence = HASTY,
) -> list[Arrival]:  # fmt: skip
    """One run of a fetch by way of the proxy, as the verb makes it."""
    bucket = s3.opened(place, proxy.endpoint, SHORT)
    wanted = fetch.wanted(IDS, BOTH) if wanted is None else wanted
    with fetch.folder(out):
        todo = wanted if verify else fetch.missing(wanted, out)
        with fetch.started(bucket, todo, out, jobs, verify, checked, persistence) as arrivals:
            return list(arrivals)


def held(out: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its path there."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def errors(arrivals: list[Arrival]) -> list[BinventoryError]:
    return [one.error for one in arrivals if one.error]


def test_photos_and_records_arrive_byte_for_byte_and_are_not_asked_for_again(
    site: Site, faulty: Proxy, tmp_path: Path
) -> None:
    arrivals = fetched(faulty, tmp_path)
    assert held(tmp_path) == site.objects
    assert sum(one.bytes or 0 for one in arrivals) == sum(map(len, site.objects.values()))
    assert len(faulty.requests) == len(site.objects)
    assert fetched(faulty, tmp_path) == []
    assert len(faulty.requests) == len(site.objects)


def test_what_the_bucket_lists_is_fetched_and_nothing_beside_it(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    listed = fetch.listed(s3.opened(PLACE, faulty.endpoint), BOTH)
    assert {one.key: one.size for one in listed} == {key: len(data) for key, data in site.objects.items()}
    assert [one.id for one in listed] == sorted(id for id in IDS for _ in BOTH)
    assert [one.id for one in fetch.first(listed, 2)] == ["00001", "00001", "00002", "00002"]
    with pytest.raises(MissingError, match=r"s3://public/none holds no bins\. There is no metadata/\*\.json"):
        fetch.listed(s3.opened("s3://public/none", faulty.endpoint), [KINDS["metadata"]])


def test_a_listing_survives_what_passes(site: Site, faulty: Proxy) -> None:
    faulty.fail("/public", "503", "reset", "500")
    assert len(fetch.listed(s3.opened(PLACE, faulty.endpoint), BOTH)) == len(site.objects)


def test_ids_that_differ_in_their_zeros_are_two_bins(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    fetched(faulty, tmp_path, fetch.wanted(["1044", "01044", "1044"], [KINDS["photos"]]))
    assert held(tmp_path) == {f"bin-images/{id}.jpg": site.objects[f"bin-images/{id}.jpg"] for id in ("1044", "01044")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_survived_and_nothing_whole_is_fetched_twice(
    fault: str, site: Site, faulty: Proxy, tmp_path: Path
) -> None:
    faulty.fail("bin-images/00003.jpg", fault, fault)
    faulty.fail("metadata/1044.json", fault)
    few = fetch.wanted(["00001", "00002", "00003", "1044"], BOTH)
    arrivals = fetched(faulty, tmp_path, few)
    assert errors(arrivals) == []
    assert held(tmp_path) == {one.key: site.objects[one.key] for one in few}
    whole = Counter(one.path for one in faulty.requests if one.whole)
    assert set(whole.values()) == {1}
    assert len(faulty.asked("bin-images/00003.jpg")) == 3


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("503", "503"),
        ("429", "429"),
        ("reset", "error sending request"),
        ("truncate", "last of 4 tries"),
        ("short", "checksum"),
        ("damage", "checksum"),
        ("drip", "it came slower than 200 kB/s"),
    ],
)
def test_a_fault_that_stays_ends_as_a_row_and_the_rest_arrives(
    fault: str, why: str, site: Site, faulty: Proxy, tmp_path: Path
) -> None:
    faulty.always["bin-images/00002.jpg"] = fault
    few = fetch.wanted(["00001", "00002", "00003"], BOTH)
    (failed,) = (one for one in fetched(faulty, tmp_path, few) if one.error)
    assert isinstance(failed.error, OutsideError)
    assert why in failed.error.why
    assert failed.error.why.endswith("the last of 4 tries")
    assert failed.as_row() == {
        "id": "00002",
        "address": f"{PLACE}/bin-images/00002.jpg",
        "error": failed.error.as_row(),
    }
    assert held(tmp_path) == {one.key: site.objects[one.key] for one in few if one.key != "bin-images/00002.jpg"}
    assert len(faulty.asked("bin-images/00002.jpg")) == 4


def test_what_is_missing_or_refused_is_a_row_and_is_asked_for_once(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    faulty.always["metadata/00002.json"] = "403"
    told = errors(fetched(faulty, tmp_path, fetch.wanted(["00001", "00002", "none"], BOTH)))
    assert sorted((type(error) for error in told), key=str) == [InputError, MissingError, MissingError]
    assert {error.exit_status for error in told} == {3}
    assert sum("may not be read" in str(error) for error in told) == 1
    assert len(faulty.requests) == 6


def test_checksums_that_are_none_can_be_told_apart_by_the_user(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    faulty.always["bin-images/00001.jpg"] = "damage"
    wanted = fetch.wanted(["00001"], [KINDS["photos"]])
    assert len(errors(fetched(faulty, tmp_path, wanted))) == 1
    assert errors(fetched(faulty, tmp_path, wanted, checked=False)) == []
    assert held(tmp_path)["bin-images/00001.jpg"] != site.objects["bin-images/00001.jpg"]


def test_a_server_that_is_gone_ends_the_fetch_at_once(tmp_path: Path) -> None:
    bucket = s3.opened(PLACE, f"http://127.0.0.1:{free_ports(1)[0]}", SHORT)
    patient = Persistence(tries=2, first=0.01, in_a_row=10)
    wanted = fetch.wanted(map(str, range(10_000)), BOTH)
    with (
        fetch.folder(tmp_path),
        fetch.started(bucket, wanted, tmp_path, 4, persistence=patient) as arrivals,
        pytest.raises(OutsideError, match="10 objects in a row failed") as told,
    ):
        list(arrivals)
    assert "Connection refused" in told.value.why
    assert held(tmp_path) == {}


def test_a_bucket_that_does_not_exist_ends_the_fetch_at_once(signed: S3Server, faulty: Proxy, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="s3://nowhere does not exist"):
        fetched(faulty, tmp_path, fetch.wanted(map(str, range(100)), BOTH), "s3://nowhere")
    assert len(faulty.requests) < 20


@pytest.mark.parametrize(("place", "arrive"), [("s3://private/site", False), (PLACE, True)])
def test_without_an_account_requests_are_unsigned(
    place: str, arrive: bool, site: Site, faulty: Proxy, tmp_path: Path
) -> None:
    arrivals = fetched(faulty, tmp_path, fetch.wanted(["00001"], BOTH), place)
    assert all((one.error is None) is arrive for one in arrivals)
    assert not any("authorization" in map(str.lower, one.headers) for one in faulty.requests)


def test_with_an_account_requests_are_signed(site: Site, signed: S3Server, faulty: Proxy, tmp_path: Path) -> None:
    assert errors(fetched(faulty, tmp_path, place="s3://private/site")) == []
    assert held(tmp_path) == site.objects
    assert all("authorization" in map(str.lower, one.headers) for one in faulty.requests)


def test_verifying_fetches_only_what_differs(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    fetched(faulty, tmp_path)
    (tmp_path / "bin-images" / "00001.jpg").write_bytes(b"damaged here")
    (tmp_path / "metadata" / "00002.json").unlink()
    faulty.requests.clear()
    arrivals = fetched(faulty, tmp_path, verify=True)
    assert held(tmp_path) == site.objects
    assert sorted(one.address for one in arrivals if one.bytes is not None) == [
        f"{PLACE}/bin-images/00001.jpg", f"{PLACE}/metadata/00002.json",
    ]  # fmt: skip
    assert Counter(one.status for one in faulty.requests) == {304: len(site.objects) - 2, 200: 2}


def test_an_empty_file_counts_as_not_there(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    fetched(faulty, tmp_path)
    (tmp_path / "bin-images" / "00001.jpg").write_bytes(b"")
    assert [one.address for one in fetched(faulty, tmp_path)] == [f"{PLACE}/bin-images/00001.jpg"]
    assert held(tmp_path) == site.objects


def test_two_fetches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with (
        fetch.folder(tmp_path / "out"),
        pytest.raises(OutsideError, match="out is in use"),
        fetch.folder(tmp_path / "out"),
    ):
        pass
    with fetch.folder(tmp_path / "out"):
        pass


@pytest.mark.parametrize("id", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\nb", "x" * 201, "\ud800"])
def test_what_leads_elsewhere_is_no_id(id: str) -> None:
    with pytest.raises(InputError, match="is no id"):
        fetch.wanted(["00001", id], BOTH)


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_waits_grow_to_a_bound_and_differ(tried: int, draw: float) -> None:
    patient = Persistence()
    wait = patient.wait(tried, draw)
    assert 0.25 <= wait <= patient.longest
    assert patient.wait(tried + 1, draw) >= wait
    assert patient.wait(tried, draw / 2) <= wait


# Killed, interrupted, full


def started(proxy: Proxy, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """A fetch as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "binventory", "fetch", "--ids", ",".join(IDS), "--from", PLACE, "--endpoint-url",
         proxy.endpoint, "--out", str(out), "--jobs", "4", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def under_way(proxy: Proxy, running: subprocess.Popen[bytes]) -> None:
    """Wait until a fetch has asked for something, or ended."""
    before = len(proxy.requests)
    while len(proxy.requests) == before and running.poll() is None:
        time.sleep(0.002)


def test_a_fetch_killed_at_twenty_moments_ends_with_the_same_bytes_and_asks_for_nothing_twice(
    site: Site, faulty: Proxy, tmp_path: Path
) -> None:
    moments = random.Random(11)
    faulty.slow = 0.05
    kills = 0
    out = tmp_path / "out"
    while kills < 20:
        there = set(held(out)) if out.exists() else set()
        asked = len(faulty.requests)
        with started(faulty, out) as running:
            under_way(faulty, running)
            time.sleep(moments.uniform(0, 0.12))
            running.kill()
        assert not there & {one.path.partition("/site/")[2] for one in faulty.requests[asked:]}
        now = {key: data for key, data in held(out).items() if "/." not in key} if out.exists() else {}
        assert all(data == site.objects[key] for key, data in now.items())
        if len(now) == len(site.objects):  # begin anew, to be killed at later moments, too
            for key in now:
                (out / key).unlink()
        kills += 1
    with started(faulty, out) as last:
        assert last.wait() == 0
    assert held(out) == site.objects


def test_an_interrupt_ends_at_once_and_leaves_nothing_half_written(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    faulty.always["bin-images/01044.jpg"] = "stall"
    with started(faulty, tmp_path) as running:
        under_way(faulty, running)
        time.sleep(0.2)
        begun = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert time.monotonic() - begun < 10  # and not when the silent one is given up
    assert b"Traceback" not in said
    assert all(data == site.objects[key] for key, data in held(tmp_path).items())


def test_what_a_killed_fetch_left_is_removed(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    (tmp_path / "bin-images").mkdir()
    (tmp_path / "bin-images" / ".17.part").write_bytes(b"half")
    (tmp_path / "bin-images" / ".mine").write_bytes(b"not ours")
    fetched(faulty, tmp_path)
    assert held(tmp_path) == site.objects | {"bin-images/.mine": b"not ours"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full_stops_the_fetch_with_nothing_half_written(
    site: Site, faulty: Proxy, small_disk: Path
) -> None:
    with pytest.raises(OutsideError, match=r"cannot be written\. No space left on device\. Try: free space"):
        fetched(faulty, small_disk)
    there = held(small_disk)
    assert there
    assert all(data == site.objects[key] for key, data in there.items())


def test_a_disk_too_small_is_told_before_anything_is_fetched(site: Site, faulty: Proxy, small_disk: Path) -> None:
    with started(faulty, small_disk / "out") as guessing:
        guessing.wait()
        assert guessing.stderr
        assert b"may have too little room: 60 files need" in guessing.stderr.read()
    listed = fetch.listed(s3.opened(PLACE, faulty.endpoint), BOTH)
    with pytest.raises(OutsideError, match=r"has too little room\. 60 files need 0\.\d MB"):
        fetch.refuse_without_room(listed, small_disk / "not" / "yet")
    assert fetch.refuse_without_room(listed[:2], small_disk.parent) is None


def test_a_file_too_large_for_its_writer_stops_the_fetch(site: Site, faulty: Proxy, tmp_path: Path) -> None:
    """The kernel's own refusal, where no small disk can be mounted."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); "
        "from binventory.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "fetch", *IDS, "--from", PLACE, "--endpoint-url", faulty.endpoint,
         "--out", tmp_path],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.count(b"error: ") == 1
    assert b"cannot be written. File too large. Try: free space" in done.stderr
    assert all(data == site.objects[key] for key, data in held(tmp_path).items())


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is refused to root")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutsideError, match="cannot be written"), fetch.folder(tmp_path / "out"):
        pass


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutsideError, match="out cannot be written"), fetch.folder(tmp_path / "out"):
        pass
