"""Bundles are read with suspicion and written whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from binventory.counting import bundle as bundles
from binventory.counting.bundle import MANIFEST, Bundle
from binventory.counting.head import Head
from binventory.errors import BundleError
from binventory.records import LEVELS


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return bundles.load("open")


@pytest.fixture
def folder(shipped: Bundle, tmp_path: Path) -> Path:
    bundles.save(shipped, tmp_path / "site")
    return tmp_path / "site"


def rehash(folder: Path, member: str) -> None:
    """Make the manifest agree with a member that was changed, as someone who means harm would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["hashes"][member] = hashlib.sha256((folder / member).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def object_arrays(folder: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, photos=np.array([{"a": 1}], dtype=object), features=np.zeros(1))
    (folder / "probe.npz").write_bytes(buffer.getvalue())
    rehash(folder, "probe.npz")


def outside_weights(folder: Path) -> None:
    (folder / "trunk.onnx").write_bytes((folder / "trunk.onnx").read_bytes() + b"\n\x08location\x12\x0b/etc/passwd")
    rehash(folder, "trunk.onnx")


def no_network(folder: Path) -> None:
    (folder / "trunk.onnx").write_bytes(b"not a network")
    rehash(folder, "trunk.onnx")


def edited(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | changes))

    return edit


def pickled(folder: Path) -> None:
    (folder / "head.pkl").write_bytes(pickle.dumps(os.getcwd))


def swapped_head(folder: Path) -> None:
    data = bytearray((folder / "head.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "head.safetensors").write_bytes(data)


def pickled_head(folder: Path) -> None:
    (folder / "head.safetensors").write_bytes(pickle.dumps({"weight": 1}))
    rehash(folder, "head.safetensors")


def linked(folder: Path) -> None:
    (folder / "head.safetensors").unlink()
    (folder / "head.safetensors").symlink_to("/etc/hostname")


def other_head(rows: int, value: float = 0.0) -> Callable[[Path], None]:
    def swap(folder: Path) -> None:
        head = Head(np.full((rows, LEVELS), value, np.float32), np.zeros(LEVELS, np.float32))
        (folder / "head.safetensors").write_bytes(head.to_bytes())
        rehash(folder, "head.safetensors")

    return swap


def half_probe(folder: Path) -> None:
    data = (folder / "probe.npz").read_bytes()
    (folder / "probe.npz").write_bytes(data[: len(data) // 2])
    rehash(folder, "probe.npz")


def other_probe(folder: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, photos=np.zeros((2, 9, 9, 3), np.uint8), features=np.zeros((2, 1120), np.float32))
    (folder / "probe.npz").write_bytes(buffer.getvalue())
    rehash(folder, "probe.npz")


def recalibrated(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        calibration = json.loads((folder / "calibration.json").read_text())
        (folder / "calibration.json").write_text(json.dumps(calibration | changes))
        rehash(folder, "calibration.json")

    return edit


def nothing_seen(folder: Path) -> None:
    (folder / "seen.csv").write_text("")
    rehash(folder, "seen.csv")


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "wrong hash": (swapped_head, "head.safetensors is not what bundle.json says"),
    "link": (linked, "head.safetensors is a link"),
    "pickle": (pickled, "head.pkl may be a pickle"),
    "pickle under another name": (pickled_head, "is no head"),
    "pickled arrays": (object_arrays, "probe.npz does not read as plain arrays"),
    "weights outside": (outside_weights, "refers to another file"),
    "no network": (no_network, "trunk.onnx is no network"),
    "missing member": (lambda folder: (folder / "calibration.json").unlink(), "calibration.json is missing"),
    "stranger": (lambda folder: (folder / "run.sh").write_text("rm -rf /"), "run.sh is no part of a bundle"),
    "folder": (lambda folder: (folder / "weights").mkdir(), "holds the folder weights"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "holds no bundle.json"),
    "broken manifest": (lambda folder: (folder / MANIFEST).write_text("{"), "bundle.json"),
    "later format": (edited(format=2), "has bundle format 2"),
    "zero prior": (edited(prior=[0.0] * 22), "priors are not 22 positive shares"),
    "hashes left out": (edited(hashes={}), "does not name trunk.onnx"),
    "priors that do not sum": (edited(prior=[0.5] * 22), "that sum to 1"),
    "absurd tail": (edited(tail_mean=-5.0), "tail's mean of -5 is absurd"),
    "another input": (edited(input={"height": 64, "width": 64, "fit": "squash"}), "probe.npz does not fit"),
    "another head": (other_head(64), "does not fit together"),
    "half a probe": (half_probe, "probe.npz does not read"),
    "another probe": (other_probe, "probe.npz does not fit"),
    "no temperature": (recalibrated(temperature=5e-324), "temperature or a quantile is absurd"),
    "another promise": (recalibrated(coverage=0.5), "promises 0.5"),
    "too few groups": (recalibrated(groups=[]), "do not hold every count once"),
    "nothing seen": (nothing_seen, "seen.csv does not begin with"),
    "absurd input": (edited(input={"height": 10**6, "width": 10**6, "fit": "squash"}), "is absurd"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_harmful_or_damaged_bundle_is_refused_in_one_sentence(folder: Path, harm: str) -> None:
    from binventory import Counter

    do, why = HARM[harm]
    do(folder)
    with pytest.raises(BundleError) as told:
        Counter.load(folder)
    assert why in str(told.value)
    assert "\n" not in str(told.value)


def test_a_head_that_overflows_is_told_and_not_counted_with(folder: Path) -> None:
    from binventory import Counter

    other_head(1120, 3e38)(folder)
    with pytest.raises(BundleError, match="gives no probabilities"), np.errstate(all="ignore"):
        Counter.load(folder).count(np.full((90, 120, 3), 90, np.uint8))


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packed((entry("trunk.onnx", tarfile.SYMTYPE, "/etc/passwd"), b"")), "is a link"),
        (packed((entry("trunk.onnx", tarfile.LNKTYPE, "/etc/passwd"), b"")), "is a link"),
        (packed((entry("trunk.onnx", tarfile.FIFOTYPE), b"")), "is no regular file"),
        (packed((entry("../trunk.onnx"), b"x")), "lies in a folder"),
        (packed((entry("/etc/passwd"), b"x")), "lies in a folder"),
        (packed((entry("card.md"), b"x"), (entry("card.md"), b"y")), "stands in it twice"),
        (packed((entry("model.pth"), b"x")), "may be a pickle"),
        (b"", "does not read as .tar.gz"),
        (b"plain text", "does not read as .tar.gz"),
        (packed((entry("card.md"), b"x" * 5000))[:60], "does not read as .tar.gz"),
    ],
)
def test_a_harmful_or_damaged_archive_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=why):
        bundles.load(path)


@pytest.mark.parametrize("place", ["site", "site.tar.gz"])
def test_a_bundle_comes_back_as_it_was_saved(shipped: Bundle, tmp_path: Path, place: str) -> None:
    bundles.save(shipped, tmp_path / place)
    bundles.save(shipped, tmp_path / place)  # safe to run twice
    assert bundles.load(tmp_path / place).members() == shipped.members()


def test_an_archive_of_the_same_bundle_has_the_same_bytes(shipped: Bundle, tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.tar.gz"):
        bundles.save(shipped, tmp_path / name)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_a_path_wins_over_a_shipped_name(
    shipped: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    renamed = replace(shipped, manifest=replace(shipped.manifest, name="mine"))
    bundles.save(renamed, "open")
    assert bundles.load("open").manifest.name == "mine"


def test_an_unknown_name_is_told_what_ships() -> None:
    with pytest.raises(BundleError, match=r"opn does not exist.*Try: --bundle open"):
        bundles.load("opn")


def test_a_folder_that_is_no_bundle_is_not_overwritten(shipped: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is in the way"):
        bundles.save(shipped, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_killed_at_any_moment_a_save_leaves_a_whole_bundle_or_none(tmp_path: Path) -> None:
    code = (
        "import sys; from binventory.counting import bundle as b\n"
        "it = b.load('open')\nprint('ready', flush=True)\n"
        "while True: b.save(it, sys.argv[1])"
    )
    rng = np.random.default_rng(5)
    for round in range(6):
        place = tmp_path / f"kill-{round % 2}"
        process = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(float(rng.uniform(0.0, 0.3)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if place.exists():
            bundles.load(place)
    shutil.rmtree(tmp_path)


def test_sagemakers_code_folder_is_passed_over_and_never_looked_into(folder: Path, tmp_path: Path) -> None:
    """As in ``model.tar.gz`` for images that want ``code/inference.py`` beside the model."""
    (folder / "code" / "deep").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text("raise SystemExit('never run')")
    (folder / "code" / "deep" / "model.pkl").write_bytes(pickle.dumps(os.getcwd))
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    assert bundles.load(folder).members() == bundles.load(tmp_path / "model.tar.gz").members()
    assert not any(name.startswith("code") for name in bundles.load(folder).members())
    (folder / "code" / "link").symlink_to("/etc/hostname")
    with tarfile.open(tmp_path / "linked.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    with pytest.raises(BundleError, match="code/link is a link"):
        bundles.load(tmp_path / "linked.tar.gz")
