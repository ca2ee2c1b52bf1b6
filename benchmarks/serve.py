"""Serving counts: requests a second and their latency, beside counting in process, as ratios in one run.

    python benchmarks/serve.py [--photos DIR] [--bundle BUNDLE] [--n 128] [--clients 8]

Floor: the same photos counted in this process, one a call and all together. Ours: ``binventory serve --hosting``, one
photo a request from one client and from several, and sixteen photos a request. Peer, where Java is there:
multi-model-server with ``inference.py``, which counts with the same bundle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import binventory
from binventory import Counter, Photo
from binventory.counting import wire
from binventory.data import drawn
from binventory.flow import chunks
from hosts import JPEG, LINES, Host, handler_based, hosted

ROUNDS = 3
TOGETHER = 16


def main() -> None:
    """Print one table: photos a second, the ratio to counting in process, and latencies of a request."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--photos", type=Path, help="a folder of photos; drawn ones where it is left out")
    options.add_argument("--bundle", default="open", help="open, or a bundle's folder")
    options.add_argument("--n", type=int, default=128)
    options.add_argument("--clients", type=int, default=8)
    given = options.parse_args()
    if given.photos:
        photos = [Photo(path.name, path.read_bytes()) for path in sorted(given.photos.rglob("*.jpg"))[: given.n]]
    else:
        photos = [Photo(one.id, one.jpeg) for one in drawn.draw(given.n, seed=9)]
    counter = Counter.load(given.bundle)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["XDG_CACHE_HOME"] = folder
        ours = stack.enter_context(hosted(Path(folder), "--bundle", given.bundle))
        ours.comes_up()
        works: dict[str, Callable[[], list[float]]] = {
            "in process, together": lambda: timed([lambda: list(counter.count_each(photos))]),
            "in process, one a call": lambda: timed([partial(counter.count, one) for one in photos]),
            **ways("ours", ours, photos, given.clients),
        }
        if shutil.which("java"):
            path = Path(given.bundle)
            bundle = path if path.is_dir() else Path(binventory.__file__).parent / "shipped" / given.bundle
            peer = stack.enter_context(handler_based(Path(folder), bundle))
            works |= ways("multi-model-server", peer, photos, given.clients)
        seconds, latencies = measured(works)
    print(f"{len(photos)} photos, bundle {given.bundle}, {ROUNDS} rounds in turn, medians; {os.cpu_count()} cores")
    print(f"{'':44} photos/s   x time   p50 ms   p99 ms (of a request)")
    for name, took in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(took, seconds["in process, together"], strict=True))
        rate = len(photos) / statistics.median(took)
        each = sorted(latencies[name])
        middle, worst = (1000 * each[min(len(each) - 1, int(share * len(each)))] for share in (0.5, 0.99))
        print(f"{name:44} {rate:8.1f} {ratio:8.2f} {middle:8.1f} {worst:8.1f}")


def ways(name: str, host: Host, photos: Sequence[Photo], clients: int) -> dict[str, Callable[[], list[float]]]:
    """How a server is asked: alone, by several clients at once, and with several photos a request."""
    bodies = [b"".join(wire.line(one.name, one.data) for one in chunk) for chunk in chunks(photos, TOGETHER)]
    client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=clients))

    def asked(body: bytes, headers: dict[str, str]) -> Callable[[], object]:
        return lambda: client.post(f"{host.url}/invocations", content=body, headers=headers).raise_for_status()

    singles = [asked(one.data, JPEG) for one in photos]
    several = [asked(body, LINES) for body in bodies]
    return {
        f"{name}, one client": lambda: timed(singles),
        f"{name}, {clients} clients": lambda: timed(singles, clients),
        f"{name}, {TOGETHER} photos a request": lambda: timed(several, 2),
    }


def timed(calls: Sequence[Callable[[], object]], clients: int = 1) -> list[float]:
    """Seconds of each call, ``clients`` at once, and last those of all together."""

    def one(call: Callable[[], object]) -> float:
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun

    begun = time.perf_counter()
    if clients == 1:
        each = [one(call) for call in calls]
    else:
        with ThreadPoolExecutor(clients) as pool:
            each = list(pool.map(one, calls))
    return [*each, time.perf_counter() - begun]


def measured(works: dict[str, Callable[[], list[float]]]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each work in each round, and of every call in it; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    latencies: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, work in works.items():
            *each, whole = work()
            if number:
                seconds[name].append(whole)
                latencies[name] += each
    return seconds, latencies


if __name__ == "__main__":
    main()
