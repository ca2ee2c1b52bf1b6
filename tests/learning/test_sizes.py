"""A trunk that leaves the size of its pictures open, and heads fitted on it at sizes that it was not made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from binventory import recipe as recipes
from binventory.counting import bundle as bundles
from binventory.counting.bundle import Input
from binventory.counting.counter import Counter, probed
from binventory.counting.trunk import OnnxTrunk
from binventory.data import catalogue
from binventory.errors import UsageError
from binventory.learning import export, quick

SHARES = [
    f"split.{side}={share}" for side, share in (("train", 0.5), ("validate", 0.2), ("calibrate", 0.2), ("test", 0.1))
]


def test_the_same_bins_look_alike_to_the_open_trunk_at_other_sizes() -> None:
    trunk = bundles.load("open").trunk
    tables = {
        side: OnnxTrunk(trunk, size=(side, side)).features(export.drawn_pictures(4, Input(side, side, "squash"), 5))
        for side in (192, 260, 320)
    }
    own = tables[260]
    for table in tables.values():
        alike = np.corrcoef(np.vstack([table, own]) - own.mean(axis=0))[:4, 4:]
        assert (alike.argmax(axis=1) == np.arange(4)).all(), "each bin is most like itself"


def test_a_bundle_of_another_size_is_a_bundle_like_any_other(bins: Path, tmp_path: Path) -> None:
    recipe = recipes.load("quick", [*SHARES, "quick.size=96", "quick.rounds=8"])
    data = catalogue.build([str(bins)], tmp_path / "work", recipe.link)
    data = catalogue.split_sides(data, recipe.split, recipe.seed)
    made = quick.train(bundles.load("open"), data, recipe, "small")
    assert (made.manifest.input.height, made.manifest.input.width) == (96, 96)
    assert quick.told(made).startswith("validate_log_loss=")
    bundles.save(made, tmp_path / "small")
    read = bundles.load(tmp_path / "small")
    assert read.probe is not None and read.probe.photos.shape[1:3] == (96, 96)
    assert probed(read).plain is probed(bundles.load("open")).plain
    photo = next((bins / "bin-images").glob("*.jpg"))
    assert Counter.load(tmp_path / "small").count(photo).probs != Counter.load("open").count(photo).probs
    back = quick.sized(read, 260)
    assert probed(back).height == 260, "and can be given another size again"


def test_a_trunk_of_one_size_says_so() -> None:
    with pytest.raises(UsageError, match="takes 224 x 224 pixels alone"):
        quick.sized(bundles.load("abid"), 192)
    assert quick.sized(bundles.load("abid"), 224).manifest == bundles.load("abid").manifest


@pytest.mark.train
def test_an_exported_network_takes_other_sizes_as_torch_does_or_stays_as_it_is(weights: Path) -> None:
    import torch

    size = Input(64, 64, "squash")
    network: Any = export.levels(export.backbone("test_resnet", weights.read_bytes()), (0.5,) * 3, (0.5,) * 3)
    fixed = export.trunk(network, size)
    opened = export.freed(fixed, size)
    assert OnnxTrunk(fixed).height == 64 and OnnxTrunk(opened).height is None
    for side in (48, 64, 96):
        pictures = export.drawn_pictures(2, Input(side, side, "squash"), 3)
        with torch.no_grad():
            expected = network(torch.from_numpy(pictures)).numpy()
        assert np.allclose(OnnxTrunk(opened, size=(side, side)).features(pictures), expected, atol=1e-3)

    class Stretched(torch.nn.Module):  # type: ignore[misc]
        """Looks at where things lie, as a network for one size does."""

        def __init__(self) -> None:
            super().__init__()
            self.place = torch.nn.Parameter(torch.rand(3, 64 * 64))

        def forward(self, photos: Any) -> Any:
            return (photos.permute(0, 3, 1, 2).float().reshape(-1, 3, 64 * 64) * self.place).sum(2)

    stiff = export.trunk(Stretched(), size)
    assert export.freed(stiff, size) == stiff
