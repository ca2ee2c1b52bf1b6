"""Two thousand files that no camera would send: each gives pixels or one sentence, in seconds, within a gibibyte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import hostile
from binventory.flow import chunks

SOAK = int(os.environ.get("BINVENTORY_SOAK", "2000"))
"""How many damaged files; ``make soak`` asks for more."""

SECONDS = 5
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits and peaks are read as on Linux")
GIBIBYTE = 1 << 30

# Reads every file of a folder with the address space limited. A file that takes longer than SECONDS of processor time
# ends the process, whatever it is doing; the last line then names the file before it.
READER = rf"""if True:
    import json, pathlib, re, resource, signal, sys, time
    import numpy as np
    from binventory import errors, photo
    resource.setrlimit(resource.RLIMIT_AS, ({GIBIBYTE}, {GIBIBYTE}))
    for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        data = file.read_bytes()
        signal.setitimer(signal.ITIMER_PROF, {SECONDS})
        start = time.process_time()
        try:
            pixels = photo.decode(data, file.name)
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size, pixels.shape
            told = ""
        except errors.PhotoError as error:
            assert error.why and error.next and file.name in error.what and chr(10) not in str(error), error
            told = str(error)
        seconds = time.process_time() - start
        signal.setitimer(signal.ITIMER_PROF, 0)
        pixels = data = None
        # Of this process alone; ru_maxrss begins with that of the process which started it.
        peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
        print(json.dumps([file.name, told, seconds, peak]), flush=True)
"""

Outcome = tuple[str, str, float, int]
"""A file's name, why it was refused or "", the seconds of processor time that it took, and the peak memory so far."""


def outcomes(files: Iterable[hostile.Named], folder: Path, at_once: int) -> Iterator[Outcome]:
    """What comes of the files, a process for every ``at_once`` of them."""
    for batch, part in enumerate(chunks(files, at_once)):
        place = folder / str(batch)
        place.mkdir()
        names = {f"{number:06}.jpg": name for number, (name, _) in enumerate(part)}
        for file, (_, data) in zip(names, part, strict=True):
            (place / file).write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", READER, str(place)], capture_output=True, text=True, check=False,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        told = [json.loads(line) for line in done.stdout.splitlines()]
        failed = [name for file, name in names.items() if file not in {row[0] for row in told}]
        assert done.returncode == 0, f"{failed[:1]} ended the reader ({done.returncode}): {done.stderr[-600:]}"
        yield from ((names[file], why, seconds, peak) for file, why, seconds, peak in told)
        for path in place.iterdir():
            path.unlink()


@pytest.mark.timeout(3600)
def test_damaged_files_give_pixels_or_one_sentence(tmp_path: Path) -> None:
    told = list(outcomes(hostile.damaged(SOAK), tmp_path, 500))
    assert len(told) == SOAK
    assert max(seconds for _, _, seconds, _ in told) < SECONDS
    assert max(peak for *_, peak in told) < GIBIBYTE // 2
    refused = sum(why != "" for _, why, _, _ in told)
    assert 0.4 * SOAK < refused < SOAK
    print(f"{SOAK} damaged files, {refused} refused, peak {max(row[3] for row in told) >> 20} MiB")


@pytest.mark.timeout(900)
def test_hostile_files_are_read_or_refused_in_seconds_and_within_a_gibibyte(tmp_path: Path) -> None:
    told = list(outcomes(hostile.hostile(), tmp_path, 40))
    slowest = max(told, key=lambda row: row[2])
    assert slowest[2] < SECONDS, slowest
    assert max(peak for *_, peak in told) < GIBIBYTE
    assert not [name for name, why, *_ in told if "memory" in why], "refused for want of memory, not by its header"
    print(f"{len(told)} hostile files, slowest {slowest}, peak {max(row[3] for row in told) >> 20} MiB")


def test_whole_files_of_every_kind_are_read(tmp_path: Path) -> None:
    assert [(name, why) for name, why, *_ in outcomes(hostile.wholes().items(), tmp_path, 100) if why] == []
