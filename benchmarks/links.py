"""How well registration finds before/after twins that the records know of, beside two simpler ways.

    python benchmarks/links.py --data DIR [--data DIR] [--pairs 600]

Twins: neighbours n, n+1 whose records share a product. Strangers: photos at distant ids whose records share none.
Without --data it draws bins. Prints the area under the curve, recall where one stranger in a hundred is taken for a
twin, and precision and recall at the recipe's threshold among as many strangers as twins.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from binventory import photo
from binventory.data import catalogue, drawn, links, tables
from binventory.photo import Pixels
from binventory.recipe import LinkRecipe


def main() -> None:
    """Print one line for each way of telling twins."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", action="append")
    options.add_argument("--pairs", type=int, default=600)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or [f"{scratch}/bins"]
        for _ in [] if given.data else drawn.write(Path(data[0]), given.pairs, seed=3):
            pass
        found = catalogue.build(data, Path(scratch) / "work", LinkRecipe())
        places = {row.id: row.address for row in found.rows}
        of = dict[str, set[str]]()
        for id, sku in tables.query(found.work, "select id, sku from items")[1]:
            of.setdefault(id, set()).add(sku)
        rng = np.random.default_rng(0)
        twins = [(link.one, link.other) for link in found.links if link.why == "shares a product"]
        twins = [twins[at] for at in rng.permutation(len(twins))[: given.pairs]]
        ids = sorted(of)
        pairs = (tuple(rng.choice(ids, 2, replace=False)) for _ in range(3 * given.pairs))
        strangers = [(str(a), str(b)) for a, b in pairs if not of[a] & of[b]][: len(twins)]
        ways = {"ours: registration": registration, "phase correlation": phase, "perceptual hash": hashed}
        for name, score in ways.items():
            near, far = (
                np.array([score(read(places[a]), read(places[b])) for a, b in some]) for some in (twins, strangers)
            )
            area = float(np.mean((near[:, None] > far) + 0.5 * (near[:, None] == far)))
            line = f"{name:20} area {area:.3f}   recall at 1 % {np.mean(near > np.quantile(far, 0.99)):.3f}"
            if score is registration:
                threshold = LinkRecipe().registration
                hits, false = (near >= threshold).sum(), (far >= threshold).sum()
                line += f"   at {threshold}: precision {hits / (hits + false):.3f}, recall {hits / len(near):.3f}"
            print(line, f"  ({len(near)} twins, {len(far)} strangers)")


def read(address: str) -> Pixels:
    """A photo's pixels."""
    return photo.decode(Path(address).read_bytes(), address)


def registration(one: Pixels, other: Pixels) -> float:
    """What the catalogue uses."""
    return links.agreement(links.outline(one), links.outline(other))


def phase(one: Pixels, other: Pixels) -> float:
    """The peak of the phase correlation of 128 x 128 grey pictures under a Hann window, over its spread."""
    side = 128
    window = np.outer(np.hanning(side), np.hanning(side))
    spectra = [np.fft.fft2(photo.fit(each, side, side).mean(axis=2) * window) for each in (one, other)]
    cross = spectra[0] * np.conj(spectra[1])
    surface = np.fft.ifft2(cross / (np.abs(cross) + 1e-6)).real
    return float(surface.max() / surface.std())


def hashed(one: Pixels, other: Pixels) -> float:
    """Bits in which the two perceptual hashes agree."""
    return 256.0 - (int(photo.likeness(one), 16) ^ int(photo.likeness(other), 16)).bit_count()


if __name__ == "__main__":
    main()
