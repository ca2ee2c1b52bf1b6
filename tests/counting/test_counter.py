"""The counter as a library: whatever is given, the same counts; a machine that counts otherwise is found out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from binventory import BinventoryError, Counter, Photo, PhotoError, photo
from binventory.counting import bundle as bundles
from binventory.counting import counter as counters
from binventory.counting import priors
from binventory.counting.bundle import Probe
from binventory.counting.calibration import hulls
from binventory.counting.trunk import OnnxTrunk
from binventory.data import drawn
from binventory.records import LEVELS, Count

JPEG = [drawn.draw_one(number, 33).jpeg for number in range(1, 6)]


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Counter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return Counter.load("open")


def close(one: Count, other: Count) -> bool:
    return bool(np.allclose(one.probs, other.probs, atol=1e-3)) and one.count == other.count


def test_a_path_bytes_a_photo_and_an_array_count_alike(counter: Counter, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG[0])
    first = counter.count(path)
    for given in (str(path), JPEG[0], Photo("a", JPEG[0]), photo.decode(JPEG[0])):
        assert close(counter.count(given), first)
    assert all(
        close(a, b) for a, b in zip(counter.count([path, JPEG[1]]), [first, counter.count(JPEG[1])], strict=True)
    )
    assert counter.count([]) == []


def test_many_photos_count_as_each_alone(counter: Counter) -> None:
    photos = [Photo(str(number), JPEG[number % 5]) for number in range(37)]
    together = list(counter.count_each(photos))
    for number, one in enumerate(together):
        assert isinstance(one, Count)
        assert close(one, counter.count(JPEG[number % 5]))


def test_a_bad_photo_raises_alone_and_is_an_outcome_among_many(counter: Counter) -> None:
    with pytest.raises(PhotoError, match="is empty"):
        counter.count(b"")
    with pytest.raises(PhotoError, match="not a picture"):
        counter.count(np.zeros((4, 4), np.uint8))
    mixed: list[Photo | BinventoryError] = [
        Photo("a", JPEG[0]),
        Photo("b", b"no"),
        PhotoError("c", "d", "e"),
        Photo("f", JPEG[1]),
    ]
    assert [type(one) for one in counter.count_each(mixed)] == [Count, PhotoError, PhotoError, Count]


def test_one_counter_serves_several_threads(counter: Counter) -> None:
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(counter.count, JPEG * 4))
    assert all(close(one, counter.count(JPEG[number % 5])) for number, one in enumerate(counts))


def test_a_sites_prior_moves_the_probabilities_and_never_the_promise(counter: Counter) -> None:
    many = np.full(LEVELS, 1e-3)
    many[8] = 1.0
    moved = counter.under(tuple(many / many.sum()))
    for data in JPEG:
        plain, there = counter.count(data), moved.count(data)
        expected = priors.reweigh(np.array([plain.probs]), counter.bundle.manifest.prior, many / many.sum())[0]
        assert np.allclose(there.probs, expected)
        (raw,) = counter.bundle.calibration.sets(np.array([plain.probs]))
        low, high = there.interval
        assert set(np.flatnonzero(raw)) <= set(range(low, LEVELS if high is None else high + 1))


def test_an_interval_is_contiguous_and_holds_set_and_mode() -> None:
    sets = np.zeros((3, LEVELS), dtype=bool)
    sets[0, [2, 5]] = True
    sets[2, LEVELS - 1] = True
    assert hulls(sets, np.array([3, 7, 20])) == [(2, 5), (7, 7), (20, None)]


def test_a_machine_whose_kernels_differ_runs_the_network_as_written_or_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles.load("open")
    assert bundle.probe is not None
    assert counters._probe(bundle, OnnxTrunk(bundle.trunk), None) == "agrees"
    plain = OnnxTrunk(bundle.trunk, plain=True).features(bundle.probe.photos)
    monkeypatch.setattr(counters, "TOLERANCE", 1e-5)
    as_written = replace(bundle, probe=Probe(bundle.probe.photos, plain))
    assert counters._probe(as_written, OnnxTrunk(bundle.trunk), None) == "plain"
    elsewhere = replace(bundle, probe=Probe(bundle.probe.photos, plain * 1.5))
    with pytest.warns(UserWarning, match="gives other features here"):
        counters.probed(elsewhere)


def test_the_probe_runs_once_a_machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundles.load("open")
    counters.probed(bundle)
    assert [path.read_text() for path in (cache / "binventory" / "probe").iterdir()] == ["agrees"]
    monkeypatch.setattr(counters, "_probe", lambda *_: pytest.fail("probed again"))
    counters.probed(bundle)


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Counter.load("open").count(JPEG[0]).count >= 0


def test_the_shipped_bundle_says_what_it_is_worth_and_whose_it_is() -> None:
    manifest = bundles.load("open").manifest
    assert manifest.licence == "Apache-2.0"
    assert "counts real ones poorly" in manifest.note
    assert not any("ABID" in origin or "Amazon" in origin for origin in manifest.derived_from)
