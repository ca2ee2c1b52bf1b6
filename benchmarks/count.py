"""Counting photos: the floor, ours, and the plain recipe, as ratios in one run; then a new process and its memory.

    python benchmarks/count.py [--photos DIR] [--bundle BUNDLE] [--n 128]

Floor: decoding alone, and the network alone on pictures already fitted; nothing that does both one after the other
can beat their sum on one core. Peer: the loop that people write first, Pillow at full size, one photo a call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from binventory import Counter, Photo, photo
from binventory.counting.trunk import OnnxTrunk
from binventory.data import drawn
from binventory.flow import chunks

ROUNDS = 5


def main() -> None:
    """Print one table of photos a second and ratios, and one line about a new process."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--photos", type=Path, help="a folder of photos; drawn ones where it is left out")
    options.add_argument("--bundle", default="open")
    options.add_argument("--n", type=int, default=128)
    given = options.parse_args()
    if given.photos:
        photos = [Photo(path.name, path.read_bytes()) for path in sorted(given.photos.rglob("*.jpg"))[: given.n]]
    else:
        photos = [Photo(one.id, one.jpeg) for one in drawn.draw(given.n, seed=9)]
    counter = Counter.load(given.bundle)
    size = counter.bundle.manifest.input
    trunk = OnnxTrunk(counter.bundle.trunk)
    fitted = np.stack([photo.fit(photo.decode(one.data), size.height, size.width, size.fit) for one in photos])

    def ours() -> None:
        list(counter.count_each(photos))

    def decoding() -> None:
        for one in photos:
            photo.fit(photo.decode(one.data), size.height, size.width, size.fit)

    def network() -> None:
        for batch in chunks(fitted, 16):
            trunk.features(np.stack(batch))

    def plain() -> None:
        for one in photos:
            picture = Image.open(BytesIO(one.data)).convert("RGB").resize((size.width, size.height))
            counter.count_fitted(np.asarray(picture)[None])

    seconds = compare({"ours": ours, "floor: decoding": decoding, "floor: network": network, "peer: plain loop": plain})
    print(f"{len(photos)} photos, bundle {given.bundle}, {ROUNDS} rounds in turn, medians")
    for name, took in seconds.items():
        ratio = statistics.median(other / mine for other, mine in zip(took, seconds["ours"], strict=True))
        print(f"{name:18} {len(photos) / statistics.median(took):8.1f} photos/s   {ratio:5.2f} x the time of ours")
    with tempfile.TemporaryDirectory() as folder:
        six = [Path(folder) / f"{number}.jpg" for number in range(6)]
        for path, one in zip(six, photos, strict=False):
            path.write_bytes(one.data)
        print(json.dumps(new_process(given.bundle, six)))


def compare(works: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Seconds of each work in each round, the works in turn so that a machine's drift meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


MEASURED = """
import sys
from pathlib import Path
from binventory.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""


def new_process(bundle: str, photos: list[Path]) -> dict[str, float]:
    """Wall seconds and peak memory of ``binventory count`` on six photos: with the one-time probe, and after it."""
    took, peaks = [], []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(1 + ROUNDS):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", MEASURED, "count", "--bundle", bundle, "--json", *map(str, photos)],
                check=True, capture_output=True, text=True, env={"XDG_CACHE_HOME": cache, "PATH": "/usr/bin:/bin"},
            )  # fmt: skip
            took.append(time.perf_counter() - start)
            peaks.append(int(done.stderr.split()[-1]) / 1024)
    return {
        "new process, six photos, s": round(statistics.median(took[1:]), 2),
        "first time on a machine, with the probe, s": round(took[0], 2),
        "peak memory, MB": round(max(peaks)),
    }


if __name__ == "__main__":
    main()
