"""The runtime behind one small interface: fitted pictures in, features out. ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from binventory.errors import BundleError
from binventory.photo import Pixels

SIDES = ("height", "width")
"""What a network's input calls the sides that it leaves open."""


class Trunk(Protocol):
    """Pictures uint8 [N, H, W, 3] in RGB to features float32 [N, D].

    ``identity``: what the last digits of its features depend on, as one word.
    """

    identity: str

    def features(self, pictures: Pixels) -> NDArray[np.float32]:
        """Features float32 [N, D] of N fitted pictures."""
        ...


class OnnxTrunk:
    """A trunk given as ONNX bytes. Raises BundleError where they are no network of the expected form.

    ``plain``: run the network as written, without the int8 kernels of this machine; several times slower, but the
    same everywhere. ``size``: height and width of the pictures to come, for a network that leaves them open; the
    runtime then chooses the kernels that it would choose for one that fixes them.
    """

    def __init__(
        self, onnx: bytes, threads: int | None = None, plain: bool = False, size: tuple[int, int] | None = None
    ) -> None:
        import onnxruntime as ort

        _refuse_external_data(onnx)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # Threads that spin while they wait take the cores from decoding, and from whoever else is on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads:
            options.intra_op_num_threads = threads
        for name, pixels in zip(SIDES, size or (), strict=False):
            options.add_free_dimension_override_by_name(name, pixels)
        if plain:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own family straight from Exception
            raise BundleError("trunk.onnx is no network", str(error).splitlines()[0][:200], "make it again") from None
        entries = self._session.get_inputs()
        widths = [one.shape[-1] for one in self._session.get_outputs() if one.name == "features"]
        if len(entries) != 1 or entries[0].type != "tensor(uint8)" or len(entries[0].shape) != 4 or not widths:
            raise BundleError(
                "trunk.onnx does not fit",
                "expected one uint8 [N, H, W, 3] input and an output called features",
                "export it with this version",
            )
        seeds = (onnx, runtime().encode(), processor().encode(), b"plain" if plain else b"")
        self.identity = hashlib.sha256(b"".join(seeds)).hexdigest()[:24]
        self.plain = plain
        self._entry: str = entries[0].name
        self.height, self.width = (side if isinstance(side, int) else None for side in entries[0].shape[1:3])
        """The pictures' size in pixels, None where it is open."""
        self.features_width = widths[0]
        """D, the number of features a picture."""

    def features(self, pictures: Pixels) -> NDArray[np.float32]:
        """Features float32 [N, D] of pictures uint8 [N, H, W, 3]. Raises BundleError where the network fails."""
        try:
            (features,) = self._session.run(["features"], {self._entry: pictures})
        except Exception as error:
            raise BundleError("trunk.onnx does not run", str(error).splitlines()[0][:200], "make it again") from None
        return np.asarray(features, dtype=np.float32)


def processor() -> str:
    """What this machine's processor can do, as Linux lists it; empty elsewhere."""
    listing = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    return next((line for line in listing.splitlines() if line.startswith("flags")), "")


def runtime() -> str:
    """The runtime and the processor's family."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')} {platform.machine()}"


def _refuse_external_data(onnx: bytes) -> None:
    # A tensor kept outside names its file under the key "location"; no weight file may be read beside the bundle.
    if b"\x08location" in onnx:
        raise BundleError("trunk.onnx refers to another file", "weights outside of it are not read", "export it whole")
