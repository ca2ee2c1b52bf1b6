"""Rules of cleaning: each rejects what it names, none depends on another, and nothing but learning is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.data import catalogue, clean, drawn, tables
from binventory.data.catalogue import Catalogue
from binventory.data.clean import Fact, Rejection, rejections
from binventory.data.links import Link, runs
from binventory.recipe import CleanRecipe, CleanRule, LinkRecipe, SplitRecipe
from binventory.records import LEVELS

ALL = CleanRecipe()
RULES: tuple[CleanRule, ...] = get_args(CleanRule)


def fact(id: str = "1", count: int | None = 3, **known: Any) -> Fact:
    return Fact(id, count, **{"contrast": 0.12, "sharpness": 17.0} | known)


def told(facts: Sequence[Fact], links: Sequence[Link] = (), recipe: CleanRecipe = ALL) -> list[tuple[str, str]]:
    return [(one.id, one.rule) for one in rejections(facts, links, recipe)]


@pytest.mark.parametrize(
    ("one", "rule", "reason"),
    [
        (fact(refused="the file ends early", count=None), "unreadable", "the file ends early"),
        (fact(count=None), "no label", "nothing says how many"),
        (fact(flags=("size missing", "quantities do not add up")), "quantities do not add up", "not the sum"),
        (fact(contrast=0.0199), "near-uniform", "contrast 0.020, below 0.02"),
        (fact(sharpness=2.39), "too blurred", "sharpness 2.39, below 2.4"),
    ],
)
def test_each_rule_rejects_what_it_names_and_says_why(one: Fact, rule: str, reason: str) -> None:
    (found,) = rejections([one], [], ALL)
    assert (found.id, found.rule) == ("1", rule)
    assert reason in found.reason


def test_a_good_photo_and_a_good_record_without_one_pass() -> None:
    assert told([fact(), fact("2", 0), Fact("3", 250), fact("4", contrast=0.02, sharpness=2.4)]) == []


def test_thresholds_are_the_recipes() -> None:
    strict = CleanRecipe(contrast=0.2, sharpness=20)
    assert told([fact()], recipe=strict) == [("1", "near-uniform"), ("1", "too blurred")]
    assert told([fact(contrast=0.0, sharpness=0.0)], recipe=CleanRecipe(contrast=0, sharpness=0)) == []


@pytest.mark.parametrize("why", clean.SAME)
def test_of_copies_the_lowest_id_with_a_count_stays(why: str) -> None:
    links = [Link("1", "2", why), Link("2", "3", why), Link("5", "6", "shares a product")]
    facts = [fact(id) for id in "123456"]
    assert told(facts, links) == [("2", "duplicate"), ("3", "duplicate")]
    unlabelled = [fact("1", None), *facts[1:]]
    assert told(unlabelled, links) == [("1", "no label"), ("1", "duplicate"), ("3", "duplicate")]


def test_copies_with_different_counts_all_go_and_say_so() -> None:
    found = rejections([fact("1", 3), fact("2", 4), fact("3", None)], [Link("1", "2", "same photo"),
                       Link("1", "3", "same photo")], CleanRecipe(rules=("duplicate",)))  # fmt: skip
    assert [one.id for one in found] == ["1", "2", "3"]
    assert found[0].reason == "the same photo as 2 and 1 more, and their counts differ: 3 and 4"


def test_links_to_what_is_not_there_reject_nothing() -> None:
    assert told([fact("1")], [Link("0", "1", "same photo"), Link("7", "8", "same photo")]) == []


facts = st.lists(
    st.builds(
        Fact, st.sampled_from("abcdefghij"), st.none() | st.integers(0, 30),
        st.sampled_from([(), ("size missing",), ("quantities do not add up",)]),
        st.none() | st.floats(0, 0.1), st.none() | st.floats(0, 10), st.sampled_from(["", "", "it is damaged"]),
    ),
    unique_by=lambda one: one.id,
)  # fmt: skip
links = st.lists(
    st.builds(Link, st.sampled_from("abcdefghij"), st.sampled_from("abcdefghij"),
              st.sampled_from([*clean.SAME, "shares a product"]))
)  # fmt: skip


@given(facts, links, st.data())
def test_no_rule_depends_on_another_or_on_the_order(facts: list[Fact], links: list[Link], data: st.DataObject) -> None:
    whole = set(rejections(facts, links, ALL))
    alone = [set(rejections(facts, links, CleanRecipe(rules=(rule,)))) for rule in RULES]
    assert set().union(*alone) == whole
    assert sum(map(len, alone)) == len(whole)
    shuffled = CleanRecipe(rules=tuple(data.draw(st.permutations(RULES))))
    mixed = rejections(data.draw(st.permutations(facts)), data.draw(st.permutations(links)), shuffled)
    assert set(mixed) == whole
    assert len(mixed) == len(whole)
    assert rejections(facts, links, CleanRecipe(rules=())) == []


@given(facts, links)
def test_of_each_photo_one_copy_stays_unless_its_counts_differ(facts: list[Fact], links: list[Link]) -> None:
    gone = {one.id for one in rejections(facts, links, CleanRecipe(rules=("duplicate",)))}
    by_id = {one.id: one for one in facts}
    same = [one for one in links if one.why in clean.SAME and one.one in by_id and one.other in by_id]
    run_of = runs(by_id, same)
    for run in set(run_of.values()):
        group = [by_id[id] for id in sorted(by_id) if run_of[id] == run]
        counts = {one.count for one in group} - {None}
        left = [one for one in group if one.id not in gone]
        if len(counts) > 1:
            assert left == []
        else:
            assert len(left) == 1
            assert {left[0].count} == (counts or {None})


def test_half_a_million_records_take_seconds() -> None:
    facts = [Fact(str(id), None if id % 97 == 0 else id % 30) for id in range(535_000)]
    links = [Link(str(id), str(id + 1), "same photo") for id in range(0, 535_000, 50)]
    start = time.process_time()
    found = rejections(facts, links, ALL)
    assert time.process_time() - start < 15
    assert len(found) > 5_000


# Labels that the photos speak against


def planted(n: int, wrong: int, seed: int, sureness: float = 8.0) -> tuple[Any, Any, Any]:
    """Distributions of a calibrated model over the counts 0 to 7, the labels, and which of them were made wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, n)
    logits = -0.5 * sureness * (np.arange(8) - truth[:, None] - rng.normal(0, sureness**-0.5, (n, 1))) ** 2
    probs = np.zeros((n, LEVELS))
    probs[:, :8] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = truth.copy()
    bad = rng.choice(n, wrong, replace=False)
    labels[bad] = (truth[bad] + rng.integers(2, 7, wrong)) % 8
    return probs, labels.astype(np.intp), set(map(str, bad))


def doubts(probs: Any, labels: Any, recipe: CleanRecipe = ALL) -> list[Rejection]:
    return clean.doubted(list(map(str, range(len(labels)))), probs, labels, clean.usual(probs, labels), recipe)


@pytest.mark.parametrize("seed", range(4))
def test_most_planted_label_errors_are_found_and_few_others(seed: int) -> None:
    probs, labels, bad = planted(2000, 100, seed)
    found = {one.id for one in doubts(probs, labels, CleanRecipe(unlikely=0.05))}
    assert len(found & bad) > 0.7 * len(bad)
    assert len(found - bad) < 0.4 * len(bad)


def test_a_model_that_knows_nothing_doubts_nothing() -> None:
    rng = np.random.default_rng(3)
    assert doubts(np.full((500, LEVELS), 1 / LEVELS), rng.integers(0, LEVELS, 500).astype(np.intp)) == []


def test_what_the_distribution_reaches_is_never_doubted() -> None:
    probs, labels, _ = planted(500, 50, 1)
    reach, usual = clean.reaches(probs, labels), clean.usual(probs, labels).reach
    for share in (0.0, 0.05, 0.3):
        for one in doubts(probs, labels, CleanRecipe(unlikely=share)):
            row = int(one.id)
            assert reach[row] <= share * usual[labels[row]]
            assert probs[row].argmax() != labels[row]


@given(st.integers(0, 2**32 - 1))
def test_a_distribution_reaches_a_count_by_the_nearer_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(LEVELS, 0.3), 8)
    labels = rng.integers(0, LEVELS, 8).astype(np.intp)
    for row, level, reach in zip(probs, labels, clean.reaches(probs, labels), strict=True):
        assert reach == pytest.approx(min(row[: level + 1].sum(), row[level:].sum()), abs=1e-12)


def test_a_count_that_no_label_names_is_never_suggested() -> None:
    probs, labels, _ = planted(500, 0, 2)
    probs[:, 21] = 5.0
    assert all("21" not in one.reason and ">20" not in one.reason for one in doubts(probs, labels))


def test_a_doubt_says_what_the_label_has_and_what_the_picture_shows() -> None:
    probs = np.zeros((40, LEVELS))
    probs[:20, 1], probs[20:, 5] = 1, 1
    labels = np.array([1] * 20 + [5] * 19 + [1], np.intp)
    assert doubts(probs, labels) == [Rejection("39", "label unlikely", "labelled 1, which has 0.0%; 5 has 100%")]


# The catalogue


def sides(found: Catalogue) -> dict[str, str]:
    return {row.id: row.side for row in (*found.rows, *found.unpictured)}


@pytest.fixture
def site(tmp_path: Path) -> Catalogue:
    """Drawn bins; one copied under another id, one cut short, one blank, one record without its photo."""
    folder = tmp_path / "bins"
    for _ in drawn.write(folder, 30, 5):
        pass
    images = folder / "bin-images"
    (images / "99998.jpg").write_bytes((images / "00002.jpg").read_bytes())
    (images / "00005.jpg").write_bytes((images / "00005.jpg").read_bytes()[:2000])
    (images / "00009.jpg").unlink()
    found = catalogue.build([str(folder)], tmp_path / "work", LinkRecipe())
    return catalogue.split_sides(found, SplitRecipe(), 1)


def cleaned(site: Catalogue, recipe: CleanRecipe = ALL) -> Catalogue:
    return catalogue.clean(site, rejections(catalogue.facts(site.work), site.links, recipe))


def test_the_catalogue_gives_the_facts_of_photos_records_and_what_it_refused(site: Catalogue) -> None:
    by_id = {one.id: one for one in catalogue.facts(site.work)}
    assert set(by_id) == {row.id for row in (*site.rows, *site.unpictured)}
    assert by_id["00001"].sharpness is not None
    assert by_id["00009"].sharpness is None
    assert by_id["00009"].refused == ""
    assert "ends early" in by_id["00005"].refused
    assert by_id["99998"].count is None


def test_cleaning_moves_no_side_deletes_nothing_and_twice_is_once(site: Catalogue) -> None:
    once = cleaned(site)
    assert once.cleaned == {"00005": ("unreadable",), "99998": ("duplicate", "no label")}
    assert sides(once) == sides(site)
    assert once.rows == site.rows
    assert cleaned(once).cleaned == once.cleaned
    assert cleaned(once, CleanRecipe(rules=())).cleaned == {}
    told = tables.query(site.work, "select * from cleaned")
    assert told == (["id", "rule", "reason"], [])


def test_what_is_cleaned_is_not_learnt_from_and_judged_all_the_same(site: Catalogue) -> None:
    every = CleanRecipe(rules=("too blurred",), sharpness=1e6)
    found = cleaned(site, every)
    assert found.to_learn("train") == ()
    assert found.side("train") == site.side("train")
    assert {row for row, _ in found.left_out("train")} == set(site.side("train"))
    assert found.side("test") == site.side("test")


def test_what_is_cleaned_stays_so_when_the_data_are_catalogued_again_or_the_format_changes(site: Catalogue) -> None:
    found = cleaned(site)
    with tables.opened(site.work) as base:
        base.execute("update format set number = 0")
    again = catalogue.build([str(Path(site.rows[0].address).parent.parent)], site.work, LinkRecipe())
    assert again.cleaned == found.cleaned
