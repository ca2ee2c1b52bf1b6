"""Reading, finding and writing, on the disk and on a real S3 server alike."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import objects, s3
from binventory.errors import InputError, OutsideError, UsageError
from s3server import S3Server, free_ports

pytestmark = pytest.mark.timeout(60)

PHOTOS = frozenset({".jpg", ".png"})
MANY = 1 << 20


@pytest.fixture
def strangers_folder() -> Iterator[Path]:
    """A folder that belongs to the test, run by someone whom rights do bind (root becomes nobody)."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            for path in [folder, *folder.iterdir()]:
                path.chmod(0o700)


def made(folder: Path, *names: str) -> Path:
    """A folder with files of these names; each holds its name."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(name))
    return folder


def test_new_folders_are_synced_in_those_that_hold_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def noted(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    objects.write(str(tmp_path / "a" / "b" / "c" / "file"), b"bytes")
    folders = (tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c")
    assert {folder.stat().st_ino for folder in folders} <= set(synced)


def found(address: Path | str, suffixes: frozenset[str] = PHOTOS) -> list[str]:
    return list(objects.find(str(address), suffixes))


# Finding


def test_a_folder_stands_for_its_photos_in_order_hidden_ones_left_out(tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/10.PNG", "a/deep/er/x.Jpg", "a/1.jpg", "top.jpg"]
    made(tmp_path, *names, "note.txt", "jpg", ".hidden.jpg", ".git/x.jpg", "b/.thumb.png", "x.jpg.part")
    assert found(tmp_path) == [
        f"{tmp_path}/{name}" for name in ("top.jpg", "a/1.jpg", "a/deep/er/x.Jpg", "b/10.PNG", "b/2.jpg")
    ]
    assert found(tmp_path) == found(tmp_path)


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path) -> None:
    made(tmp_path / "real", "1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == [f"{tmp_path}/link/1.jpg"]


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    made(tmp_path, "1.jpg")
    (tmp_path / "again").symlink_to(tmp_path)
    assert found(tmp_path) == [f"{tmp_path}/1.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["1.jpg", "2.jpg"]),
        ("[12].jpg", ["1.jpg", "2.jpg"]),
        ("?.png", ["3.png"]),
        ("**/*.jpg", ["1.jpg", "2.jpg", "sub/4.jpg"]),
        ("s*", ["sub/4.jpg"]),
    ],
)
def test_a_quoted_pattern_stands_for_what_it_matches(pattern: str, names: list[str], tmp_path: Path) -> None:
    made(tmp_path, "1.jpg", "2.jpg", "3.png", "sub/4.jpg", "sub/note.txt", ".5.jpg")
    assert found(tmp_path / pattern) == [f"{tmp_path}/{name}" for name in names]


@pytest.mark.parametrize("name", ["bin[1].jpg", "a*.jpg", "what?.jpg", "[x]/1.jpg", "new\nline.jpg", "ü ö.jpg"])
def test_a_name_that_reads_like_a_pattern_is_a_name_first(name: str, tmp_path: Path) -> None:
    made(tmp_path, name, "bin1.jpg", "aa.jpg", "x/1.jpg")
    assert found(tmp_path / name) == [f"{tmp_path}/{name}"]
    assert objects.read(f"{tmp_path}/{name}", MANY) == name.encode()


def test_a_name_that_is_no_text_is_found_and_read(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))).write_bytes(b"1")
    assert [objects.read(address, MANY) for address in found(tmp_path)] == [b"1"]


@pytest.mark.parametrize("name", ["none.jpg", "none", "note.txt", "-"])
def test_a_file_there_or_not_stands_for_itself(name: str, tmp_path: Path) -> None:
    made(tmp_path, "note.txt")
    address = name if name == "-" else f"{tmp_path}/{name}"
    assert found(address) == [address]


@pytest.mark.parametrize("name", ["empty", "texts", "none*.jpg", "*.jpg"])
def test_what_stands_for_nothing_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made(tmp_path / "texts", "a.txt", ".hidden.jpg")
    with pytest.raises(InputError, match=r"holds no photos.*\.jpg, \.png") as told:
        found(tmp_path / name)
    assert str(tmp_path / name) in told.value.what


def test_a_folder_that_may_not_be_listed_is_not_passed_over(strangers_folder: Path) -> None:
    made(strangers_folder, "1.jpg", "shut/2.jpg")
    (strangers_folder / "shut").chmod(0)
    with pytest.raises(InputError, match=r"shut cannot be listed\. Permission denied"):
        found(strangers_folder)


# Reading


def test_a_file_is_read_up_to_its_last_byte_and_not_beyond_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "1.jpg"
    file.write_bytes(bytes(1000))
    assert objects.read(str(file), 1000) == bytes(1000)
    with pytest.raises(InputError, match=r"1\.jpg is too large.*1,000 bytes, 999 at most"):
        objects.read(str(file), 999)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has files that name no size")
def test_a_file_that_names_no_size_is_held_to_the_limit() -> None:
    with pytest.raises(InputError, match="is too large"):
        objects.read("/proc/self/status", 3)


def test_a_link_to_a_good_file_is_read(tmp_path: Path) -> None:
    made(tmp_path, "1.jpg")
    (tmp_path / "link.jpg").symlink_to("1.jpg")
    assert objects.read(f"{tmp_path}/link.jpg", MANY) == b"1.jpg"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # a socket's path may not be long
        one.bind(path.name)


def dangling_link(path: Path) -> None:
    path.symlink_to("gone.jpg")


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (pipe, "it is a pipe"),
        (listening_socket, "it is a socket"),
        (link_to_a_device, "it is a device"),
        (Path.mkdir, "it is a folder"),
        (dangling_link, r"it links to gone\.jpg"),
        (link_to_itself, "symbolic links"),
        (nothing, "there is no such file"),
    ],
)
@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_without_waiting(make: object, why: str, tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    assert callable(make)
    make(path)
    with pytest.raises(InputError, match=f"(?i){why}") as told:
        objects.read(str(path), MANY)
    assert str(path) in told.value.what
    assert told.value.next


@pytest.mark.timeout(10)
def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"/dev/zero is not a regular file\. It is a device"):
        objects.read("/dev/zero", MANY)


def test_an_unreadable_file_is_refused(strangers_folder: Path) -> None:
    made(strangers_folder, "1.jpg")
    (strangers_folder / "1.jpg").chmod(0)
    with pytest.raises(
        InputError, match=r"1\.jpg cannot be read\. Permission denied\. Try: check the path and its rights"
    ):
        objects.read(f"{strangers_folder}/1.jpg", MANY)


@pytest.mark.parametrize("address", ["a\0b.jpg", "", "x" * 5000, "1.jpg/2.jpg"])
def test_a_path_that_cannot_be_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made(tmp_path, "1.jpg"))
    with pytest.raises(InputError):
        objects.read(address, MANY)
    assert objects.stamp(address) is None


@pytest.mark.parametrize(("data", "most", "fits"), [(b"", 0, True), (b"abc", 3, True), (b"abcd", 3, False)])
def test_standard_input_is_read_within_the_limit(
    data: bytes, most: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(data)))
    if fits:
        assert objects.read("-", most) == data
    else:
        with pytest.raises(InputError, match="standard input is too large"):
            objects.read("-", most)


def test_a_stamp_changes_with_the_file_and_only_then(tmp_path: Path) -> None:
    file = made(tmp_path, "1.jpg") / "1.jpg"
    first = objects.stamp(str(file))
    assert first is not None
    assert objects.stamp(str(file)) == first
    file.write_bytes(b"longer than before")
    assert objects.stamp(str(file)) != first
    assert objects.stamp("s3://bucket/1.jpg") is None


# Writing


@given(st.binary(max_size=5000))
def test_what_is_written_is_read(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/new/folders/file.bin"
        objects.write(address, b"before")
        objects.write(address, data)
        assert objects.read(address, 5000) == data
        assert os.listdir(f"{folder}/new/folders") == ["file.bin"]


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    objects.write(f"{tmp_path}/{'n' * 251}.jpg", b"1")
    assert objects.read(f"{tmp_path}/{'n' * 251}.jpg", 1) == b"1"


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path, "1.jpg")
    with pytest.raises(ZeroDivisionError), objects.replacing(tmp_path / "1.jpg") as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"1.jpg": b"1.jpg"}


def test_a_folder_takes_the_place_of_a_folder_whole(tmp_path: Path) -> None:
    made(tmp_path / "bundle", "old.txt")
    with objects.replacing(tmp_path / "bundle") as temporary:
        made(temporary, "new.txt", "deep/er.txt")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt")) == [
        "bundle/deep/er.txt",
        "bundle/new.txt",
    ]


@pytest.mark.parametrize("address", ["file/below.jpg", "folder"])
def test_a_place_that_cannot_be_written_is_said(address: str, tmp_path: Path) -> None:
    made(tmp_path, "file", "folder/1.jpg")
    with pytest.raises(OutsideError, match=f"{address} cannot be written"):
        objects.write(f"{tmp_path}/{address}", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_without_the_right_to_write_is_said(strangers_folder: Path) -> None:
    strangers_folder.chmod(0o500)
    with pytest.raises(OutsideError, match=r"cannot be written\. Permission denied"):
        objects.write(f"{strangers_folder}/1.jpg", b"x")


WRITER = """
import sys
from binventory import objects, s3
print("begun", flush=True)
round = 0
while True:
    round += 1
    objects.write(sys.argv[1], bytes([round % 256]) * 3_000_000)
"""


def test_a_writer_killed_at_any_moment_leaves_old_or_new_never_half(tmp_path: Path) -> None:
    file = tmp_path / "prediction.csv"
    objects.write(str(file), b"\xff" * 3_000_000)
    moments = random.Random(7)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"begun\n"
            time.sleep(moments.uniform(0, 0.05))
            writer.kill()
        data = objects.read(str(file), 3_000_000)
        assert len(data) == 3_000_000
        assert data == data[:1] * 3_000_000
    assert found(tmp_path, frozenset({".csv"})) == [str(file)]  # what a killed writer leaves is hidden


def test_a_reader_beside_a_writer_never_sees_a_half(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    objects.write(str(file), bytes(500_000))
    ended = threading.Event()

    def writes() -> None:
        for round in range(30):
            objects.write(str(file), bytes([round]) * 500_000)
        ended.set()

    writer = threading.Thread(target=writes)
    writer.start()
    while not ended.is_set():
        data = objects.read(str(file), 500_000)
        assert data == data[:1] * 500_000
    writer.join()


# S3


@pytest.mark.parametrize(
    "name", ["1.jpg", "photo #1.jpg", "50%.jpg", "50%20x.jpg", "ü ö.jpg", "q?x=1&y=+.jpg", "[1].jpg"]
)
def test_an_object_is_written_read_and_found_by_its_name(name: str, signed: S3Server) -> None:
    address = f"s3://private/names/{name}"
    objects.write(address, b"before")
    objects.write(address, name.encode())
    assert objects.read(address, MANY) == name.encode()
    assert address in found("s3://private/names")


def test_a_large_object_arrives_whole(signed: S3Server) -> None:
    data = random.Random(1).randbytes(12_000_000)
    objects.write("s3://private/large.bin", data)
    assert objects.read("s3://private/large.bin", len(data)) == data
    with pytest.raises(InputError, match=r"large\.bin is too large.*12,000,000 bytes, 1,000 at most"):
        objects.read("s3://private/large.bin", 1000)


@pytest.fixture
def without_account(signed: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Photos lie in both buckets, and whoever looks has no account."""
    for name in ("b/2.jpg", "b/10.PNG", "a/1.jpg", "a/note.txt", "a/.hidden.jpg", ".git/x.jpg", "ab/other.jpg"):
        objects.write(f"s3://public/photos/{name}", name.encode())
    objects.write("s3://private/1.jpg", b"secret")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return signed


def test_a_public_bucket_needs_no_account(without_account: S3Server) -> None:
    assert objects.read("s3://public/photos/b/2.jpg", MANY) == b"b/2.jpg"


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("photos", ["a/1.jpg", "ab/other.jpg", "b/10.PNG", "b/2.jpg"]),
        ("photos/", ["a/1.jpg", "ab/other.jpg", "b/10.PNG", "b/2.jpg"]),
        ("photos/a", ["a/1.jpg"]),
        ("photos/.git", [".git/x.jpg"]),
        ("photos/none.jpg", ["none.jpg"]),
    ],
)
def test_a_prefix_stands_for_its_photos_as_a_folder_does(
    prefix: str, names: list[str], without_account: S3Server
) -> None:
    assert found(f"s3://public/{prefix}") == [f"s3://public/photos/{name}" for name in names]


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("s3://private/1.jpg", r"s3://private/1\.jpg may not be read\. S3 refused it\. Try: set AWS_ACCESS_KEY_ID"),
        ("s3://public/none.jpg", r"s3://public/none\.jpg does not exist"),
        ("s3://public/photos", "s3://public/photos does not exist"),
        ("s3://public", "s3://public names no object"),
        ("s3://public/", "s3://public/ names no object"),
        ("s3://", "s3:// names no bucket"),
        ("s3:///1.jpg", "names no bucket"),
        ("s3://no bucket/1.jpg", "names no bucket"),
        ("s3://public/a//1.jpg", "is no address of an object"),
    ],
)
def test_an_object_that_cannot_be_read_is_told_in_one_sentence(
    address: str, what: str, without_account: S3Server
) -> None:
    with pytest.raises(InputError, match=what) as told:
        objects.read(address, MANY)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("s3://private/photos", "s3://private/photos may not be read"),
        ("s3://public/none", "s3://public/none holds no photos"),
        ("s3://public/photos//a", "is no address"),
    ],
)
def test_a_prefix_that_cannot_be_listed_is_told_in_one_sentence(
    address: str, what: str, without_account: S3Server
) -> None:
    with pytest.raises(InputError, match=what) as told:
        found(address)
    assert "\n" not in str(told.value)


def test_a_bucket_that_does_not_exist_is_said(signed: S3Server) -> None:
    with pytest.raises(InputError, match=r"s3://nowhere/1\.jpg does not exist"):
        objects.read("s3://nowhere/1.jpg", MANY)
    with pytest.raises(InputError, match="s3://nowhere/photos does not exist"):
        found("s3://nowhere/photos")


def test_writing_without_the_right_to_is_said(without_account: S3Server) -> None:
    with pytest.raises(InputError, match="s3://public/new may not be written"):
        objects.write("s3://public/new", b"x")


def test_a_wrong_secret_is_told_from_a_missing_network(signed: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.write("s3://private/1.jpg", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match="may not be read"):
        objects.read("s3://private/1.jpg", MANY)


def test_an_endpoint_may_end_in_a_slash(signed: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.write("s3://private/1.jpg", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", signed.endpoint + "/")
    assert objects.read("s3://private/1.jpg", MANY) == b"1"


@pytest.mark.parametrize("endpoint", ["nonsense", "127.0.0.1:9000", "http://", "http://[", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is no address"):
        objects.read("s3://bucket/1.jpg", MANY)


@pytest.mark.timeout(30)
def test_a_closed_port_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(OutsideError, match="Connection refused") as told:
        objects.read("s3://bucket/1.jpg", MANY)
    assert "\n" not in str(told.value)


@pytest.mark.timeout(30)
def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PATIENCE", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(OutsideError, match=r"s3://bucket/1\.jpg cannot be read"):
            objects.read("s3://bucket/1.jpg", MANY)


def test_the_server_of_these_tests_listens_on_loopback_only(bucket: S3Server) -> None:
    assert urlsplit(bucket.endpoint).hostname == "127.0.0.1"


@pytest.mark.parametrize("detour", ["bundle/../bundle", "./bundle", "bundle/"])
def test_a_folder_is_replaced_by_whatever_name_it_goes(detour: str, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    with objects.replacing(Path(f"{tmp_path}/{detour}")) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    rename = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == tmp_path / "bundle" and source.name == "bundle":
            raise KeyboardInterrupt
        rename(source, target)

    with pytest.raises(KeyboardInterrupt), objects.replacing(tmp_path / "bundle") as temporary:
        temporary.mkdir()
        monkeypatch.setattr(os, "replace", failing)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["old"]
