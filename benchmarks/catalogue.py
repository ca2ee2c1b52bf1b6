"""Cataloguing, splitting and cleaning half a million records, against a plain loop over the same files in one run.

    python benchmarks/catalogue.py [--data DIR …] [--records 535234] [--scratch DIR]

Makes as many metadata files as the public bucket has, out of real ones (drawn ones without --data): each is a real
record with its products renamed for each round, so that neighbours share products as they really do. Then, each in a
process of its own, for an eighth, a quarter, half and all of them: a plain Python loop (``json.load``, the sum of the
quantities, kept in a list), ``catalogue``, ``split`` and ``clean``. Prints seconds, peak memory, ratios, and the
exponent by which each grows (1: twice the files, twice the time).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from binventory.data import drawn

SHARES = (0.125, 0.25, 0.5, 1.0)

PLAIN = """
import glob, json, sys
bins = []
for place in sorted(glob.glob(sys.argv[1] + "/metadata/*.json")):
    with open(place) as file:
        record = json.load(file)
    total = sum(line.get("quantity") or 0 for line in record["BIN_FCSKU_DATA"].values())
    bins.append((place, record.get("EXPECTED_QUANTITY"), total))
"""
VERB = "import sys; from binventory.cli import main; sys.argv[0] = 'binventory'; main()"


def main() -> None:
    """Print a line for each step and size, and the exponents."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", action="append")
    options.add_argument("--records", type=int, default=535_234)
    options.add_argument("--scratch", help="where the files are made: some 3 GB of disk")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        if not given.data:
            list(drawn.write(Path(scratch) / "bins", 400, seed=3))
        real = [Path(folder) / "metadata" for folder in given.data or [f"{scratch}/bins"]]
        records = [json.loads(path.read_bytes()) for folder in real for path in sorted(folder.glob("*.json"))]
        took: dict[str, list[float]] = {}
        sizes = [int(given.records * share) for share in SHARES]
        for size in sizes:
            data, work = f"{scratch}/{size}", f"{scratch}/work-{size}"
            write(Path(data) / "metadata", islice(many(records), size))
            verbs = {verb: [verb, "--data", data, "--work", work, "--json"] for verb in ("catalogue", "split", "clean")}
            steps = {"plain loop": [PLAIN, data]} | {verb: [VERB, *said] for verb, said in verbs.items()}
            for name, command in steps.items():
                seconds, peak = measured(command)
                took.setdefault(name, []).append(seconds)
                told = f"{name:12} {size:9,} records {seconds:8.1f} s {peak / 1e6:6.2f} GB"
                print(f"{told} {seconds / took['plain loop'][-1]:6.2f} x the plain loop", flush=True)
        for name, seconds_each in took.items():
            exponent = np.polyfit(np.log(sizes), np.log(seconds_each), 1)[0]
            print(f"{name:12} grows with the records to the power of {exponent:.2f}")


def many(records: list[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Ids and records without end: the real ones over and over, each round with products of its own."""
    number = 0
    while True:
        mark = f"{number // len(records):03}"
        for record in records:
            number += 1
            lines = dict(record.get("BIN_FCSKU_DATA") or {})  # type: ignore[call-overload]
            own = {sku + mark: {**line, "asin": (line.get("asin") or sku) + mark} for sku, line in lines.items()}
            yield f"{number:05}", json.dumps({**record, "BIN_FCSKU_DATA": own}, indent=4).encode()


def write(folder: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write the files as the bucket has them."""
    folder.mkdir(parents=True)
    for id, data in files:
        with open(os.path.join(folder, f"{id}.json"), "wb") as file:
            file.write(data)


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in kB of a new Python process that runs this code with these arguments."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[1:]} ended with {process.returncode}")
    return time.monotonic() - began, float(usage.ru_maxrss)


if __name__ == "__main__":
    main()
