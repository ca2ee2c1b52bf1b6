"""Photos to counts, as a warehouse runs it: bundle, trunk, head, calibration, counter. No torch, quick to start."""

import os

# onnxruntime's builds report usage to their maker over the network unless told otherwise before they load.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
