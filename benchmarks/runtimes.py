"""ONNX Runtime against OpenVINO on a bundle's trunk: start, memory and speed, as ratios in one run.

    pip install openvino
    python benchmarks/runtimes.py [--bundle BUNDLE]

Each reading is of a new process that loads the trunk, runs six pictures, then batches of sixteen for a while; the two
runtimes take turns. Ratios are OpenVINO's reading over ONNX Runtime's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from binventory.counting import bundle as bundles

ROUNDS = 5
PROCESS = """
import json, os, resource, sys, time
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
start = time.perf_counter()
kind, path, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
pictures = np.random.default_rng(0).integers(0, 255, (16, side, side, 3), dtype=np.uint8)
onnx = open(path, "rb").read()
if kind == "onnxruntime":
    import onnxruntime
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    run = lambda batch: session.run(None, {session.get_inputs()[0].name: batch})
else:
    import openvino
    core = openvino.Core()
    request = core.compile_model(core.read_model(onnx, b""), "CPU").create_infer_request()
    run = lambda batch: request.infer({0: batch})
run(pictures[:6])
loaded, memory = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
run(pictures)
start, batches = time.perf_counter(), 0
while time.perf_counter() - start < 2:
    run(pictures)
    batches += 1
speed = 16 * batches / (time.perf_counter() - start)
print(json.dumps({"seconds to the first six": loaded, "MB at the first six": memory, "pictures a second": speed}))
"""


def main() -> None:
    """Print each reading's medians and the ratio."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bundle", default="open")
    bundle = bundles.load(options.parse_args().bundle)
    readings: dict[str, list[dict[str, float]]] = {"onnxruntime": [], "openvino": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trunk.onnx"
        path.write_bytes(bundle.trunk)
        for _ in range(ROUNDS):
            for kind, found in readings.items():
                words = [sys.executable, "-c", PROCESS, kind, str(path), str(bundle.manifest.input.height)]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{kind} is left out: {(done.stderr.splitlines() or ['it failed'])[-1]}")
                    return
                found.append(json.loads(done.stdout))
    for name in readings["openvino"][0]:
        ours, other = ([reading[name] for reading in found] for found in readings.values())
        ratio = statistics.median(b / a for a, b in zip(ours, other, strict=True))
        print(f"{name:26} onnxruntime {statistics.median(ours):7.2f}   openvino {statistics.median(other):7.2f}   "
              f"ratio {ratio:5.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
