"""The exploration's page: it stands alone, has every section whatever the data lack, and trusts no name."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from binventory.counting.priors import REFERENCE
from binventory.data import catalogue
from binventory.data.explore import Exploration, explore
from binventory.learning.exploration import exploration_page
from binventory.recipe import LinkRecipe, SplitRecipe
from oddities import ODD, Files, put
from pages import HOSTILE, Parts

SECTIONS = ("headline", "know", "counts", "examples", "photos", "volume", "twins", "leak", "copies", "records",
            "refused", "definitions")  # fmt: skip


def look(source: Path, work: Path) -> Exploration:
    return explore(catalogue.build([str(source)], work, LinkRecipe()), SplitRecipe(), 0, REFERENCE)


@pytest.fixture(scope="module")
def found(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    return look(bins, tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def page(found: Exploration) -> str:
    return exploration_page(found, "Bins")


def check(page: str) -> Parts:
    """What holds for every page: it loads and runs nothing, has every section, and headings that do not skip."""
    parts = Parts(page)
    assert not re.search(r"https?://|url\(|@import|[^\w-]on\w+=[\"']", page)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in parts.elements}
    assert tuple(one["id"] for one in parts.all("h2")) == SECTIONS
    assert all((one["href"] or "").removeprefix("#") in SECTIONS for one in parts.all("a"))
    assert all((one["src"] or "").startswith("data:image/jpeg;base64,") and one["alt"] for one in parts.all("img"))
    levels = [int(tag[1]) for tag, _ in parts.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert "None" not in re.sub(r'src="[^"]*"', "", page).replace("None.", "")
    assert not re.search(r"\bnan\b|\binf\b", re.sub(r'src="[^"]*"', "", page))
    return parts


def test_the_page_stands_alone_and_is_small(page: str) -> None:
    photos = check(page).all("img")
    assert 40 < len(photos) < 130
    assert len(page) < 6_000_000


def test_the_same_data_give_the_same_page(found: Exploration, page: str) -> None:
    assert exploration_page(found, "Bins") == page


def test_plots_are_told_in_words(page: str) -> None:
    drawn = re.findall(r'<svg[^>]*role="img"[^>]*>\s*(<title>[^<]+)?', page)
    assert len(drawn) == 9
    assert all(drawn)


def test_twins_stand_beside_each_other_with_what_changed(found: Exploration, page: str) -> None:
    pair = found.twins.shown[0]
    assert pair.changes
    told = page[page.index('id="twins"') : page.index('id="leak"')]
    assert told.index(pair.one.id) < told.index(pair.other.id) < told.index(pair.changes[0].name)


@pytest.mark.parametrize("files", ODD.values(), ids=ODD)
def test_every_section_copes_with_odd_data(tmp_path: Path, files: Files) -> None:
    found = look(put(tmp_path / "d", files), tmp_path / "w")
    parts = check(exploration_page(found, HOSTILE + "\udcff"))
    assert not any("onerror" in attributes for _, attributes in parts.elements)


def test_a_photo_that_is_gone_is_shown_by_its_id(tmp_path: Path) -> None:
    data = put(tmp_path / "d", {"pod-7.jpg": ODD["one photo"]["a.jpg"], "labels.csv": "id,count\npod-7,2\n"})
    found = look(data, tmp_path / "w")
    (data / "pod-7.jpg").unlink()
    page = exploration_page(found, "Bins")
    assert "<img" not in page
    assert "pod-7" in page and "no longer readable" in page
