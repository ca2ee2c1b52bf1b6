"""From a bundle to an endpoint and back to nothing, as a user types it: every part that can be real is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from binventory import objects
from clouds import IMAGE, ROLE, Cloud

pytestmark = pytest.mark.timeout(300)


def rows(cloud: Cloud, *words: object, status: int = 0) -> list[dict[str, Any]]:
    done = cloud.typed(*words, "--json")
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def agree(far: list[dict[str, Any]], near: list[dict[str, Any]]) -> None:
    """The same counts and intervals; probabilities move in the sixth digit with what is counted together."""
    for one, other in zip(far, near, strict=True):
        assert (one["count"], one["interval"]) == (other["count"], other["interval"])
        assert one["probs"] == pytest.approx(other["probs"], abs=1e-4)


def test_a_bundle_goes_up_counts_as_at_home_is_seen_to_cost_and_goes(cloud: Cloud, site: Path, bins: Path) -> None:
    deploy = ("cloud", "deploy", "--bundle", site, "--name", "bins", "--role", ROLE, "--image", IMAGE,
              "--to", cloud.store, "--instance", "ml.m5.large")  # fmt: skip
    (up,) = rows(cloud, *deploy, "--stop-after", "8h", "--scheduler-role", ROLE, "--max", "3")
    assert up["outcome"] == "made"
    assert up["ended_by_aws"]

    photos = sorted((bins / "bin-images").iterdir())[:5]
    near_counts = rows(cloud, "count", "--bundle", site, *photos)
    agree(rows(cloud, "count", "--endpoint", "bins", *photos), near_counts)

    far = rows(cloud, "evaluate", "--endpoint", "bins", "--data", bins)
    near = rows(cloud, "evaluate", "--bundle", site, "--data", bins)
    assert far[0]["n_seen"] > 0
    for figure in ("bundle", "n", "runs", "n_seen", "accuracy", "accuracy_ci", "within_one", "mae", "coverage_90"):
        assert far[0][figure] == near[0][figure]
    assert far[0]["log_loss"] == pytest.approx(near[0]["log_loss"], abs=1e-4)

    (answer,) = rows(cloud, "cloud", "query", "--endpoint", "bins", photos[0])
    assert '"tail_mean"' in answer["answer"]

    (cost,) = [row for row in rows(cloud, "cloud", "alive", status=1) if row["kind"] == "endpoint"]
    assert cost["name"] == "bins"
    assert cost["month"] == pytest.approx(0.115 * 1.2 * 730, abs=0.01)
    assert cost["ours"]
    assert cost["stop"] == up["stop"]

    source = f"{cloud.store}/photos"
    for path in photos:
        objects.write(f"{source}/{path.name}", path.read_bytes())
    batch = rows(cloud, "cloud", "batch", "--bundle", site, "--from", source, "--to", f"{cloud.store}/out", "--role",
                 ROLE, "--image", IMAGE)  # fmt: skip
    agree(batch, near_counts)

    (down,) = rows(cloud, "cloud", "undeploy", "bins")
    assert down["removed"][0] == "endpoint bins"
    assert not down["left"]
    books = cloud.books
    assert not (books.endpoints or books.configs or books.targets or books.schedules)
    assert [name for name in books.models if not name.startswith("binventory-batch-")] == []
    assert [row["kind"] for row in rows(cloud, "cloud", "alive")] == ["stored models"]
    assert rows(cloud, "cloud", "undeploy", "bins") == [{"endpoint": "bins", "removed": [], "left": []}]
