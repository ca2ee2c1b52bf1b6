"""Makes the bundle ``open``: an Apache-2.0 trunk, quantised, with a head fitted on drawn bins. No photo of ABID's.

    python ship/open.py --weights tf_efficientnet_lite2.safetensors [--bins 12000] [--out src/binventory/shipped/open]

Needs the ``train`` extra. The weights are EfficientNet-Lite2's (TensorFlow TPU models, Apache-2.0) as a timm state
dict; ``timm.create_model("tf_efficientnet_lite2", pretrained=True).state_dict()`` are the same.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from binventory import recipe
from binventory.cli import terminal
from binventory.counting import bundle
from binventory.counting.bundle import Input
from binventory.counting.trunk import OnnxTrunk
from binventory.data import catalogue, drawn
from binventory.learning import card, export, quick

SIZE = Input(260, 260, "squash")
ORIGIN = ("EfficientNet-Lite2 trained on ImageNet (TensorFlow TPU models, Apache-2.0)",)
NOTE = (
    "bundle open has learnt from drawn bins only: it counts real ones poorly, and its intervals do not hold there. "
    "Fit it to photos of your site: binventory train --data DIR --from open --out BUNDLE"
)


def main() -> None:
    """Draw bins, export and quantise the trunk, fit the head, write the bundle."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--weights", type=Path, required=True)
    options.add_argument("--bins", type=int, default=12_000)
    options.add_argument("--seed", type=int, default=20_260_101)
    options.add_argument("--work", type=Path, default=Path("build/open"))
    options.add_argument("--out", type=Path, default=Path("src/binventory/shipped/open"))
    given = options.parse_args()

    bins = given.work / "bins"
    for _ in terminal.tracked(drawn.write(bins, given.bins, given.seed), "drawing bins", given.bins):
        pass
    pictures = export.drawn_pictures(136, SIZE, given.seed + 1)
    onnx = given.work / "trunk.onnx"
    if not onnx.is_file():
        network = export.backbone("tf_efficientnet_lite2", given.weights.read_bytes())
        whole = export.trunk(export.levels(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), SIZE)
        small = export.quantised(whole, pictures[:128])
        apart = OnnxTrunk(small).features(pictures[128:]) - OnnxTrunk(whole).features(pictures[128:])
        print(f"trunk: {len(whole) / 1e6:.1f} MB in float, {len(small) / 1e6:.1f} MB in int8, "
              f"features apart by {np.abs(apart).mean():.4f} on average")  # fmt: skip
        onnx.write_bytes(export.freed(small, SIZE))
    base = quick.unfitted(onnx.read_bytes(), SIZE, pictures[128:], "Apache-2.0", ORIGIN)
    settings = recipe.load("quick", ["prior=reference"])
    data = catalogue.build([str(bins)], given.work / "catalogue", settings.link, terminal.tracked)
    data = catalogue.split_sides(data, settings.split, settings.seed)
    made = quick.train(base, data, settings, "open", terminal.tracked)
    manifest = replace(made.manifest, licence="Apache-2.0", derived_from=ORIGIN, note=NOTE)
    licence = (Path(__file__).parent.parent / "LICENSE").read_bytes()
    made = replace(made, manifest=manifest, extra=(("LICENSE", licence),))
    made = replace(made, card=card.written(made))
    bundle.save(made, given.out)
    print(f"written: {given.out}", made.manifest.figures["validate"])


if __name__ == "__main__":
    main()
