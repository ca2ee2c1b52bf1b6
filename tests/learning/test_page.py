"""The evaluation's page: it stands alone, says everything, and trusts no name."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from binventory.data.catalogue import Row
from binventory.errors import PhotoError
from binventory.learning.evaluate import Evaluation, Judged
from binventory.learning.metrics import figures
from binventory.learning.page import evaluation_page
from binventory.records import LEVELS, TAIL, Count, level, shown
from pages import HOSTILE, Parts


@pytest.fixture(scope="module")
def photo_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bins") / "bin.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)).save(path)
    return str(path)


def counted(mode: int, sure: float = 0.6) -> Count:
    probs = np.full(LEVELS, (1 - sure) / (LEVELS - 1))
    probs[mode] = sure
    high = min(mode + 2, TAIL)
    return Count(tuple(probs.tolist()), 30.0, (max(mode - 2, 0), None if high == TAIL else high))


def evaluated(pairs: list[tuple[int, int]], address: str, id: str = "bin", sets: bool = True) -> Evaluation:
    """``pairs``: the truth and the count of each photo."""
    judged = tuple(
        Judged(
            Row(f"{id}{n}", address, "", "", truth, f"run{n // 2}", "test"), truth, counted(mode, 0.3 + n % 60 / 100)
        )
        for n, (truth, mode) in enumerate(pairs)
    )
    scored = figures(
        [one.truth for one in judged],
        [one.count for one in judged],
        [one.row.run for one in judged],
        sets=np.ones((len(judged), LEVELS), bool) if sets else None,
    )
    lost = PhotoError(f"{id}.jpg is empty", "it holds no bytes", "take the photo again")
    return Evaluation("open", scored, judged, 3, (lost,))


def test_the_page_loads_nothing_and_holds_few_small_photos(photo_address: str) -> None:
    pairs = [(n % 6, (n + n % 2) % 6) for n in range(150)]
    page = evaluation_page(evaluated(pairs, photo_address), "Bins")
    parts = Parts(page)
    photos = parts.all("img")
    assert 30 <= len(photos) <= 40
    assert all((one["src"] or "").startswith("data:image/jpeg;base64,") and one["alt"] for one in photos)
    assert not re.search(r"https?://|url\(|@import", page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parts.elements}
    assert all("href" not in attributes for _, attributes in parts.elements)


def test_every_true_count_stands_in_the_tables(photo_address: str) -> None:
    pairs = [(0, 1), (4, 4), (13, 9), (20, 21), (57, 21)]
    headers = Parts(evaluation_page(evaluated(pairs, photo_address), "Bins")).headers
    for truth, _ in pairs:
        assert headers.count(shown(level(truth))) == 2  # by true count, and truth against count


def test_titles_ids_and_file_names_are_text_whatever_they_hold(photo_address: str) -> None:
    page = evaluation_page(evaluated([(1, 1), (2, 3)], photo_address, id=HOSTILE), HOSTILE + "\udcff")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.encode()


def test_a_photo_that_is_gone_is_shown_by_its_id(tmp_path: Path) -> None:
    page = evaluation_page(evaluated([(1, 1), (2, 5)], str(tmp_path / "gone.jpg"), id="pod-7-"), "Bins")
    assert "<img" not in page
    assert "pod-7-0" in page and "pod-7-1" in page


@pytest.mark.parametrize("pairs", [[(3, 3)], [(3, 4)], [(40, 21)]])
def test_one_photo_without_sets_is_enough(pairs: list[tuple[int, int]], photo_address: str) -> None:
    page = evaluation_page(evaluated(pairs, photo_address, sets=False), "Bins")
    assert page.count("<img") == 1
    assert "Conformal set" not in page


def test_plots_have_a_name_and_headings_do_not_skip(photo_address: str) -> None:
    page = evaluation_page(evaluated([(1, 1), (2, 5)], photo_address), "Bins")
    plots = re.findall(r"<svg[^>]*>\s*(<title>)?", page)
    drawn = [one for one in Parts(page).all("svg") if one.get("role") == "img"]
    assert len(drawn) == sum(bool(title) for title in plots) == 4
    levels = [int(tag[1]) for tag, _ in Parts(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
