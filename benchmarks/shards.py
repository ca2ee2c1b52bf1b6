"""Fine-tuning from shards on S3, streamed and kept, as shares of the folder's throughput in one run.

    python benchmarks/shards.py [--data DIR]... [--photos 128] [--rounds 3] [--backbone resnet50] [--size 192]

Needs the extra ``train``. The photos (drawn bins where no folder is given, else the first so many) lie in a folder, as
shards in a folder (what a SageMaker channel is), and as shards on a SeaweedFS server on loopback. Each way trains the
same network on the same photos in the same order. "supply" is an epoch without the network: how many photos a second
could be had, read, decoded, varied and stacked. "epoch" is one with it. "first" is what comes before the first epoch:
scaling all photos once where they are kept, nothing where they are streamed. Ways take turns, round by round; a share
is a way's rate over that of the folder in the same round, the median of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import timm
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from binventory.cloud import upload
from binventory.counting.bundle import Input
from binventory.data import catalogue, drawn
from binventory.data.catalogue import Row
from binventory.flow import ahead
from binventory.learning.full import camera, loop, pictures, schedule
from binventory.learning.full.loop import Material
from binventory.learning.full.network import Network
from binventory.learning.full.pictures import Pictures
from binventory.learning.full.processes import Processes
from binventory.recipe import FullRecipe, LinkRecipe, Recipe
from binventory.records import level
from s3server import serving

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Kept = Literal["kept", "streamed"]


@dataclass(frozen=True, slots=True)
class Way:
    """Where the photos lie, and whether their pictures are kept."""

    name: str
    rows: tuple[Row, ...]
    how: Kept


def main() -> None:
    """Print photos a second of each way, and shares of the folder's."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", action="append", help="a folder of photos; may be repeated")
    options.add_argument("--photos", type=int, default=128)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--backbone", default="resnet50")
    options.add_argument("--size", type=int, default=192)
    given = options.parse_args()
    recipe = FullRecipe(backbone=given.backbone, size=given.size, epochs=1)
    weed = Path(sys.executable).parent / "weed"
    with tempfile.TemporaryDirectory() as name, serving(weed, made(Path(name) / "server")) as server:
        if server is None:
            sys.exit("the S3 server does not start")
        os.environ |= {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": server.key,
                       "AWS_SECRET_ACCESS_KEY": server.secret}  # fmt: skip
        ways = list(laid_out(given.data or [drawn_bins(Path(name) / "bins", given.photos)], Path(name), given.photos))
        print(f"{given.backbone}, {given.size} px, {len(ways[0].rows)} photos, {torch.get_num_threads()} threads, "
              f"{given.rounds} rounds in turn, medians")  # fmt: skip
        readings: dict[str, list[tuple[float, float, float]]] = {way.name: [] for way in ways}
        for number in range(given.rounds):
            for way in ways:
                reading = measured(way, recipe, Path(name) / f"{way.name} {number}")
                readings[way.name].append(reading)
                print(f"round {number + 1}, {way.name}: {reading[2]:.1f} photos/s", file=sys.stderr, flush=True)
    print(f"{'':30}{'first, s':>9}{'supply, photos/s':>18}{'share':>7}{'epoch, photos/s':>18}{'share':>7}")
    base = readings[ways[0].name]
    for name, rounds in readings.items():
        first, supply, epoch = (statistics.median(one[place] for one in rounds) for place in range(3))
        shares = [statistics.median(one[place] / its[place] for one, its in zip(rounds, base, strict=True))
                  for place in (1, 2)]  # fmt: skip
        print(f"{name:30}{first:9.1f}{supply:18.0f}{shares[0]:7.2f}{epoch:18.1f}{shares[1]:7.2f}")


def laid_out(data: list[str], scratch: Path, most: int) -> Iterator[Way]:
    """The same photos in every way, the folder first."""
    found = catalogue.build(data, scratch / "work", LinkRecipe())
    found = catalogue.split_sides(found, Recipe().split, 1)
    ids = {row.id for row in [row for row in found.rows if row.count is not None][:most]}
    upload.upload(found, upload.place("s3://private/bench", None), Recipe())
    upload.upload(found, upload.Folder(scratch / "shards"), Recipe())
    far = catalogue.build(["s3://private/bench"], scratch / "far", LinkRecipe())
    near = catalogue.build([str(scratch / "shards")], scratch / "near", LinkRecipe())
    folder, s3, channel = (tuple(row for row in one.rows if row.id in ids) for one in (found, far, near))
    yield Way("folder, kept", folder, "kept")
    yield Way("folder, streamed", folder, "streamed")
    yield Way("shards on S3, kept", s3, "kept")
    yield Way("shards on S3, streamed", s3, "streamed")
    yield Way("shards in a channel, streamed", channel, "streamed")


def measured(way: Way, recipe: FullRecipe, work: Path) -> tuple[float, float, float]:
    """Seconds before the first epoch, photos a second of its supply alone, and of an epoch."""
    start = time.monotonic()
    side = round(recipe.size * 8 / 7)
    learnt = pictures.supplied(way.rows, Input(side, side, recipe.fit), way.how, work)
    first = time.monotonic() - start
    supply = supplied(learnt, recipe)
    levels = np.array([level(row.count or 0) for row in way.rows])
    seeds = [int(row.sha256[:15], 16) for row in way.rows]
    judged = np.zeros((1, recipe.size, recipe.size, 3), np.uint8)
    material = Material(learnt, seeds, levels, np.ones(len(levels), np.float32), judged, levels[:1])
    torch.manual_seed(0)
    network = Network(timm.create_model(recipe.backbone, num_classes=0), MEAN, STD, recipe)
    _, epochs = loop.train(
        network, material, recipe, 1, work, Processes(0, 1, torch.device("cpu")), lambda *_: {}, lambda _: None,
        lambda items, *_: items,
    )  # fmt: skip
    return first, supply, epochs[-1]["photos_per_second"]


def supplied(learnt: Pictures, recipe: FullRecipe) -> float:
    """Photos a second of an epoch whose network does nothing, read as far ahead as in training."""
    start = time.monotonic()
    batches = schedule.batches(len(learnt), recipe.batch, 1, 0)
    for _ in ahead(
        lambda part: np.stack([camera.varied(one, recipe.size, recipe.camera, (1,)) for one in learnt[part]]),
        batches, most=4,
    ):  # fmt: skip
        pass
    return len(learnt) / (time.monotonic() - start)


def drawn_bins(folder: Path, number: int) -> str:
    """So many bins, drawn."""
    list(drawn.write(folder, number, 1))
    return str(folder)


def made(folder: Path) -> Path:
    """A folder, made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
