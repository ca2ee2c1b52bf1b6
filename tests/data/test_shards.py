"""Shards: the same bytes for the same photos, read by others' tools, and a catalogue as if the photos lay alone."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import objects, photo
from binventory.cloud import upload
from binventory.counting.counter import opened_each
from binventory.data import catalogue, drawn, packing, shards
from binventory.data.catalogue import Catalogue
from binventory.data.clean import Rejection
from binventory.data.shards import MANIFEST, Sample
from binventory.errors import BinventoryError, InputError, PhotoError, RecordError
from binventory.objects import Part
from binventory.recipe import LinkRecipe, Recipe, SplitRecipe
from binventory.records import Photo

MANY = 1 << 20
SHARES = SplitRecipe(0.4, 0.2, 0.2, 0.2)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=120)
JPEG = b"\xff\xd8"


def sample(id: str, data: bytes, side: str = "train", count: int | None = 2) -> Sample:
    return Sample(id, count, id, side, hashlib.sha256(data).hexdigest(), "0" * 64, (), 8, 8, 0.5, 0.1, 3.0)


@given(
    st.sets(IDS | st.sampled_from(["a.b", "a%2Eb", "../x", "a/b", "__x__", "_", "1044", "01044", "x" * 300, "ü" * 99]))
)
def test_every_id_has_a_key_of_its_own_that_fits_a_plain_header_and_holds_no_dot(ids: set[str]) -> None:
    keys = {shards.key(id) for id in ids}
    assert len(keys) == len(ids)
    for key in keys:
        assert not set(key) & set("./\\#")
        assert not key.startswith("_")
        assert len(f"{key}.json".encode()) <= 100


@given(st.dictionaries(IDS, st.binary(max_size=2000), max_size=20), st.integers(1, 20_000))
def test_what_is_packed_lies_where_it_is_said_and_comes_out_as_it_was(photos: dict[str, bytes], target: int) -> None:
    given = [(sample(id, JPEG + data), JPEG + data) for id, data in photos.items()]
    packs = list(packing.packed(given, target))
    again = list(packing.packed(given, target))
    assert packs == again
    assert [one.sample for pack in packs for one in pack.photos] == [one for one, _ in given]
    for pack in packs:
        assert len(pack.data) <= target or len(pack.photos) == 1
        assert hashlib.sha256(pack.data).hexdigest() == pack.shard.sha256
        found = {}
        with tarfile.open(fileobj=io.BytesIO(pack.data), mode="r:") as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                opened = tar.extractfile(member)
                assert opened
                found[member.name] = opened.read()
        for one in pack.photos:
            data = photos[one.sample.id]
            assert pack.data[one.offset : one.offset + one.length] == JPEG + data
            assert found[f"{shards.key(one.sample.id)}.jpg"] == JPEG + data
            assert json.loads(found[f"{shards.key(one.sample.id)}.json"])["id"] == one.sample.id
        assert len(found) == 2 * len(pack.photos)


def test_a_shard_holds_one_side_and_its_name_tells_side_number_and_content() -> None:
    sides = ["train"] * 5 + ["validate"] * 3
    given = [(sample(str(number), b"x" * 900, side), b"x" * 900) for number, side in enumerate(sides)]
    packs = list(packing.packed(given, 8_000))
    assert [(pack.shard.name[:-17], pack.shard.photos) for pack in packs] == [
        ("train-00000", 2), ("train-00001", 2), ("train-00002", 1), ("validate-00000", 2), ("validate-00001", 1),
    ]  # fmt: skip
    assert all(pack.shard.name[-16:-4] == pack.shard.sha256[:12] for pack in packs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 3_000_000)), max_size=40))
def test_what_is_read_together_lies_side_by_side_in_one_file(moves: list[tuple[str, int, int]]) -> None:
    """Whatever the order, it is kept, and no request is larger than a few megabytes or one photo."""
    places = {"a": 0, "b": 0}
    addresses = ["plain.jpg"]
    for file, gap, length in moves:
        offset = places[file] + gap * 4000
        addresses.append(Part(f"s3://b/{file}.tar", offset, length, "0" * 12).address)
        places[file] = offset + length
    groups = list(objects.together(addresses))
    assert [one for group in groups for one in group] == addresses
    for group in groups:
        parts = [one for address in group if (one := objects.part(address))]
        assert len({one.file for one in parts}) == 1 or group == ["plain.jpg"]
        if len(parts) > 1:
            assert parts[-1].end - parts[0].offset <= 2 << 20


def test_parts_are_read_as_if_they_were_files(tmp_path: Path) -> None:
    data = os.urandom(5000)
    file = str(tmp_path / "with # in it.tar")
    Path(file).write_bytes(data)
    digest = hashlib.sha256(data[100:300]).hexdigest()[:12]
    whole = Part(file, 100, 200, digest).address
    assert objects.read(whole, 200) == data[100:300]
    assert list(objects.find(whole, photo.SUFFIXES)) == [whole]
    for address, most, told in (
        (whole, 199, "is too large"),
        (Part(file, 101, 200, digest).address, MANY, r"tar is damaged\. The bytes from 101 to 301"),
        (Part(file, 4900, 200, digest).address, MANY, r"tar is cut short\. It ends at byte 5,000"),
        (Part(file, 9000, 200, digest).address, MANY, "tar is cut short"),
        (Part(f"{tmp_path}/none.tar", 0, 1, digest).address, MANY, r"none\.tar does not exist"),
        (Part(f"{tmp_path}", 0, 1, digest).address[:-14] + ".tar#0+1@" + digest, MANY, "does not exist"),
    ):
        with pytest.raises(InputError, match=told):
            objects.read(address, most)


# Catalogues


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty drawn bins, some of whose ids are odd, one photo a PNG, one without a count and one that is cleaned."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("shards") / "bins"
    list(drawn.write(folder, 40, 3))
    photos = folder / "bin-images"
    first = min(photos.glob("*.jpg"))
    with Image.open(first) as image:
        image.resize((64, 48)).save(photos / "front.left (1) ü%.png")
    shutil.copy(first, photos / "a copy.jpg")
    return folder


def split(data: str | Path, work: Path) -> Catalogue:
    found = catalogue.build([str(data)], work, LinkRecipe())
    return catalogue.split_sides(found, SHARES, 1)


def packed(site: Path, work: Path, to: Path) -> Catalogue:
    """The site's catalogue, one photo of it cleaned, and its shards in a folder."""
    found = split(site, work)
    found = catalogue.clean(found, [Rejection(found.side("train")[0].id, "too blurred", "by hand")])
    upload.upload(found, upload.Folder(to), Recipe(), most=200_000)
    return found


@pytest.fixture(scope="module")
def made(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, Path]:
    folder = tmp_path_factory.mktemp("made")
    return packed(site, folder / "work", folder / "shards"), folder / "shards"


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_copy_of_the_photos_on_another_day_gives_the_same_bytes(
    made: tuple[Catalogue, Path], site: Path, tmp_path: Path
) -> None:
    shutil.copytree(site, tmp_path / "bins")
    for path in (tmp_path / "bins").rglob("*"):
        os.utime(path, (1_000_000, 1_000_000))
    packed(tmp_path / "bins", tmp_path / "work", tmp_path / "shards")
    assert held(tmp_path / "shards") == held(made[1])
    assert len(list(made[1].glob("train-*.tar"))) > 1


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # its own open files
def test_the_library_webdataset_reads_every_photo(made: tuple[Catalogue, Path]) -> None:
    webdataset = pytest.importorskip("webdataset")
    data, folder = made
    urls = sorted(map(str, folder.glob("*.tar")))
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pilrgb"))
    gc.collect()  # closes what it has left open
    by_id = {one["json"]["id"]: one for one in found}
    assert len(found) == len(by_id) == len(data.rows) == 42
    for row in data.rows:
        one = by_id[row.id]
        assert (one["json"]["count"], one["json"]["side"], one["json"]["run"]) == (row.count, row.side, row.run)
        assert one["json"]["sha256"] == row.sha256
        assert ("png" if row.id.startswith("front") else "jpg") in one


def test_shards_give_the_catalogue_that_their_photos_give(made: tuple[Catalogue, Path], tmp_path: Path) -> None:
    data, folder = made
    found = catalogue.build([str(folder)], tmp_path, LinkRecipe())
    assert [replace(row, address="") for row in found.rows] == [replace(row, address="") for row in data.rows]
    assert (found.links, found.cleaned, found.unpictured) == (data.links, data.cleaned, ())
    assert any(row.count is None for row in found.rows)
    photos = list(opened_each(row.address for row in found.rows))
    assert [one.data for one in photos if isinstance(one, Photo)] == [
        Path(row.address).read_bytes() for row in data.rows
    ]
    assert catalogue.split_sides(found, SplitRecipe(), 99) == found, "sides are final"


def test_shards_carry_what_learning_needs_of_records_and_name_no_article(
    made: tuple[Catalogue, Path], tmp_path: Path
) -> None:
    data, folder = made
    again = catalogue.build([str(folder)], tmp_path, LinkRecipe())
    told, carried = catalogue.lines(data.work), catalogue.lines(again.work)
    assert len(told) >= 30 and set(carried) == set(told)
    for id, items in told.items():
        plain = [replace(one, sku="", asin=None, name=None) for one in items]
        assert [replace(one, sku="") for one in carried[id]] == plain
    named = {one.name for items in told.values() for one in items if one.name}
    assert named and not any(name.encode() in gzip.decompress(index.read_bytes())
                             for index in folder.glob("*.jsonl.gz") for name in named)  # fmt: skip


def test_photos_that_stand_on_other_sides_here_are_refused(
    made: tuple[Catalogue, Path], site: Path, tmp_path: Path
) -> None:
    found = catalogue.build([str(site)], tmp_path, LinkRecipe())
    catalogue.split_sides(found, SHARES, 2)
    with pytest.raises(RecordError, match=r"do not fit this work folder\. \d+ photos stand on other sides"):
        catalogue.build([str(made[1])], tmp_path, LinkRecipe())


def test_shards_of_shards_are_the_same_shards(made: tuple[Catalogue, Path], tmp_path: Path) -> None:
    found = catalogue.build([str(made[1])], tmp_path / "work", LinkRecipe())
    upload.upload(found, upload.Folder(tmp_path / "again"), Recipe(), most=200_000)
    assert held(tmp_path / "again") == held(made[1])


def test_new_photos_beside_shards_join_their_runs_and_move_nothing(
    made: tuple[Catalogue, Path], tmp_path: Path
) -> None:
    data, folder = made
    (tmp_path / "new").mkdir()
    first = data.side("test")[0]
    shutil.copy(first.address, tmp_path / "new" / "again.jpg")
    found = catalogue.build([str(folder), str(tmp_path / "new")], tmp_path / "work", LinkRecipe())
    found = catalogue.split_sides(found, SHARES, 7)
    sides = {row.id: row.side for row in found.rows}
    assert sides.pop("again") == "test"
    assert sides == {row.id: row.side for row in data.rows}
    assert {row.run for row in found.rows if row.id in ("again", first.id)} == {first.run}


def test_a_photo_between_two_sides_stays_held_and_a_run_keeps_its_name(site: Path, tmp_path: Path) -> None:
    """Records link 00001 (train), 00002 (held, between) and 00003 (test); the first of their run has no photo."""
    bins, work = tmp_path / "bins", tmp_path / "work"
    (bins / "bin-images").mkdir(parents=True)
    (bins / "metadata").mkdir()
    pictures = sorted((site / "bin-images").glob("000*.jpg"))[::9]

    def add(number: int, *products: str) -> None:
        if number:
            shutil.copy(pictures[number], bins / "bin-images" / f"0000{number}.jpg")
        items = {one: {"asin": one, "quantity": 1} for one in products}
        told = {"BIN_FCSKU_DATA": items, "EXPECTED_QUANTITY": len(products)}
        (bins / "metadata" / f"0000{number}.json").write_text(json.dumps(told))

    add(0, "A")
    add(1, "A", "B")
    add(3, "C")
    first = catalogue.build([str(bins)], work, LinkRecipe())
    catalogue.split_sides(first, SHARES, 1, given={"00000": "train", "00001": "train", "00003": "test"})
    add(2, "B", "C")
    found = split(bins, work)
    assert [(row.id, row.side, row.run) for row in found.rows] == [
        ("00001", "train", "00000"), ("00002", "held", "00000"), ("00003", "test", "00000"),
    ]  # fmt: skip
    upload.upload(found, upload.Folder(tmp_path / "shards"), Recipe())
    again = split(tmp_path / "shards", tmp_path / "far")
    assert [replace(row, address="") for row in again.rows] == [replace(row, address="") for row in found.rows]


def test_cleaning_comes_along_once_and_may_be_done_anew(made: tuple[Catalogue, Path], tmp_path: Path) -> None:
    folder = str(made[1])
    found = catalogue.build([folder], tmp_path, LinkRecipe())
    assert list(found.cleaned.values()) == [("too blurred",)]
    catalogue.clean(found, [])
    assert catalogue.build([folder], tmp_path, LinkRecipe()).cleaned == {}


def _told(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return changed


def _cut(pattern: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = min(folder.glob(pattern))
        path.write_bytes(path.read_bytes()[:-700])

    return changed


def _lose(pattern: str) -> Callable[[Path], None]:
    return lambda folder: min(folder.glob(pattern)).unlink()


def _rows(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = min(folder.glob("photos-*"))
        rows = list(map(json.loads, gzip.decompress(path.read_bytes()).splitlines()))
        change(rows[3])
        data = gzip.compress("\n".join(map(json.dumps, rows)).encode())
        path.write_bytes(data)
        index = {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        _told(lambda one: one.update(index=index))(folder)

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_told(lambda one: one.update(format="somebody's")), 'is no manifest of shards. Its format is "somebody\'s"'),
        (_told(lambda one: one.update(version=2)), "is of a later format. Its version is 2"),
        (_told(lambda one: one.pop("index")), "is no manifest of shards. Object missing required field `index`"),
        (_told(lambda one: one["shards"][0].update(name="../x.tar")), "which is no file beside it"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff{"), "is no manifest of shards"),
        (_cut("photos-*"), "is damaged. It is not what shards.json says"),
        (_lose("photos-*"), "jsonl.gz does not exist. shards.json names it"),
        (_cut("train-00001-*"), "is cut short. It has"),
        (_lose("test-*"), "does not exist. shards.json names it. Try: copy it, too"),
        (_rows(lambda one: one.update(offset=10**9)), "is no index of photos. The photo"),
        (_rows(lambda one: one["sample"].update(side="test")), "is no index of photos. The photo"),
        (_rows(lambda one: one["sample"].update(id=["x"])), "is no index of photos. Expected"),
        (_rows(lambda one: one["sample"].update(id="front.left (1) ü%")), "is no index of photos. Its rows"),
    ],
)
def test_what_is_damaged_foreign_or_later_is_told_in_a_sentence(
    change: Callable[[Path], object], told: str, made: tuple[Catalogue, Path], tmp_path: Path
) -> None:
    shutil.copytree(made[1], tmp_path / "shards")
    change(tmp_path / "shards")
    with pytest.raises(BinventoryError) as error:
        catalogue.build([str(tmp_path / "shards")], tmp_path / "work", LinkRecipe())
    said = str(error.value).replace("'somebody\\'s'", '"somebody\'s"')
    assert told in said
    assert error.value.exit_status == 3
    assert "\n" not in said


def test_a_byte_that_has_changed_in_a_shard_is_told_of_that_photo_alone(
    made: tuple[Catalogue, Path], tmp_path: Path
) -> None:
    shutil.copytree(made[1], tmp_path / "shards")
    found = catalogue.build([str(tmp_path / "shards")], tmp_path / "work", LinkRecipe())
    hit = objects.part(found.side("train")[1].address)
    assert hit
    changed = bytearray(Path(hit.file).read_bytes())
    changed[hit.offset + hit.length // 2] ^= 1
    Path(hit.file).write_bytes(changed)
    outcomes = list(opened_each(row.address for row in found.rows))
    (error,) = (one for one in outcomes if not isinstance(one, Photo))
    assert isinstance(error, PhotoError)
    assert "is damaged" in str(error)
