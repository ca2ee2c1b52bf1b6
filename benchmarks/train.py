"""Photos a second of an epoch of fine-tuning, against the plain recipe, on the same network in the same run.

    python benchmarks/train.py [--backbone resnet50] [--size 192] [--photos 256]

Needs the extra ``train``. The plain recipe is what a tutorial does: a folder of JPEGs by class, a random resized crop
and a flip, fp32, torch's DataLoader as it comes. It is run twice, with every layer learning and with the same layers
frozen as ours. Photos are drawn bins; weights are random, which changes no speed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

from binventory.counting.bundle import Input
from binventory.data import catalogue, drawn
from binventory.learning.full import loop, pictures
from binventory.learning.full.loop import Material
from binventory.learning.full.network import Network
from binventory.learning.full.processes import Processes
from binventory.recipe import FullRecipe, LinkRecipe
from binventory.records import level

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Folder(torch.utils.data.Dataset):  # type: ignore[misc]
    """Class folders of JPEGs, decoded, cropped and flipped when asked, as torchvision's ImageFolder would."""

    def __init__(self, root: Path, size: int) -> None:
        self.photos = sorted(root.glob("*/*.jpg"))
        self.size, self.chance = size, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        chance, path = self.chance, self.photos[place]
        image = Image.open(path).convert("RGB")
        area = image.width * image.height * chance.uniform(0.08, 1)
        ratio = np.exp(chance.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = min(image.width, (area * ratio) ** 0.5), min(image.height, (area / ratio) ** 0.5)
        left, top = chance.uniform(0, image.width - width), chance.uniform(0, image.height - height)
        box = (left, top, left + width, top + height)
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        if chance.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), int(path.parent.name)


def plain(recipe: FullRecipe, root: Path) -> float:
    """Photos a second of the plain recipe's second epoch; the layers frozen that ``recipe`` freezes."""
    made = Network(timm.create_model(recipe.backbone, num_classes=0), MEAN, STD, recipe)
    network = torch.nn.Sequential(made.backbone, made.head)
    loader = torch.utils.data.DataLoader(Folder(root, recipe.size), batch_size=recipe.batch, shuffle=True)
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=recipe.lr)
    network.train()
    took = 0.0
    for _ in range(2):
        start = time.monotonic()
        for photos, counts in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(photos), counts).backward()
            optimizer.step()
        took = time.monotonic() - start
    return len(loader.dataset) / took


def ours(recipe: FullRecipe, rows: Any, work: Path) -> tuple[float, float]:
    """Photos a second of our second epoch, and the share of its time that went by waiting for photos."""
    size = Input(recipe.size, recipe.size, recipe.fit)
    kept, levels = pictures.of(rows, size, work), np.array([level(row.count or 0) for row in rows])
    material = Material(kept, list(range(len(rows))), levels, np.ones(len(rows), np.float32), kept[:1], levels[:1])
    network = Network(timm.create_model(recipe.backbone, num_classes=0), MEAN, STD, recipe)
    _, epochs = loop.train(
        network, material, recipe, 1, work, Processes(0, 1, torch.device("cpu")), lambda *_: {}, lambda _: None,
        lambda items, *_: items,
    )  # fmt: skip
    return epochs[-1]["photos_per_second"], epochs[-1]["waiting"]


def main() -> None:
    """Draw photos, run both, print the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--backbone", default="resnet50")
    options.add_argument("--size", type=int, default=192)
    options.add_argument("--photos", type=int, default=256)
    given = options.parse_args()
    recipe = FullRecipe(backbone=given.backbone, size=given.size, epochs=2)
    with tempfile.TemporaryDirectory() as scratch:
        bins = Path(scratch) / "bins"
        list(drawn.write(bins, given.photos, 1))
        rows = catalogue.build([str(bins)], Path(scratch) / "work", LinkRecipe()).rows
        for row in rows:
            folder = Path(scratch) / "classes" / str(level(row.count or 0))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row.id}.jpg").hardlink_to(row.address)
        speed, waiting = ours(recipe, rows, Path(scratch) / "work")
        whole = plain(FullRecipe(backbone=given.backbone, size=given.size, frozen=0), Path(scratch) / "classes")
        same = plain(recipe, Path(scratch) / "classes")
    print(f"{given.backbone}, {given.size} px, {given.photos} photos, {torch.get_num_threads()} threads")
    print(f"ours                           {speed:6.1f} photos/s, {waiting:.1%} of the time waiting for photos")
    print(f"plain, every layer learns      {whole:6.1f} photos/s; ours is {speed / whole:.2f}x")
    print(f"plain, the same layers frozen  {same:6.1f} photos/s; ours is {speed / same:.2f}x")


if __name__ == "__main__":
    main()
