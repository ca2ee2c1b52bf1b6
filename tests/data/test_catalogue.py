"""The catalogue: every layout, every label, every contradiction, and nothing done twice or lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from binventory.data import catalogue, drawn, layout, tables
from binventory.data.catalogue import Catalogue
from binventory.errors import InputError, OutsideError, UsageError
from binventory.recipe import LinkRecipe, Recipe, SplitRecipe

SEED = 21
JPEG = {number: drawn.draw_one(number, SEED).jpeg for number in range(1, 8)}


def put(folder: Path, files: dict[str, bytes | str | dict[str, Any]]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(content) if isinstance(content, dict) else content
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def record(quantity: Any, **items: Any) -> dict[str, Any]:
    lines = {asin: {"asin": asin, "name": asin, "quantity": one} for asin, one in items.items()}
    return {"BIN_FCSKU_DATA": lines, "EXPECTED_QUANTITY": quantity}


def build(*sources: Path, work: Path) -> Catalogue:
    return catalogue.build([str(one) for one in sources], work, LinkRecipe())


def counts(found: Catalogue) -> dict[str, int | None]:
    return {row.id: row.count for row in found.rows}


def test_the_buckets_layout_with_metadata(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {
        "bin-images/00001.jpg": JPEG[1], "metadata/00001.json": record(3, B1=1, B2=2),
        "bin-images/1.jpg": JPEG[2], "metadata/1.json": record(5, B3=5),
        "metadata/00077.json": record(1, B9=1),
    })  # fmt: skip
    found = build(data, work=tmp_path / "w")
    assert counts(found) == {"00001": 3, "1": 5}
    assert found.rejects == ()
    assert tables.query(tmp_path / "w", "select sku, quantity from items where id = '00001' order by 1")[1] == [
        ("B1", 1), ("B2", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "files",
    [
        {"bin-images/a.jpg": JPEG[1], "bin-images/b.jpg": JPEG[2], "labels.csv": "id,count\na,4\nb,\n"},
        {"a.jpg": JPEG[1], "b.jpg": JPEG[2], "labels.csv": "\ufeffID , Count\r\na,4.0\r\nzzz,9\r\n"},
        {"a.jpg": JPEG[1], "deep/er/b.jpg": JPEG[2], "labels.csv": "count,note,id\n4,x,a.jpg\n"},
        {"4/a.jpg": JPEG[1], "other/b.jpg": JPEG[2]},
    ],
    ids=["bucket with labels", "photos with labels", "nested, columns in another order", "class folders"],
)
def test_other_layouts_are_read_alike(tmp_path: Path, files: dict[str, bytes | str | dict[str, Any]]) -> None:
    found = build(put(tmp_path / "d", files), work=tmp_path / "w")
    assert counts(found) == {"a": 4, "b": None}
    assert found.rejects == ()


@pytest.mark.parametrize(
    ("content", "quantity", "flag"),
    [
        (record(-3, B1=1), None, "quantity absurd"),
        (record(10**12, B1=1), None, "quantity absurd"),
        (record(2.5, B1=1), None, "quantity absurd"),
        (record("three", B1=1), None, "quantity absurd"),
        (record(True, B1=1), None, "quantity absurd"),
        (record(None, B1=1, B2=3), 4, "quantity missing"),
        ({"BIN_FCSKU_DATA": {}}, None, "quantity missing"),
        (record(0), 0, None),
        (record(3, B1=1), 3, "quantities do not add up"),
        (record(3, B1=None), 3, "item quantity missing"),
        (record(3, B1=-1), 3, "item quantity absurd"),
        ({"EXPECTED_QUANTITY": 3}, 3, "items missing"),
        ({"EXPECTED_QUANTITY": 3, "BIN_FCSKU_DATA": {"B1": 7}}, 3, "item unreadable"),
        ({"EXPECTED_QUANTITY": 3, "BIN_FCSKU_DATA": {"B1": {"quantity": 3, "width": {"value": -1}}}}, 3, "size absurd"),
        ({"EXPECTED_QUANTITY": 3, "BIN_FCSKU_DATA": {"B1": {"quantity": 3, "width": None}}}, 3, "size missing"),
    ],
)
def test_an_odd_record_is_kept_and_flagged(tmp_path: Path, content: dict[str, Any], quantity: int, flag: str) -> None:
    read = layout.read_record(str(put(tmp_path, {"r.json": content}) / "r.json"))
    assert read.quantity == quantity
    assert flag is None or flag in read.flags


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x80", '{"EXPECTED_QUANTITY": 1e999}'])
def test_a_file_that_is_no_record_is_told_and_the_photo_kept(tmp_path: Path, content: str) -> None:
    found = build(put(tmp_path / "d", {"bin-images/a.jpg": JPEG[1], "metadata/a.json": content}), work=tmp_path / "w")
    assert counts(found) == {"a": None}
    assert len(found.rejects) <= 1


def test_bad_photos_are_told_one_by_one_and_good_ones_kept(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {
        "good.jpg": JPEG[1], "empty.jpg": b"", "text.jpg": "not a photo", "short.jpg": JPEG[2][:900],
    })  # fmt: skip
    (data / "nowhere.jpg").symlink_to("/no/such/photo.jpg")
    (data / "link.jpg").symlink_to(put(tmp_path, {"kept/x.jpg": JPEG[3]}) / "kept" / "x.jpg")
    os.mkfifo(data / "pipe.jpg")
    found = build(data, work=tmp_path / "w")
    assert sorted(counts(found)) == ["good", "link"]
    assert sorted(reject.id for reject in found.rejects) == ["empty", "nowhere", "pipe", "short", "text"]
    assert all(str(reject.error).count("Try: ") == 1 for reject in found.rejects)


def test_one_id_with_two_photos_is_refused_whole(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"1/a.jpg": JPEG[1], "1/sub/a.jpg": JPEG[2], "1/b.jpg": JPEG[3]})
    found = build(data, work=tmp_path / "w")
    assert sorted(counts(found)) == ["b"]
    assert "Id a has two different photos" in str(found.rejects[0].error)


def test_one_id_with_two_photos_between_two_sources_is_refused(tmp_path: Path) -> None:
    one, other = (
        put(tmp_path / name, {"a.jpg": JPEG[n], f"{name}.jpg": JPEG[n + 2]}) for n, name in ((1, "x"), (2, "y"))
    )
    found = build(one, other, work=tmp_path / "w")
    assert sorted(counts(found)) == ["x", "y"]
    assert "Id a has two different photos" in str(found.rejects[0].error)


@pytest.mark.parametrize(
    "files",
    [
        {"3/a.jpg": JPEG[1], "4/a.jpg": JPEG[1]},
        {"a.jpg": JPEG[1], "labels.csv": "id,count\na,3\na,4\n"},
        {"bin-images/a.jpg": JPEG[1], "labels.csv": "id,count\na,3\n", "metadata/a.json": record(4, B1=4)},
    ],
    ids=["class folders", "labels.csv", "labels and record"],
)
def test_one_id_with_two_counts_is_told_and_not_learnt_from(
    tmp_path: Path, files: dict[str, bytes | str | dict[str, Any]]
) -> None:
    found = build(put(tmp_path / "d", files | {"bin-images/b.jpg": JPEG[2]} if "bin-images/a.jpg" in files else files
                  | {"2/b.jpg": JPEG[2]}), work=tmp_path / "w")  # fmt: skip
    assert counts(found)["a"] is None
    assert str(found.rejects[0].error).startswith("Id a has two counts. 3 in ")
    assert "b" in counts(found)


def test_a_reduced_copy_in_a_second_source_is_the_same_photo(tmp_path: Path) -> None:
    import io

    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(JPEG[1])).resize((160, 120)).save(small, "JPEG", quality=60)
    one = put(tmp_path / "x", {"a.jpg": JPEG[1]})
    other = put(tmp_path / "y", {"a.jpg": small.getvalue(), "labels.csv": "id,count\na,6\n"})
    found = build(one, other, work=tmp_path / "w")
    assert counts(found) == {"a": 6}
    assert found.rows[0].address == str(one / "a.jpg")
    assert found.rejects == ()


def test_a_bad_label_is_told_and_the_photo_kept(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"a.jpg": JPEG[1], "b.jpg": JPEG[2], "labels.csv": "id,count\na,-1\nb,many\n"})
    found = build(data, work=tmp_path / "w")
    assert counts(found) == {"a": None, "b": None}
    assert [reject.id for reject in found.rejects] == ["a", "b"]


def test_neighbours_that_share_a_product_are_one_run(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {
        "bin-images/00001.jpg": JPEG[1], "metadata/00001.json": record(1, B1=1),
        "bin-images/00002.jpg": JPEG[4], "metadata/00002.json": record(2, B1=2),
        "bin-images/00004.jpg": JPEG[6], "metadata/00004.json": record(2, B1=2),
    })  # fmt: skip
    found = build(data, work=tmp_path / "w")
    assert {row.id: row.run for row in found.rows} == {"00001": "00001", "00002": "00001", "00004": "00004"}


def test_neighbours_without_records_are_one_run_where_their_pictures_agree(tmp_path: Path) -> None:
    twin = next(number for number in range(2, 60) if drawn.is_twin(number, SEED))
    stranger = next(number for number in range(2, 60) if not drawn.is_twin(number, SEED))
    data = put(tmp_path / "d", {
        "00010.jpg": drawn.draw_one(twin - 1, SEED).jpeg, "00011.jpg": drawn.draw_one(twin, SEED).jpeg,
        "00020.jpg": drawn.draw_one(stranger - 1, SEED).jpeg, "00021.jpg": drawn.draw_one(stranger, SEED).jpeg,
    })  # fmt: skip
    run_of = {row.id: row.run for row in build(data, work=tmp_path / "w").rows}
    assert run_of["00010"] == run_of["00011"]
    assert run_of["00020"] != run_of["00021"]


def test_a_second_run_looks_at_nothing_again_and_a_changed_photo_anew(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"a.jpg": JPEG[1], "b.jpg": JPEG[2]})
    looked: list[int] = []

    def track(items: Any, what: str, total: int | None) -> Any:
        looked.append(total or 0) if what == "looking at photos" else None
        return items

    before = catalogue.build([str(data)], tmp_path / "w", LinkRecipe(), track)
    catalogue.build([str(data)], tmp_path / "w", LinkRecipe(), track)
    put(data, {"b.jpg": JPEG[3]})
    after = catalogue.build([str(data)], tmp_path / "w", LinkRecipe(), track)
    assert looked == [2, 0, 1]
    assert before.rows[0].sha256 == after.rows[0].sha256
    assert before.rows[1].sha256 != after.rows[1].sha256


def test_sides_stay_when_photos_come_later(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    list(drawn.write(whole, 60, SEED))
    for path in sorted((whole / "bin-images").iterdir())[::2]:
        put(part, {f"bin-images/{path.name}": path.read_bytes()})
        name = f"metadata/{path.stem}.json"
        put(part, {name: (whole / name).read_bytes()})
    work = tmp_path / "w"
    first = catalogue.split_sides(build(part, work=work), SplitRecipe(), 1)
    for path in (whole / "bin-images").iterdir():
        put(part, {f"bin-images/{path.name}": path.read_bytes()})
        name = f"metadata/{path.stem}.json"
        put(part, {name: (whole / name).read_bytes()})
    later = catalogue.split_sides(build(part, work=work), SplitRecipe(), 1)
    sides = {row.id: row.side for row in later.rows}
    assert len(sides) == 60
    assert all(sides[row.id] == row.side for row in first.rows)


def test_a_killed_catalogue_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    data = tmp_path / "d"
    list(drawn.write(data, 80, SEED))
    code = (
        "import sys; from pathlib import Path\nfrom binventory.data import catalogue\n"
        "from binventory.recipe import Recipe\nprint('ready', flush=True)\n"
        "c = catalogue.build([sys.argv[1]], Path(sys.argv[2]), Recipe().link)\n"
        "catalogue.split_sides(c, Recipe().split, 1)"
    )
    rng = np.random.default_rng(3)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", code, str(data), str(tmp_path / "w")], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.5)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    again = catalogue.split_sides(build(data, work=tmp_path / "w"), Recipe().split, 1)
    clean = catalogue.split_sides(build(data, work=tmp_path / "clean"), Recipe().split, 1)
    assert again.rows == clean.rows
    assert again.links == clean.links


def test_a_catalogue_of_an_older_format_is_made_anew_and_its_sides_stay(tmp_path: Path) -> None:
    import duckdb

    data = put(tmp_path / "d", {"2/a.jpg": JPEG[1], "3/b.jpg": JPEG[3]})
    first = catalogue.split_sides(build(data, work=tmp_path / "w"), SplitRecipe(), 1)
    with duckdb.connect(str(tmp_path / "w" / tables.FILE)) as base:
        base.execute("update format set number = 0")
        base.execute("alter table looks drop column likeness")
        base.execute("update sides set side = 'test'")
    with pytest.raises(InputError, match=r"is of another version.*binventory catalogue .* keeps its sides"):
        catalogue.read(tmp_path / "w")
    again = build(data, work=tmp_path / "w")
    assert [(row.id, row.likeness) for row in again.rows] == [(row.id, row.likeness) for row in first.rows]
    assert {row.side for row in again.rows} == {"test"}


def test_records_without_photos_have_counts_runs_and_sides_and_keep_them_when_photos_come(tmp_path: Path) -> None:
    records = {f"metadata/{id:05}.json": record(id % 4, **{f"B{id // 3}": id % 4}) for id in range(1, 60)}
    data = put(tmp_path / "d", {**records, "metadata/00007.json": "{"})
    found = catalogue.split_sides(build(data, work=tmp_path / "w"), SplitRecipe(), 1)
    assert found.rows == ()
    assert {row.id: row.count for row in found.unpictured} == {
        f"{id:05}": id % 4 for id in range(1, 60) if id != 7
    }  # fmt: skip
    assert [reject.id for reject in found.rejects] == ["00007"]
    run = {row.id: row.run for row in found.unpictured}
    assert run["00003"] == run["00004"] == run["00005"] != run["00006"]
    before = {row.id: row.side for row in found.unpictured}
    put(data, {f"bin-images/{id:05}.jpg": JPEG[id] for id in (3, 4, 5)})
    later = catalogue.split_sides(build(data, work=tmp_path / "w"), SplitRecipe(), 1)
    assert {row.id: row.count for row in later.rows} == {"00003": 3, "00004": 0, "00005": 1}
    assert before == {row.id: row.side for row in (*later.rows, *later.unpictured)}


def test_a_record_that_has_changed_is_read_again_and_its_lines_with_it(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"metadata/a.json": record(3, B1=1, B2=2), "metadata/b.json": record(1, B3=1)})
    build(data, work=tmp_path / "w")
    put(data, {"metadata/a.json": record(10, B4=10)})
    found = build(data, work=tmp_path / "w")
    assert {row.id: row.count for row in found.unpictured} == {"a": 10, "b": 1}
    lines = tables.query(tmp_path / "w", "select id, sku, quantity from items order by all")[1]
    assert lines == [("a", "B4", 10), ("b", "B3", 1)]


def test_a_record_may_lie_in_another_source_than_its_photo(tmp_path: Path) -> None:
    photos = put(tmp_path / "p", {"bin-images/a.jpg": JPEG[1]})
    records = put(tmp_path / "r", {"metadata/a.json": record(3, B1=3), "metadata/b.json": record(5, B2=5)})
    other = put(tmp_path / "o", {"metadata/b.json": record(6, B2=6)})
    found = build(photos, records, other, work=tmp_path / "w")
    assert counts(found) == {"a": 3}
    assert [(row.id, row.count) for row in found.unpictured] == [("b", None)]
    assert ["two counts" in str(reject.error) for reject in found.rejects] == [True]


def test_a_catalogue_in_use_says_so(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"a.jpg": JPEG[1]})
    build(data, work=tmp_path / "w")
    code = (
        "import sys, duckdb; c = duckdb.connect(sys.argv[1]); c.execute('create table t (a int)'); "
        "print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "w" / tables.FILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutsideError, match="Another binventory is writing"):
            build(data, work=tmp_path / "w")
        holder.kill()


def test_queries_answer_and_change_nothing(tmp_path: Path) -> None:
    build(put(tmp_path / "d", {"2/a.jpg": JPEG[1]}), work=tmp_path / "w")
    assert tables.query(tmp_path / "w", "select id, count from photos") == (["id", "count"], [("a", 2)])
    for query in ("drop table photos", "select nothing from photos", "selec", "update photos set count = 9"):
        with pytest.raises(UsageError, match="The query does not run"):
            tables.query(tmp_path / "w", query)
    with pytest.raises(InputError, match="holds no catalogue"):
        tables.query(tmp_path / "nowhere", "select 1")


def test_parquet_comes_back_as_the_catalogue_has_it(tmp_path: Path) -> None:
    import duckdb

    build(put(tmp_path / "d", {"2/a.jpg": JPEG[1], "7/b.jpg": JPEG[2]}), work=tmp_path / "w")
    tables.export(tmp_path / "w", "select id, count from photos order by id", tmp_path / "out.parquet")
    with duckdb.connect() as base:
        assert base.read_parquet(str(tmp_path / "out.parquet")).fetchall() == [("a", 2), ("b", 7)]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "does not exist"),
        (lambda path: path.mkdir(), "holds no photos"),
        (lambda path: path.write_text("hello"), "is not a folder"),
    ],
)
def test_data_that_is_none_is_told(tmp_path: Path, make: Any, why: str) -> None:
    make(tmp_path / "d")
    with pytest.raises(InputError, match=why):
        build(tmp_path / "d", work=tmp_path / "w")


def test_the_default_work_folder_is_named_by_the_data_not_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = put(tmp_path / "x", {"a.jpg": JPEG[1]}), put(tmp_path / "y", {"b.jpg": JPEG[2]})
    place = catalogue.work_for([str(one), str(other)])
    put(one, {"c.jpg": JPEG[3]})
    monkeypatch.chdir(tmp_path)
    assert catalogue.work_for(["./y/", "x", "x"]) == place
    assert catalogue.work_for(["x"]) != place


REAL = Path(os.environ.get("BINVENTORY_REAL", Path(__file__).parents[3] / "shared"))


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_real_records_and_labels_agree_and_real_neighbours_are_linked(tmp_path: Path) -> None:
    """Metadata-known twins, cut to two hundred photos so that it stays quick."""
    with (REAL / "abid-squashed" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[1000:1200]
    for row in rows:
        for name in (f"bin-images/{row['id']}.jpg", f"metadata/{row['id']}.json"):
            (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REAL / "abid-squashed" / name, tmp_path / "d" / name)
    found = build(tmp_path / "d", work=tmp_path / "w")
    assert counts(found) == {row["id"]: int(row["count"]) for row in rows}
    assert found.rejects == ()
    assert len({row.run for row in found.rows}) < len(rows)
