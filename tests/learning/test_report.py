"""The report: its numbers come from the runs' files, names in it are text, and the same facts give the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from binventory.counting import bundle as bundles
from binventory.counting.bundle import Bundle
from binventory.counting.priors import REFERENCE
from binventory.data import catalogue, explore
from binventory.data.explore import Exploration
from binventory.data.traits import Change
from binventory.errors import InputError, RecordError, UsageError
from binventory.learning import report, typesetting
from binventory.learning.evaluate import Asked, Evaluation, Judged
from binventory.learning.html import thumbnail
from binventory.learning.metrics import figures
from binventory.learning.report import Report
from binventory.learning.tuning import Gain, Trial, Tuning
from binventory.recipe import LinkRecipe, SplitRecipe
from binventory.records import LEVELS, TAIL, Count

HOSTILE = '#panic("run") $x *b* _i_ `r` <l> @r \\ "q" [ { \udcff'
SEARCH = Tuning(
    "key", "quick", "/home/me/base", (),
    (
        Trial(0, {"quick.size": 260, "quick.ridge": 1e-3}, "complete", 2.1, 0.3, (), 4.0, 1),
        Trial(1, {"quick.size": 260, "quick.ridge": 3e-5}, "complete", 2.0, 0.4, (), 9.0, 1),
        Trial(2, {}, "pruned", None, None, (), 1.0, 1),
        Trial(3, {}, "failed", None, None, (), 1.0, 3, "/home/me/bins cannot be read"),
    ),
    1, Gain(90, 60, -0.1, (-0.2, -0.01), 0.01, (-0.1, 0.1), -0.05, (-0.1, 0.1)),
    {"quick.size": 0.7, "quick.ridge": 0.3}, 90, 60, 300, {}, {}, "0.1.0",
)  # fmt: skip
METRICS = (
    "epoch,photos,rate,train_loss,{loss},validate_accuracy,validate_within_one,validate_mae,seconds\n"
    "1.0,90.0,0.1,3.0,2.0,0.3,0.6,1.5,60.0\n2.0,90.0,0.1,2.5,1.9,0.35,0.65,1.4,119.0\n"
)


def counted(mode: int) -> Count:
    probs = np.full(LEVELS, 0.4 / (LEVELS - 1))
    probs[mode] = 0.6
    return Count(tuple(probs.tolist()), 30.0, (max(mode - 2, 0), None if mode + 2 >= TAIL else mode + 2))


def evaluated(pairs: list[tuple[int, int]], asked: Asked) -> Evaluation:
    """``pairs``: the truth and the count of each photo."""
    judged = tuple(
        Judged(catalogue.Row(str(n), "", "", "", truth, f"run{n // 2}", "test"), truth, counted(mode))
        for n, (truth, mode) in enumerate(pairs)
    )
    scored = figures(
        [one.truth for one in judged], [one.count for one in judged], [one.row.run for one in judged],
        sets=np.ones((len(judged), LEVELS), bool),
    )  # fmt: skip
    return Evaluation("open", scored, judged, 3, (), asked, 12.5, "x86_64, 2 cores")


@pytest.fixture(scope="module")
def made() -> Bundle:
    return bundles.load("open")


@pytest.fixture(scope="module")
def found(bins: Path, tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    data = catalogue.build([str(bins)], tmp_path_factory.mktemp("work"), LinkRecipe())
    data = catalogue.split_sides(data, SplitRecipe(), 1)
    return explore.explore(data, SplitRecipe(), 1, REFERENCE)


@pytest.fixture(scope="module")
def whole(made: Bundle, found: Exploration) -> Report:
    """A report with everything in it."""
    pairs = [(n % 9, (n + n % 2) % 9) for n in range(120)]
    judged = [evaluated(pairs, Asked(("bins",), "test")), evaluated([(n % 5 + 1, 3) for n in range(40)],
              Asked(("bins",), "all", (1, 2, 3, 4, 5), True))]  # fmt: skip
    pictures = {seen.id: thumbnail(seen.address, 120) or b""
                for pair in report.pairs(found) for seen in (pair.one, pair.other)}  # fmt: skip
    return report.facts(
        made, found, [report.scored(one.as_row(), "x") for one in judged],
        trainings=[report.training(METRICS.format(loss="validate_log_loss"), "m")],
        searches=[SEARCH], answers=[("12", 3, counted(3)), ("13", 40, counted(21))],
        pictures=pictures, licence="CC BY-NC-SA 3.0 US",
    )  # fmt: skip


def test_the_same_facts_give_the_same_bytes(whole: Report) -> None:
    pdf = typesetting.typeset(whole)
    assert pdf.startswith(b"%PDF-")
    assert b"CreationDate" not in pdf
    assert typesetting.typeset(whole) == pdf


def test_names_are_text_whatever_they_hold(whole: Report) -> None:
    """Typst would stop at the name if it read it: it holds a panic, and brackets that never close."""
    manifest = replace(whole.manifest, name=HOSTILE, note=HOSTILE, licence=HOSTILE, derived_from=(HOSTILE,))
    sources = tuple(replace(one, name=HOSTILE) for one in whole.data.sources)
    pairs = tuple(replace(one, why=HOSTILE, changes=(Change(HOSTILE * 3, None, 2),)) for one in whole.data.pairs)
    judged = tuple(replace(one, bundle=HOSTILE, asked=Asked((HOSTILE,)), machine=HOSTILE) for one in whole.judged)
    hostile = replace(
        whole, manifest=manifest, data=replace(whole.data, sources=sources, pairs=pairs), judged=judged,
        licence=HOSTILE, changed={HOSTILE: [HOSTILE]},
    )  # fmt: skip
    assert typesetting.typeset(hostile).startswith(b"%PDF-")


def read_out(told: Report, label: str) -> str:
    """What the report says in its element of that label, words apart; "" where there is none."""
    import typst

    with TemporaryDirectory() as folder:
        for name, data in typesetting._members(told).items():
            (Path(folder) / name).write_bytes(data)
        found = json.loads(typst.query(str(Path(folder) / typesetting.TEMPLATES[0]), f"<{label}>"))
    return " ".join(words(found))


def words(part: object) -> Iterator[str]:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        yield part["text"]
    elif isinstance(part, dict | list):
        for one in part.values() if isinstance(part, dict) else part:
            yield from words(one)


def test_what_was_learnt_from_and_judged_is_told_over_the_figures(whole: Report) -> None:
    assert "that it has learnt nothing from" in read_out(whole, "summary")
    assert not read_out(whole, "mind")
    first, *others = whole.judged
    flattered = replace(whole, judged=(replace(first, asked=replace(first.asked, include_seen=True)), *others))
    summary = read_out(flattered, "summary")
    assert "nothing from" not in summary and "photos that it has learnt from" in " ".join(summary.split())
    assert "learnt from were judged, too" in read_out(flattered, "mind")


def test_what_was_judged_elsewhere_is_told_over_the_figures(whole: Report) -> None:
    first, *others = whole.judged
    assert report.strange(first, whole.data) == ()
    moved = replace(first, asked=replace(first.asked, data=("bins", "others")))
    assert report.strange(moved, whole.data) == ("others",)
    assert "bins and others" in read_out(replace(whole, judged=(moved, *others)), "mind")


def test_settings_have_three_digits_that_say_something(whole: Report) -> None:
    odd = {"a": 0.1727354156454854, "b": 0.0005212256130325893, "c": 3e-7, "d": 0.0, "e": 260, "f": [1.5, 1e-5],
           "g": "x", "h": True, "i": 1234.56, "j": -0.012345}  # fmt: skip
    told = read_out(replace(whole, changed=odd), "recipe")
    for shown in ("a = 0.173", "b = 0.000521", "c = 3e−7", "d = 0", "e = 260", "f = [1.5, 0.00001]", "g = x",
                  "h = true", "i = 1235", "j = −0.0123"):  # fmt: skip
        assert shown in told, told


def test_another_bundles_evaluation_is_refused(whole: Report) -> None:
    report.refuse_others(whole.judged[0], "open", "x.json")
    with pytest.raises(InputError, match=r"x\.json does not belong to bundle site.*judges the bundle open"):
        report.refuse_others(whole.judged[0], "site", "x.json")


def test_a_throwaway_search_does_not_displace_a_long_one() -> None:
    finished = SEARCH.trials[0]
    long, later = (replace(SEARCH, key=key, trials=(finished,) * 30) for key in ("long", "later"))
    short = replace(SEARCH, key="short", trials=(finished,) * 2 + (SEARCH.trials[3],) * 40)
    full = replace(short, key="full", kind="full")
    assert report.fullest([long, full, later, short]) == [full, later]


def test_no_address_of_the_machine_is_in_it(whole: Report, bins: Path) -> None:
    told = json.dumps(whole.as_row())
    assert str(bins) not in told and str(bins.parent) not in told and "/home/me" not in told
    assert whole.data.sources[0].name == "bins"


def test_numbers_are_those_of_the_runs(whole: Report, made: Bundle, found: Exploration) -> None:
    judged = evaluated([(n % 9, (n + n % 2) % 9) for n in range(120)], Asked(("bins",), "test"))
    assert whole.judged[0].figures == judged.figures
    assert whole.judged[0].views == judged.views
    assert whole.judged[0].seconds == 12.5
    assert whole.calibration == made.calibration
    assert whole.data.random == found.leaks.random and whole.data.by_runs.twins == 0
    assert whole.sizes["trunk.onnx"] == len(made.trunk)
    assert whole.as_row()["searches"][0]["beats"] is True


def test_bare_data_and_an_older_evaluation_are_enough(made: Bundle, tmp_path: Path, bins: Path) -> None:
    """Photos with labels and no records, neither split nor judged by this version; nothing trained, nothing sought."""
    bare = tmp_path / "bare"
    bare.mkdir()
    photos = sorted((bins / "bin-images").iterdir())[:5]
    for photo in photos:
        (bare / photo.name).write_bytes(photo.read_bytes())
    (bare / "labels.csv").write_text("id,count\n" + "".join(f"{one.stem},{n}\n" for n, one in enumerate(photos)))
    data = catalogue.build([str(bare)], tmp_path / "work", LinkRecipe())
    looked = explore.explore(data, SplitRecipe(), 1, REFERENCE)
    row = evaluated([(3, 3)], Asked()).as_row()
    older = {name: value for name, value in row.items() if name not in ("asked", "views", "seconds", "machine")}
    told = report.facts(made, looked, [report.scored(older, "x")])
    assert typesetting.typeset(told).startswith(b"%PDF-")
    unlabelled = replace(looked, labelled=0, mix=None)
    assert typesetting.typeset(report.facts(made, unlabelled, [])).startswith(b"%PDF-")


def test_a_training_that_was_exported_anew_is_told_once(made: Bundle, found: Exploration) -> None:
    older = report.training(METRICS.format(loss="validate_loss"), "a")  # what the column was called before
    newer = report.training(METRICS.format(loss="validate_log_loss"), "b")
    assert report.facts(made, found, [], trainings=[older, newer]).trainings == (newer,)


@pytest.mark.parametrize("row", [{}, {"bundle": "x"}, {"bundle": "x", "n_seen": 0, "accuracy": "high"}])
def test_what_is_no_evaluation_is_refused_with_how_to_make_one(row: dict[str, object]) -> None:
    with pytest.raises(RecordError, match=r"x\.json is no evaluation.*evaluate --json"):
        report.scored(row, "x.json")


@pytest.mark.parametrize("text", ["", "epoch\n1\n", METRICS.format(loss="validate_log_loss") + "3,many\n"])
def test_what_is_no_training_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match=r"metrics\.csv cannot be read"):
        report.training(text, "metrics.csv")


def test_without_typst_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typesetting, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'binventory\[report\]'"):
        typesetting.refuse_without_typst()


def test_the_verb_judges_anew_where_no_evaluation_is_given(bins: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
                              capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    work, out = tmp_path / "work", tmp_path / "report.pdf"
    assert run("split", "--data", bins, "--work", work).returncode == 0
    done = run("report", "--bundle", "open", "--data", bins, "--work", work, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert out.read_bytes().startswith(b"%PDF-")
    assert told["judged"][0]["asked"]["split"] == "test" and told["judged"][0]["figures"]["n"] > 5
    assert str(bins) not in json.dumps({name: value for name, value in told.items() if name != "report"})
    (tmp_path / "odd.json").write_text("[1]")
    refused = run("report", "--bundle", "open", "--data", bins, "--evaluation", tmp_path / "odd.json", "--out", out)
    assert refused.returncode == 3
    assert "is no evaluation" in refused.stderr
    (tmp_path / "other.json").write_text(json.dumps({**evaluated([(3, 3)], Asked(("bins",))).as_row(), "bundle": "x"}))
    refused = run("report", "--bundle", "open", "--data", bins, "--evaluation", tmp_path / "other.json", "--out", out)
    assert (refused.returncode, "does not belong to bundle open" in refused.stderr) == (3, True)
