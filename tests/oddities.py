"""Data made by hand, and data that lack what others have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from binventory.data import drawn

Files = dict[str, bytes | str | dict[str, Any]]

JPEG = {number: drawn.draw_one(number, 21).jpeg for number in range(1, 8)}


def put(folder: Path, files: Files) -> Path:
    """Write files by name into a folder; a mapping becomes JSON."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(content) if isinstance(content, dict) else content
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def record(quantity: int | None, /, side: float | None = 2.0, **items: int | None) -> dict[str, Any]:
    """A record of cubes, their edges in inches."""
    size = {"unit": "IN", "value": side}
    line = {"height": size, "length": size, "width": size, "weight": {"unit": "pounds", "value": 1}}
    lines = {asin: {"asin": asin, "name": f"a {asin}", "quantity": one, **line} for asin, one in items.items()}
    return {"BIN_FCSKU_DATA": lines, "EXPECTED_QUANTITY": quantity}


ODD: dict[str, Files] = {
    "photos alone": {f"{n}.jpg": JPEG[n] for n in range(1, 6)},
    "one photo": {"a.jpg": JPEG[1]},
    "one photo and its label": {"a.jpg": JPEG[1], "labels.csv": "id,count\na,4\n"},
    "class folders": {"1/a.jpg": JPEG[1], "2/b.jpg": JPEG[2], "2/c.jpg": JPEG[3]},
    "every count the same": {f"3/{n}.jpg": JPEG[n] for n in range(1, 6)},
    "records alone": {f"metadata/{n:05}.json": record(n, B1=n) for n in range(5)},
    "records that say nothing": {"metadata/1.json": {}, "metadata/2.json": {"BIN_FCSKU_DATA": None}},
    "no photo that opens": {"a.jpg": b"", "b.jpg": b"no photo"},
    "the same photo again and again": {f"{n}.jpg": JPEG[1] for n in "abc"},
    "items without a volume": {"bin-images/1.jpg": JPEG[1], "metadata/1.json": record(0, B1=0)},
    "a name for a script": {
        "bin-images/\"><img src=x onerror=alert(1)>.jpg": JPEG[1],
        "bin-images/1.jpg": JPEG[1], "metadata/1.json": record(1, **{"<script>alert(1)</script>": 1}),
        "bin-images/2.jpg": JPEG[2], "metadata/2.json": record(3, **{"<script>alert(1)</script>": 3}),
        "bin-images/<b>.jpg": b"",
    },
}  # fmt: skip
