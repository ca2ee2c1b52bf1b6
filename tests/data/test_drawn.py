"""Bins drawn in code: the same for the same arguments, whichever are drawn, and in the bucket's layout."""

import io
import json
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from binventory.data.drawn import LONGEST_COUNT, TWIN_SHARE, DrawnBin, draw, draw_one, is_twin, record_of, write

MANY = 1200


@pytest.fixture(scope="module")
def records() -> list[Mapping[str, Any]]:
    """The records of bins 1 to MANY of one run."""
    return [record_of(number, seed=7) for number in range(1, MANY + 1)]


@pytest.fixture(scope="module")
def bins() -> list[DrawnBin]:
    """Enough bins to hold every kind of goods."""
    return list(draw(40, seed=7))


def asins(record: Mapping[str, Any]) -> set[str]:
    return set(record["BIN_FCSKU_DATA"])


def test_same_arguments_give_the_same_bytes() -> None:
    assert list(draw(6, seed=3)) == list(draw(6, seed=3))


def test_another_seed_draws_other_bins() -> None:
    assert {drawn.jpeg for drawn in draw(4, seed=1)}.isdisjoint(drawn.jpeg for drawn in draw(4, seed=2))


def test_fewer_bins_are_the_first_of_more(bins: list[DrawnBin]) -> None:
    assert list(draw(9, seed=7)) == bins[:9]


def test_drawing_goes_on_from_any_id(bins: list[DrawnBin]) -> None:
    assert list(draw(5, seed=7, first_id=21)) == bins[20:25]
    assert draw_one(13, seed=7) == bins[12]


def test_ids_are_named_as_the_bucket_names_them(bins: list[DrawnBin]) -> None:
    assert [drawn.id for drawn in bins[:2]] == ["00001", "00002"]
    assert draw_one(112274).id == "112274"


def test_the_record_alone_is_the_record_of_the_photo(bins: list[DrawnBin]) -> None:
    assert all(record_of(int(drawn.id), seed=7) == drawn.record for drawn in bins)


def test_photos_open_and_have_the_sizes_of_real_ones(bins: list[DrawnBin]) -> None:
    for drawn in bins:
        with Image.open(io.BytesIO(drawn.jpeg)) as photo:
            photo.load()
            assert (photo.format, photo.mode) == ("JPEG", "RGB")
            assert 300 <= photo.width <= 620
            assert 200 <= photo.height <= 590


def test_photos_are_dim_and_warm_but_not_flat(bins: list[DrawnBin]) -> None:
    for drawn in bins:
        pixels = np.asarray(Image.open(io.BytesIO(drawn.jpeg)), dtype=np.float64)
        red, green, blue = pixels.mean(axis=(0, 1))
        assert 60 < green < 180
        assert red > green > blue
        assert pixels.mean(axis=2).std() > 8


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), number=st.integers(1, 200_000), longest_count=st.integers(2, 60))
def test_a_record_holds_together(seed: int, number: int, longest_count: int) -> None:
    record = record_of(number, seed, longest_count)
    lines = record["BIN_FCSKU_DATA"]
    assert record["EXPECTED_QUANTITY"] == sum(line["quantity"] for line in lines.values()) <= longest_count
    for asin, line in lines.items():
        assert line["asin"] == asin
        assert (len(asin), asin[:2]) == (10, "B0")
        assert line["quantity"] > 0
        assert line["name"] == line["normalizedName"] != ""
        assert 20 > line["length"]["value"] >= line["width"]["value"] >= line["height"]["value"] > 0
        assert {line[side]["unit"] for side in ("length", "width", "height")} == {"IN"}
        assert line["weight"]["unit"] == "pounds"
    assert json.loads(json.dumps(record)) == record


def test_too_short_a_longest_count_is_refused() -> None:
    with pytest.raises(ValueError, match="longest_count"):
        next(draw(1, longest_count=1))


def test_counts_have_the_mix_of_real_bins(records: list[Mapping[str, Any]]) -> None:
    counts = np.array([record["EXPECTED_QUANTITY"] for record in records])
    shares = np.bincount(counts, minlength=LONGEST_COUNT + 1) / len(counts)
    promised = (0.02, 0.16, 0.19, 0.17, 0.12, 0.09)
    assert shares[:6] == pytest.approx(promised, abs=0.05)
    assert shares[0] > 0
    assert 0.15 < shares[6:21].sum() < 0.35
    assert 0.005 < shares[21:].sum() < 0.05
    assert counts.max() <= LONGEST_COUNT


def test_bins_hold_one_to_five_articles_when_first_filled(records: list[Mapping[str, Any]]) -> None:
    lines = Counter(
        len(asins(record)) for number, record in enumerate(records, 1) if not is_twin(number, 7) and asins(record)
    )
    assert set(lines) == {1, 2, 3, 4, 5}


def test_twins_share_articles_and_differ_by_an_item_or_two(records: list[Mapping[str, Any]]) -> None:
    steps: Counter[int] = Counter()
    for number, (before, after) in enumerate(pairwise(records), 2):
        if is_twin(number, seed=7):
            steps[abs(after["EXPECTED_QUANTITY"] - before["EXPECTED_QUANTITY"])] += 1
            assert asins(before) & asins(after) or not asins(before)
    assert set(steps) == {1, 2}
    assert steps[1] > 3 * steps[2]
    assert steps.total() == pytest.approx(TWIN_SHARE * MANY, rel=0.2)


def test_twins_look_alike_and_strangers_do_not(bins: list[DrawnBin]) -> None:
    small = [np.asarray(Image.open(io.BytesIO(drawn.jpeg)).resize((48, 32)), dtype=np.float64) for drawn in bins]
    apart: dict[bool, list[float]] = {True: [], False: []}
    for number, (before, after) in enumerate(pairwise(small), 2):
        apart[is_twin(number, seed=7)].append(float(np.abs(before - after).mean()))
    assert np.median(apart[True]) < 0.5 * np.median(apart[False])


def test_strangers_share_an_article_seldom_but_sometimes(records: list[Mapping[str, Any]]) -> None:
    seen: dict[str, int] = {}
    chain, met_again = 0, 0
    for number, record in enumerate(records, 1):
        chain += not is_twin(number, seed=7)
        met_again += sum(seen.get(asin, chain) != chain for asin in asins(record))
        seen |= dict.fromkeys(asins(record), chain)
    assert 0 < met_again < 0.03 * len(seen)


def test_equal_articles_have_equal_sizes(records: list[Mapping[str, Any]]) -> None:
    sizes: dict[str, Any] = {}
    for record in records:
        for asin, line in record["BIN_FCSKU_DATA"].items():
            size = (line["length"], line["width"], line["height"], line["weight"], line["name"])
            assert sizes.setdefault(asin, size) == size


def test_write_lays_bins_out_as_the_bucket_does(tmp_path: Path, bins: list[DrawnBin]) -> None:
    assert sum(write(tmp_path / "abid", 3, seed=7)) == 3
    written = sorted(path.relative_to(tmp_path / "abid").as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == [
        *(f"bin-images/0000{number}.jpg" for number in (1, 2, 3)),
        *(f"metadata/0000{number}.json" for number in (1, 2, 3)),
    ]
    for drawn in bins[:3]:
        assert (tmp_path / "abid" / "bin-images" / f"{drawn.id}.jpg").read_bytes() == drawn.jpeg
        assert json.loads((tmp_path / "abid" / "metadata" / f"{drawn.id}.json").read_text()) == drawn.record


def test_write_again_draws_only_what_is_missing(tmp_path: Path) -> None:
    list(write(tmp_path, 3, seed=7))
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert sum(write(tmp_path, 3, seed=7)) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == stamps
    (tmp_path / "metadata" / "00002.json").unlink()
    assert sum(write(tmp_path, 4, seed=7)) == 2
    assert len(list(tmp_path.rglob("*.*"))) == 8
