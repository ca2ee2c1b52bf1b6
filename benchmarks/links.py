"""How well registration finds before/after twins that the records know of, beside two simpler ways.

    python benchmarks/links.py --data DIR [--data DIR] [--pairs 600]

Twins: neighbours n, n+1 whose records share a product. Strangers: photos at distant ids whose records share none;
then, as it is met in truth, neighbours whose records share none. Without --data it draws bins. Prints the area under
the curve, recall where one stranger in a hundred is taken for a twin, and precision and recall at the recipe's
threshold: among as many distant strangers as twins, and among neighbours in their natural mix.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
        known = [pair for pair in links.neighbours(of) if pair[0] in places and pair[1] in places]
        known = [known[at] for at in rng.permutation(len(known))]
        twins = [(a, b) for a, b in known if of[a] & of[b]][: given.pairs]
        ids = sorted(of.keys() & places.keys())
        drawn_pairs = (tuple(rng.choice(ids, 2, replace=False)) for _ in range(3 * given.pairs))
        strangers = [(str(a), str(b)) for a, b in drawn_pairs if not of[a] & of[b]][: len(twins)]
        natural = known[: 2 * given.pairs]
        apart = [(a, b) for a, b in natural if not of[a] & of[b]]
        threshold = LinkRecipe().registration
        for name, score in {"ours: registration": registration, "phase correlation": phase,
                            "perceptual hash": hashed}.items():  # fmt: skip
            near, far, beside = (
                np.array([score(read(places[a]), read(places[b])) for a, b in some])
                for some in (twins, strangers, apart)
            )
            print(f"{name:20} strangers: {told(near, far)}   neighbours: {told(near, beside)}")
            if score is registration:
                share = 1 - len(apart) / len(natural)
                for what, others, weight in (("strangers", far, 1.0), ("neighbours", beside, (1 - share) / share)):
                    hits, false = np.mean(near >= threshold), np.mean(others >= threshold) * weight
                    print(f"  at {threshold} among {what}: precision {hits / (hits + false):.3f}, recall {hits:.3f}")
        print(
            f"({len(twins)} twins, {len(strangers)} strangers; of {len(natural)} neighbours {len(apart)} are no twins)"
        )


def told(near: NDArray[np.float64], far: NDArray[np.float64]) -> str:
    """Area under the curve, and recall where one of the others in a hundred is taken for a twin."""
    area = float(np.mean((near[:, None] > far) + 0.5 * (near[:, None] == far)))
    return f"area {area:.3f}, recall at 1 % {np.mean(near > np.quantile(far, 0.99)):.3f}"


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
