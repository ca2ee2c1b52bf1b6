"""The verbs as a user types them: real processes, drawn bins, honest exits."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from binventory import objects
from binventory.counting import bundle as bundles
from binventory.data import drawn

BINS = 320
SEED = 4


def binventory(*words: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the command as its users do. Whatever happens, there is never a traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "binventory", *map(str, words)],
        input=stdin, capture_output=True, cwd=cwd, check=False, timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def rows(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "bins"
    for _ in drawn.write(folder, BINS, SEED):
        pass
    return folder


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def bundle(data: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "site"
    done = binventory("train", "--data", data, "--from", "open", "--work", work, "--out", out, "--json",
                      "--set", "split.train=0.5", "--set", "split.validate=0.15", "--set", "split.calibrate=0.15",
                      "--set", "split.test=0.2", "--set", "quick.ridge=[0.001,0.0003]")  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return out


def photos(data: Path, n: int) -> list[Path]:
    return sorted((data / "bin-images").iterdir())[:n]


def test_a_trained_bundle_beats_the_commonest_count_on_bins_it_has_not_seen(
    data: Path, work: Path, bundle: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = binventory("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--split", "test", "--json",
                      "--out", page)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (scored,) = rows(done)
    promised = (
        "n runs n_seen accuracy accuracy_ci accuracy_closed within_one within_one_ci mae rmse rmse_closed "
        "rmse_closed_ci bias majority_accuracy by_count coverage_90 mean_width_90"
    )
    assert set(promised.split()) <= set(scored)
    assert scored["n_seen"] == 0
    assert scored["within_one"] > scored["baselines"]["majority"]["within_one"]
    assert scored["rmse"] < scored["baselines"]["mean"]["rmse"]
    assert scored["coverage_90"] > 0.75
    assert "<html" in page.read_text()


def test_what_was_learnt_from_is_dropped_whatever_it_is_called_or_how_it_was_reduced(
    data: Path, work: Path, bundle: Path, tmp_path: Path
) -> None:
    from PIL import Image

    (everything,) = rows(binventory("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--json"))
    (test,) = rows(
        binventory("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--split", "test", "--json")
    )
    assert everything["n"] == test["n"]
    assert everything["n"] + everything["n_seen"] == BINS
    copies, renamed, both = tmp_path / "copies", tmp_path / "renamed", tmp_path / "both"
    labels = ["id,count"]
    for folder in (copies, renamed, both):
        folder.mkdir()
    for path in photos(data, BINS):
        with Image.open(path) as image:
            image.resize((200, 150)).save(copies / path.name, quality=70)
        shutil.copy(path, renamed / f"x{path.name}")
        shutil.copy(copies / path.name, both / f"x{path.name}")
        record = json.loads((data / "metadata" / f"{path.stem}.json").read_text())
        labels.append(f"{path.stem},{record['EXPECTED_QUANTITY']}")
    (copies / "labels.csv").write_text("\n".join(labels))
    for folder in (renamed, both):
        (folder / "labels.csv").write_text("\n".join(["id,count", *(f"x{label}" for label in labels[1:])]))
    for folder in (copies, renamed, both):
        (again,) = rows(binventory("evaluate", "--bundle", bundle, "--data", folder, "--json"))
        assert again["n_seen"] >= everything["n_seen"] * 0.98
    strangers = tmp_path / "strangers"
    for _ in drawn.write(strangers, 40, SEED + 1):  # the same ids, other bins
        pass
    (fresh,) = rows(binventory("evaluate", "--bundle", bundle, "--data", strangers, "--json"))
    assert (fresh["n"], fresh["n_seen"]) == (40, 0)
    (all_of_it,) = rows(
        binventory("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--include-seen", "--json")
    )
    assert (all_of_it["n"], all_of_it["n_seen"]) == (BINS, 0)


def test_a_new_head_remembers_what_its_trunk_has_learnt_from(
    data: Path, work: Path, bundle: Path, tmp_path: Path
) -> None:
    """As if the trunk had been fine-tuned on the first bundle's photos."""
    base = bundles.load(bundle)
    bundles.save(replace(base, seen=base.seen.replace(b",head", b",trunk")), tmp_path / "tuned")
    other = tmp_path / "other"
    for _ in drawn.write(other, 320, SEED + 9):
        pass
    done = binventory("train", "--data", other, "--from", tmp_path / "tuned", "--out", tmp_path / "b", "--set",
                      "quick.ridge=[0.001]", "--set", "split.calibrate=0.15", "--set", "split.train=0.65")  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (scored,) = rows(binventory("evaluate", "--bundle", tmp_path / "b", "--data", data, "--work", work, "--json"))
    (before,) = rows(binventory("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--json"))
    assert (scored["n"], scored["n_seen"]) == (before["n"], before["n_seen"])


def test_evaluate_chooses_by_counts_and_ids(data: Path, work: Path, bundle: Path, tmp_path: Path) -> None:
    common = ("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--include-seen", "--json")
    (some,) = rows(binventory(*common, "--counts", "1-5"))
    assert set(some["by_count"]) == {"1", "2", "3", "4", "5"}
    assert some["accuracy_closed"] >= some["accuracy"]
    (even,) = rows(binventory(*common, "--counts", "1-5", "--balanced"))
    assert even["majority_accuracy"] == pytest.approx(0.2)
    assert even["accuracy"] == pytest.approx(sum(one["accuracy"] for one in even["by_count"].values()) / 5)
    assert even["by_count"] == some["by_count"]
    ids = tmp_path / "ids.txt"
    ids.write_text("00001\n00002.jpg\n# not this: 00003\n\n99999\n")
    (two,) = rows(binventory(*common, "--ids", ids))
    assert two["n"] == 2


def test_counting_gives_one_object_a_photo_in_order_and_goes_on_past_bad_ones(
    data: Path, bundle: Path, tmp_path: Path
) -> None:
    from PIL import Image

    good = photos(data, 3)
    with Image.open(good[0]) as image:
        image.save(tmp_path / "png.jpg", "PNG")
    (tmp_path / "link.jpg").symlink_to(good[1])
    (tmp_path / "nowhere.jpg").symlink_to("/no/such/file")
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "short.jpg").write_bytes(good[0].read_bytes()[:3000])
    (tmp_path / "random.jpg").write_bytes(random.Random(1).randbytes(5000))
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 16
    )
    os.mkfifo(tmp_path / "pipe.jpg")
    bad = [tmp_path / name for name in ("nowhere.jpg", "text.jpg", "empty.jpg", "short.jpg", "random.jpg", "bomb.png",
                                        "pipe.jpg", "missing.jpg")] + [Path("/dev/zero")]  # fmt: skip
    asked = [good[0], *bad, tmp_path / "png.jpg", tmp_path / "link.jpg", good[2]]
    done = binventory("count", "--bundle", bundle, "--json", *asked)
    assert done.returncode == 3
    answers = rows(done)
    assert [one["photo"] for one in answers] == [str(one) for one in asked]
    for one in answers:
        if Path(one["photo"]) in bad:
            assert set(one["error"]) == {"what", "why", "next"}, one
        else:
            assert sum(one["probs"]) == pytest.approx(1, abs=1e-4)
            assert len(one["probs"]) == 22
            low, high = one["interval"]
            assert low <= one["count"] <= (21 if high is None else high)
    assert answers[-2]["count"] == rows(binventory("count", "--bundle", bundle, "--json", good[1]))[0]["count"]


def test_counting_takes_folders_patterns_and_standard_input(data: Path, bundle: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf" / "left"
    shelf.mkdir(parents=True)
    for path in photos(data, 3):
        shutil.copy(path, shelf / path.name.upper())
    (shelf / "notes.txt").write_text("not a photo")
    whole = rows(binventory("count", "--bundle", bundle, "--json", tmp_path / "shelf"))
    assert len(whole) == 3
    assert rows(binventory("count", "--bundle", bundle, "--json", f"{shelf}/*.JPG")) == whole
    (piped,) = rows(binventory("count", "--bundle", bundle, "--json", "-", stdin=photos(data, 1)[0].read_bytes()))
    assert piped["probs"] == pytest.approx(whole[0]["probs"], abs=1e-4)
    assert piped["photo"] == "-"
    empty = binventory("count", "--bundle", bundle, "--json", tmp_path / "shelf" / "right", f"{shelf}/*.gif")
    assert empty.returncode == 3
    assert all("error" in one for one in rows(empty))


def test_tables_csv_and_contact_sheets(data: Path, bundle: Path, tmp_path: Path) -> None:
    formula = tmp_path / "=cmd.jpg"
    shutil.copy(photos(data, 1)[0], formula)
    done = binventory("count", "--bundle", bundle, "--csv", "=cmd.jpg", photos(data, 2)[1], "--pictures", "sheets",
                      cwd=tmp_path)  # fmt: skip
    table = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert table[0]["photo"] == "'=cmd.jpg"
    assert table[0]["count"].strip(">").isdecimal()
    assert (tmp_path / "sheets" / "sheet-001.png").is_file()
    plain = binventory("count", "--bundle", bundle, photos(data, 1)[0])
    assert len(plain.stdout.decode().strip().split("\t")) == 4


@pytest.mark.usefixtures("signed")
def test_a_bundle_travels_as_an_archive_and_by_s3(data: Path, bundle: Path, tmp_path: Path) -> None:
    place = "s3://private/travel"
    packed = tmp_path / "site.tar.gz"
    bundles.save(bundles.load(bundle), packed)
    photo = photos(data, 1)[0]
    objects.write(f"{place}/photos/a.jpg", photo.read_bytes())
    objects.write(f"{place}/site.tar.gz", packed.read_bytes())
    bundles.save(bundles.load(bundle), f"{place}/site")
    answers = [
        rows(binventory("count", "--json", "--bundle", address, one))[0]["probs"]
        for address in (bundle, packed, f"{place}/site.tar.gz", f"{place}/site")
        for one in (photo, f"{place}/photos/a.jpg", f"{place}/photos")
    ]
    assert all(one == answers[0] for one in answers)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["count", "--bundle", "nowhere", "x.jpg"], 3, "Bundle nowhere does not exist"),
        (["count"], 2, "Missing argument"),
        (["count", "--bundel", "open", "x.jpg"], 2, "No such option"),
        (["count", "--prior", "mine", "x.jpg"], 2, "Prior 'mine' does not exist"),
        (["evaluate", "--data", "nowhere"], 3, "nowhere does not exist"),
        (["evaluate", "--data", ".", "--counts", "5-1"], 2, "Counts '5-1' do not read"),
        (["evaluate", "--data", ".", "--split", "train"], 2, "Split 'train' does not exist"),
        (["evaluate", "--data", ".", "--ids", "nowhere.txt"], 3, "nowhere.txt does not exist"),
        (["train", "--data", ".", "--out", "b", "--set", "quick.rigde=1"], 2, "Try: quick.ridge"),
        (["train", "--data", ".", "--out", "b", "--recipe", "nowhere.toml"], 2, "nowhere.toml does not exist"),
        (["train", "--data", ".", "--out", "b", "--from", "nowhere"], 3, "Bundle nowhere does not exist"),
        (["train", "--data", ".", "--out", "b", "--weights", "w"], 2, "goes with the recipe full alone"),
        (["train", "--data", ".", "--out", "b", "--checkpoints", "c"], 2, "goes with the recipe full alone"),
        (["sql", "select 1"], 2, "sql needs a catalogue"),
        (["sql", "select 1", "--work", "nowhere"], 3, "holds no catalogue"),
        (["draw", "--out", "x", "--bins", "0"], 2, "bins"),
        (["draw", "--out", "s3://x/y"], 2, "is no folder. This verb writes to the disk"),
        (["fetch", "00001", "--out", "s3://x/y"], 2, "is no folder. This verb writes to the disk"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_its_status(
    tmp_path: Path, words: list[str], status: int, sentence: str
) -> None:
    done = binventory(*words, cwd=tmp_path)
    assert done.returncode == status, done.stderr.decode()
    assert sentence in done.stderr.decode()
    assert done.stdout == b""


def test_contradictions_are_told_and_the_rest_is_judged(data: Path, bundle: Path, tmp_path: Path) -> None:
    for number, path in enumerate(photos(data, 8)):
        folder = tmp_path / "d" / str(number % 3 + 1)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    shutil.copy(photos(data, 1)[0], tmp_path / "d" / "3" / photos(data, 1)[0].name)
    done = binventory("evaluate", "--bundle", bundle, "--data", tmp_path / "d", "--include-seen", "--json")
    assert done.returncode == 3
    assert b"rejected: Id 00001 has two counts." in done.stderr
    assert rows(done)[0]["n"] == 7


def test_too_few_photos_to_learn_from_is_told(data: Path, tmp_path: Path) -> None:
    for number, path in enumerate(photos(data, 9)):
        folder = tmp_path / "d" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    done = binventory("train", "--data", tmp_path / "d", "--out", tmp_path / "b", "--from", "open")
    assert done.returncode == 3
    assert b"There are too few labelled photos" in done.stderr
    assert not (tmp_path / "b").exists()


def test_what_the_trunk_has_learnt_from_neither_chooses_nor_calibrates(
    data: Path, bundle: Path, work: Path, tmp_path: Path
) -> None:
    """A trunk knows its own photos better than any other bin: intervals fitted on them would not hold."""
    head = bundles.load(bundle)
    bundles.save(replace(head, seen=head.seen.replace(b",head\n", b",trunk\n")), tmp_path / "tuned")
    done = binventory("train", "--data", data, "--from", tmp_path / "tuned", "--work", work, "--out", tmp_path / "b")
    assert done.returncode == 3
    assert b"0 runs of labelled photos that the trunk has not learnt from" in done.stderr


def test_the_licence_of_a_bundle_is_said_the_first_time(data: Path) -> None:
    words = ("count", "--bundle", "open", photos(data, 1)[0])
    assert b"licence: bundle open stands under Apache-2.0" in binventory(*words).stderr
    assert b"licence" not in binventory(*words).stderr


def test_fine_tuning_without_torch_says_what_to_install(data: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from binventory.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", data, "--recipe", "full", "--out", tmp_path / "b"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"pip install 'binventory[train]'" in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_stands_at_out_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("mine")
    done = binventory("train", "--data", data, "--out", tmp_path / "thesis")
    assert done.returncode == 3
    assert b"is in the way" in done.stderr


def test_split_and_sql_speak_of_the_same_sides(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("00003\n00009\n")
    work = ("--data", data, "--work", tmp_path / "w")
    tally = {one["side"]: one for one in rows(binventory("split", *work, "--hold-out", out, "--json"))}
    asked = rows(binventory("sql", "select side, count(*) n from sides group by 1", "--work", tmp_path / "w", "--json"))
    assert {one["side"]: one["n"] for one in asked} == {side: one["photos"] for side, one in tally.items()}
    held = rows(
        binventory("sql", "select side from sides where id in ('00003', '00009')", "--work", tmp_path / "w", "--json")
    )
    assert {one["side"] for one in held} <= {"calibrate", "test"}


def test_exploring_prints_numbers_and_writes_a_page(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "page.html"
    words = ("explore", "--data", data, "--work", tmp_path / "w")
    done = binventory(*words, "--out", page, "--json")
    assert done.returncode == 0, done.stderr.decode()
    (found,) = rows(done)
    assert (found["photos"], found["labelled"], found["records"], found["rejects"]) == (BINS, BINS, BINS, 0)
    assert sum(found["mix"]["tally"]) == BINS
    assert found["leaks"]["random"]["twins"] > found["leaks"]["by_runs"]["twins"] == 0
    assert found["traps"][0]["name"] == "Twins"
    assert page.read_text().count("<img") > 40
    assert b"have a twin" in binventory(*words).stdout


@pytest.mark.usefixtures("signed")
def test_photos_on_s3_are_explored_with_their_pictures(data: Path, tmp_path: Path) -> None:
    for path in photos(data, 3):
        objects.write(f"s3://private/explored/3/{path.name}", path.read_bytes())
    done = binventory("explore", "--data", "s3://private/explored", "--out", "s3://private/page.html")
    assert done.returncode == 0, done.stderr.decode()
    assert b"labelled\t3" in done.stdout
    page = objects.read("s3://private/page.html", 1 << 22)
    assert page.count(b'<img src="data:image/jpeg') >= 2
    assert b"no longer readable" not in page


def test_a_leaking_split_is_refused_with_its_pairs(data: Path, tmp_path: Path) -> None:
    twin = next(number for number in range(2, BINS) if drawn.is_twin(number, SEED))
    sides = tmp_path / "sides.csv"
    sides.write_text(f"id,side\n{drawn.bin_id(twin - 1)},train\n{drawn.bin_id(twin)},test\n")
    done = binventory("split", "--data", data, "--work", tmp_path / "w", "--sides", sides)
    assert done.returncode == 3
    assert f"{drawn.bin_id(twin - 1)} (train) and {drawn.bin_id(twin)} (test)" in done.stderr.decode()
    sides.write_text(f"id,side\n{drawn.bin_id(twin)},tset\n")
    assert binventory("split", "--data", data, "--work", tmp_path / "w", "--sides", sides).returncode == 2


def test_killed_training_ends_like_an_undisturbed_one(data: Path, bundle: Path, tmp_path: Path) -> None:
    words = ["train", "--data", str(data), "--from", "open", "--work", str(tmp_path / "w"),
             "--out", str(tmp_path / "b"),
             "--set", "split.train=0.5", "--set", "split.validate=0.15", "--set", "split.calibrate=0.15",
             "--set", "split.test=0.2", "--set", "quick.ridge=[0.001,0.0003]"]  # fmt: skip
    chance = random.Random(8)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-m", "binventory", *words], stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(chance.uniform(0.3, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "b").exists():
            bundles.load(tmp_path / "b")
    assert binventory(*words).returncode == 0
    disturbed, undisturbed = bundles.load(tmp_path / "b"), bundles.load(bundle)
    assert disturbed.seen == undisturbed.seen
    assert disturbed.calibration == undisturbed.calibration
    assert (disturbed.head.weight == undisturbed.head.weight).all()


def test_a_full_disk_is_told_and_leaves_no_half_bundle(bundle: Path, tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: the write fails half way, as it would there."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from binventory.counting import bundle; from binventory.errors import OutsideError\nimport sys\n"
        "try: bundle.save(bundle.load(sys.argv[1]), sys.argv[2])\n"
        "except OutsideError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle), str(tmp_path / "b")],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which ``binventory`` is this checkout's."""
    line = command.replace("binventory", f"{sys.executable} -m binventory")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=cwd, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("binventory count --bundle open a.jpg > /dev/full", 4),
        ("binventory count --bundle open --json a.jpg > /dev/full", 4),
        ("binventory count --bundle open --csv a.jpg > /dev/full", 4),
        ("binventory --help > /dev/full", 4),
        ("binventory count --bundle open a.jpg >&-", 0),
        ("binventory count --bundle open - <&-", 3),
        ("binventory count --bundle open --json many | head -1; exit ${PIPESTATUS[0]}", 0),
        ("binventory", 2),
        ("binventory cuont", 2),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 binventory count --bundle open --json ü.jpg", 0),
        ("binventory count --bundle open --json --csv a.jpg", 2),
        ("binventory count --bundle '' a.jpg", 3),
        (f"binventory count --bundle {'x' * 300} a.jpg", 3),
        ("binventory evaluate --bundle open --data ''", 2),
        ("ulimit -f 40; binventory catalogue --data many --work w", 4),
    ],
)
def test_ordinary_trouble_ends_with_its_status_and_no_traceback(
    data: Path, tmp_path: Path, command: str, status: int
) -> None:
    (tmp_path / "many").mkdir()
    for path in photos(data, 60):
        shutil.copy(path, tmp_path / "many" / path.name)
    for name in ("a.jpg", "ü.jpg"):
        shutil.copy(photos(data, 1)[0], tmp_path / name)
    done = shell(command, tmp_path)
    assert done.returncode == status, done.stderr


def test_names_that_are_not_utf8_or_hold_line_ends_stop_nothing(data: Path, tmp_path: Path) -> None:
    good = photos(data, 1)[0].read_bytes()
    for name in (b"a.jpg", b"b\xff.jpg", b"c\nd.jpg"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(good)
    answers = rows(binventory("count", "--bundle", "open", "--json", tmp_path))
    assert len(answers) == 3
    assert all("count" in one for one in answers)
    assert len(binventory("count", "--bundle", "open", tmp_path).stdout.splitlines()) == 3
    told = binventory("catalogue", "--data", tmp_path, "--json")
    assert (told.returncode, rows(told)[0]["photos"], rows(told)[0]["rejects"]) == (3, 1, 2)


def test_nothing_is_reported_to_anyone(data: Path, cache: Path) -> None:
    """The runtime's maker ships it with telemetry, which keeps a device id beside the cache; we switch it off."""
    assert binventory("count", "--bundle", "open", *photos(data, 40)).returncode == 0
    assert {path.relative_to(cache).parts[0] for path in cache.rglob("*")} == {"binventory"}


def test_damaged_features_are_computed_again(data: Path, bundle: Path, work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "w")
    parts = sorted((tmp_path / "w" / "features").rglob("*.npz"))
    for part, damage in zip(parts, (b"", b"PK\x03\x04", parts[0].read_bytes()[:2000]), strict=False):
        part.write_bytes(damage)
    done = binventory("train", "--data", data, "--from", "open", "--work", tmp_path / "w", "--out", tmp_path / "b",
                      "--set", "quick.ridge=[0.001,0.0003]")  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert bundles.load(tmp_path / "b").calibration == bundles.load(bundle).calibration


def test_labels_that_meet_no_photo_are_spoken_of(data: Path, tmp_path: Path) -> None:
    for path in photos(data, 3):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "labels.csv").write_text("id;count\n1;2\n2;3\n")
    done = binventory("catalogue", "--data", tmp_path)
    assert done.returncode == 0
    assert b"note: 2 of 2 ids in" in done.stderr
    assert b"did a spreadsheet drop zeros" in done.stderr


def test_queries_reach_no_other_file(data: Path, work: Path, bundle: Path, tmp_path: Path) -> None:
    for query in (f"copy (select 1) to '{tmp_path}/x.csv'", "select * from read_csv('/etc/passwd')", "", "-- nothing"):
        done = binventory("sql", query, "--work", work)
        assert done.returncode == 2, done.stderr
    assert list(tmp_path.glob("x*")) == []
    assert binventory("sql", "select 1", "--work", work, "--parquet", tmp_path / "it's.parquet").returncode == 0
    assert binventory("sql", "select 1", "--work", work, "--parquet", "/proc/x.parquet").returncode == 4


def test_a_fitted_bundle_inherits_its_trunks_licence_and_owes_its_photos_theirs(bundle: Path) -> None:
    manifest = bundles.load(bundle).manifest
    assert manifest.licence.startswith("Apache-2.0, and whatever the photos")
    assert manifest.derived_from[0] == "open (Apache-2.0)"
    assert manifest.note == ""
    assert "EfficientNet-Lite2" in manifest.derived_from[1]


def test_another_prior_moves_the_figures_but_not_the_raw_sets(data: Path, work: Path, bundle: Path) -> None:
    common = ("evaluate", "--bundle", bundle, "--data", data, "--work", work, "--json")
    (own,), (even,) = (rows(binventory(*common, *more)) for more in ((), ("--prior", "even")))
    assert own["log_loss"] != even["log_loss"]
    assert even["set_coverage_90"] == pytest.approx(own["set_coverage_90"])
    assert even["coverage_90"] >= even["set_coverage_90"]


def test_sheets_that_cannot_be_written_lose_no_count(data: Path) -> None:
    some = photos(data, 60)
    done = binventory("count", "--bundle", "open", "--json", *some, "--pictures", "/proc/sheets")
    assert done.returncode == 4
    assert [Path(one["photo"]) for one in rows(done)] == some
    assert done.stderr.count(b"error: /proc/sheets") == 1


def test_records_alone_are_split_and_a_list_that_holds_nothing_out_is_refused_before(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "metadata", tmp_path / "far" / "metadata")
    place = ("--data", tmp_path / "far", "--work", tmp_path / "work")
    (tmp_path / "other.json").write_text('{"1": ["data/metadata/99999.json"]}')
    done = binventory("split", *place, "--hold-out", tmp_path / "other.json")
    assert done.returncode == 3
    assert b"names nothing of the data. None of its 1 ids is there" in done.stderr
    chosen = binventory("select", "--work", tmp_path / "work", "--split", "test", "--out", tmp_path / "list.json")
    assert (chosen.returncode, b"may not be split yet" in chosen.stderr) == (3, True)
    sides = rows(binventory("split", *place, "--json"))
    assert sum(side["unpictured"] for side in sides) == BINS
    assert all(side["photos"] == 0 < side["runs"] for side in sides)
    judged = binventory("evaluate", "--bundle", "open", *place)
    assert judged.returncode == 3
    assert f"of {BINS:,} records none has its photo".lower() in judged.stderr.decode().lower()


def test_a_time_with_a_zone_is_refused_with_what_to_do(data: Path, work: Path) -> None:
    done = binventory("sql", "select now()", "--work", work)
    assert done.returncode == 2
    assert b"Try: cast them: ::timestamp" in done.stderr
