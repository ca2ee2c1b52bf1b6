"""A small site for the demo, around drawn bins: its records, of which some are wrong, two consignments, and photos that
land as a camera leaves them.

    binventory draw --out DIR/bins --bins 200 --seed 2
    python ship/demo.py DIR

Writes ``DIR/records.csv``, ``DIR/OUT-1001.csv``, ``DIR/OUT-1002.csv``, ``DIR/wrong.csv`` (which records are wrong, and
what is really there) and ``DIR/camera/BIN/TIME.jpg``, all of yesterday. A site that is there already stays as it is;
then it says what became of the wrong records, by ``DIR/verdicts.jsonl``, which ``watch --json`` printed.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("bin", "sku", "name", "quantity", "height", "length", "width", "weight", "value")
WRONG = 0.05
CONSIGNMENTS = {"OUT-1001": range(40), "OUT-1002": range(40, 65)}

Line = dict[str, Any]


def main(place: Path, morning: datetime) -> None:
    """Write the site's files, its records as of ``morning``, its photos from two hours later on."""
    records = sorted((place / "bins" / "metadata").glob("*.json"))
    if not records:
        sys.exit(
            f"error: {place / 'bins'} holds no bins. Try: binventory draw --out {place / 'bins'} --bins 200 --seed 2"
        )
    if (place / "wrong.csv").exists():
        told(place)
        return
    random = np.random.default_rng(7)
    said: dict[str, list[Line]] = {}
    wrong: list[tuple[str, int, int]] = []
    for path in records:
        bin = path.stem
        true = list(json.loads(path.read_text())["BIN_FCSKU_DATA"].values())
        said[bin] = tampered(true, random) if true and random.random() < WRONG else true
        if total(said[bin]) != total(true):
            wrong.append((bin, total(said[bin]), total(true)))
    every = ((*row, morning.isoformat()) for bin, lines in said.items() for row in rows(bin, lines))
    write(place / "records.csv", (*COLUMNS, "at"), every)
    bins = list(said)
    for name, numbers in CONSIGNMENTS.items():
        lines = ((name, *row) for number in numbers for row in rows(bins[number], said[bins[number]]))
        write(place / f"{name}.csv", ("consignment", *COLUMNS), lines)
    for number, path in enumerate(records):
        taken = morning + timedelta(hours=2, seconds=20 * number)
        landed = place / "camera" / path.stem / f"{taken:%Y%m%dT%H%M%SZ}.jpg"
        landed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / "bins" / "bin-images" / f"{path.stem}.jpg", landed)
    write(place / "wrong.csv", ("bin", "record", "really"), wrong)  # last: it says that all is there
    print(f"a site of {len(records)} bins, {len(wrong)} of its records wrong: {place}")


def told(place: Path) -> None:
    """Say what became of the wrong records, where ``verdicts.jsonl`` tells the verdicts."""
    if not (place / "verdicts.jsonl").exists():
        return
    verdicts = [json.loads(line) for line in (place / "verdicts.jsonl").read_text().splitlines()]
    passed = {one["bin"] for one in verdicts if one.get("verdict") == "match"}
    with (place / "wrong.csv").open(encoding="utf-8") as file:
        wrong = {row["bin"] for row in csv.DictReader(file)}
    print(f"{len(verdicts)} verdicts: {len(passed)} records may stand, {len(verdicts) - len(passed)} bins are to be "
          f"recounted; of the {len(wrong)} wrong records {len(wrong & passed)} passed")  # fmt: skip


def total(lines: Sequence[Line]) -> int:
    """How many items lines have together."""
    return sum(int(line["quantity"]) for line in lines)


def tampered(lines: Sequence[Line], random: np.random.Generator) -> list[Line]:
    """The lines with one or two items too many or too few in one of them."""
    at = int(random.integers(len(lines)))
    change = int(random.choice([-2, -1, 1, 2]))
    quantity = max(1, int(lines[at]["quantity"]) + change)
    return [line | {"quantity": quantity} if number == at else line for number, line in enumerate(lines)]


def rows(bin: str, lines: Sequence[Line]) -> Iterable[tuple[object, ...]]:
    """A bin's lines as rows of ``COLUMNS``; an empty bin is one row."""
    if not lines:
        yield bin, "", "", 0, "", "", "", "", ""
    for line in lines:
        sizes = [line[side]["value"] for side in ("height", "length", "width", "weight")]
        value = round(2 + 8 * sizes[3], 2)  # heavier goods cost more, here
        yield bin, line["asin"], line["name"], line["quantity"], *sizes, value


def write(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Write a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    yesterday = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=1)
    main(Path(sys.argv[1]), yesterday)
