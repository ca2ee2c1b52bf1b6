"""The loop learns, ends, and gives the same network whatever happens to it on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from binventory import photo
from binventory.data import drawn
from binventory.errors import OutsideError, UsageError
from binventory.learning import export, fitting
from binventory.learning.full import loop, run
from binventory.learning.full.loop import Material
from binventory.learning.full.loss import loss
from binventory.learning.full.network import Network
from binventory.learning.full.processes import Processes
from binventory.recipe import CameraRecipe, FullRecipe
from binventory.records import LEVELS

pytestmark = pytest.mark.train

STILL = CameraRecipe(0, 0, 0, 0, 0, 0)
ALONE = Processes(0, 1, torch.device("cpu"))
RECIPE = FullRecipe(
    backbone="test_resnet", size=64, frozen=0, epochs=40, batch=8, lr=3e-3, smoothing=0.0, average=0.9, camera=STILL,
    precision="fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def material() -> Material:
    drawings = [drawn.draw_one(number, 8) for number in range(1, 33)]
    pictures = np.stack([photo.fit(photo.decode(one.jpeg), 64, 64) for one in drawings])
    levels = np.arange(32) % 6
    return Material(pictures, list(range(32)), levels, np.ones(32, np.float32), pictures, levels)


def network(recipe: FullRecipe, weights: Path) -> Network:
    torch.manual_seed(0)
    backbone = export.backbone(recipe.backbone, weights.read_bytes())
    return Network(backbone, (0.5,) * 3, (0.5,) * 3, recipe)


def judge(log_probs: loop.Floats, truths: fitting.Levels) -> dict[str, float]:
    return {"accuracy": float((log_probs.argmax(axis=1) == truths).mean())}


def trained(recipe: FullRecipe, material: Material, weights: Path, folder: Path) -> tuple[Any, list[dict[str, float]]]:
    made = network(recipe, weights)
    return loop.train(made, material, recipe, 1, folder, ALONE, judge, lambda _: None, lambda items, *_: items)


def test_it_learns_32_photos_by_heart(material: Material, weights: Path, tmp_path: Path) -> None:
    _, rows = trained(RECIPE, material, weights, tmp_path)
    assert rows[-1]["accuracy"] == 1.0
    assert rows[-1]["train_loss"] < 0.2 * rows[0]["train_loss"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_gives_the_same_network_and_another_another(
    optimizer: Any, material: Material, weights: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1, optimizer=optimizer, lr=1e-3, camera=CameraRecipe())
    one, other = (trained(recipe, material, weights, tmp_path / name)[0].state_dict() for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one)
    moved = replace(recipe, camera=replace(CameraRecipe(), crop=0.3))
    third = trained(moved, material, weights, tmp_path / "c")[0].state_dict()
    assert not all(torch.equal(one[key], third[key]) for key in one)


def test_frozen_layers_stay_as_they_were_and_the_rest_moves(material: Material, weights: Path, tmp_path: Path) -> None:
    for norm in ("live", "frozen"):
        recipe = replace(RECIPE, epochs=1, frozen=2, norm=norm)
        before = network(recipe, weights).state_dict()
        after = trained(recipe, material, weights, tmp_path / norm)[0].state_dict()
        moved = {key for key in before if not torch.equal(before[key], after[key])}
        assert not any(key.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1")) for key in moved)
        assert {"head.weight", "backbone.layer4.0.conv1.weight"} <= moved
        assert ("backbone.layer4.0.bn1.running_mean" in moved) is (norm == "live")


def test_freezing_everything_is_refused(weights: Path) -> None:
    with pytest.raises(UsageError, match="nothing to learn"):
        network(replace(RECIPE, frozen=99), weights)


def test_a_time_budget_ends_within_it(material: Material, weights: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=10_000, minutes=0.05)
    _, rows = trained(recipe, material, weights, tmp_path)
    assert 3 <= rows[-1]["seconds"] < 30
    assert rows[-1]["rate"] == pytest.approx(recipe.lr / 100)
    again = trained(recipe, material, weights, tmp_path)[1]
    assert again == rows, "what is finished is not trained again"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_blend_lies_between_start_and_end(share: float, material: Material, weights: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1)
    start = network(recipe, weights).state_dict()
    end = trained(recipe, material, weights, tmp_path)[0]
    kept = {key: value.clone() for key, value in end.state_dict().items()}
    made = run.blended(end, start, share).state_dict()
    for key in ("head.weight", "backbone.layer4.0.conv1.weight", "backbone.layer4.0.bn1.running_mean"):
        assert torch.allclose(made[key], share * start[key] + (1 - share) * kept[key], atol=1e-6)


def test_a_checkpoint_that_is_damaged_is_told(material: Material, weights: Path, tmp_path: Path) -> None:
    (tmp_path / loop.CHECKPOINT).write_bytes(b"nothing that torch wrote")
    with pytest.raises(OutsideError, match="begins anew"):
        trained(replace(RECIPE, epochs=1), material, weights, tmp_path)


def test_the_loss_knows_that_counts_have_an_order() -> None:
    """Beside the truth it is dear, far off dearer; right and sure it costs nothing; and it is the score as defined."""
    sure = torch.full((3, LEVELS), -30.0)
    sure[[0, 1, 2], [4, 5, 12]] = 30.0
    truth = torch.full((3,), 4)
    costs = loss(sure, truth, 1.0, 0.0) - loss(sure, truth, 0.0, 0.0)
    assert costs.tolist() == pytest.approx([0, 1, 8], abs=1e-4)
    logits = torch.randn(50, LEVELS, generator=torch.Generator().manual_seed(2))
    levels = torch.arange(50) % LEVELS
    probs = logits.softmax(1).numpy()
    stairs = np.cumsum(np.eye(LEVELS)[levels.numpy()], axis=1)
    expected = -np.log(probs[np.arange(50), levels]) + 0.5 * ((probs.cumsum(axis=1) - stairs) ** 2).sum(axis=1)
    np.testing.assert_allclose(loss(logits, levels, 0.5, 0.0).numpy(), expected, rtol=1e-4)
