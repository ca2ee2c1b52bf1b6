"""From a bundle to an endpoint and back to nothing, as a user types it: every part that can be real is."""

from __future__ import annotations

from pathlib import Path

import pytest

from clouds import IMAGE, ROLE, Cloud

pytestmark = pytest.mark.timeout(300)


def test_a_bundle_goes_up_counts_as_at_home_is_seen_to_cost_and_goes(cloud: Cloud, site: Path, bins: Path) -> None:
    deploy = ("cloud", "deploy", "--bundle", site, "--name", "bins", "--role", ROLE, "--image", IMAGE,
              "--to", cloud.store, "--instance", "ml.m5.large")  # fmt: skip
    (up,) = cloud.rows(*deploy, "--stop-after", "8h", "--scheduler-role", ROLE, "--max", "3")
    assert up["outcome"] == "made"
    assert up["ended_by_aws"]

    photos = sorted((bins / "bin-images").iterdir())[:5]
    assert cloud.rows("count", "--endpoint", "bins", *photos) == cloud.rows("count", "--bundle", site, *photos)

    far = cloud.rows("evaluate", "--endpoint", "bins", "--data", bins)
    near = cloud.rows("evaluate", "--bundle", site, "--data", bins)
    assert {**far[0], "seconds": 0} == {**near[0], "seconds": 0}
    assert far[0]["n_seen"] > 0

    (answer,) = cloud.rows("cloud", "query", "--endpoint", "bins", photos[0])
    assert '"tail_mean"' in answer["answer"]

    (cost,) = [row for row in cloud.rows("cloud", "alive", status=1) if row["kind"] == "endpoint"]
    assert cost["name"] == "bins"
    assert cost["month"] == pytest.approx(0.115 * 1.2 * 730, abs=0.01)
    assert cost["ours"]
    assert cost["stop"] == up["stop"]

    (down,) = cloud.rows("cloud", "undeploy", "bins")
    assert down["removed"][0] == "endpoint bins"
    assert not down["left"]
    books = cloud.books
    assert not (books.endpoints or books.configs or books.models or books.targets or books.schedules)
    assert cloud.rows("cloud", "alive") == []
    assert cloud.rows("cloud", "undeploy", "bins") == [{"endpoint": "bins", "removed": [], "left": []}]
