"""The runtime behind one small interface: fitted pictures in, features out. ONNX Runtime on the CPU."""

from __future__ import annotations

import platform
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from binventory.errors import BundleError
from binventory.photo import Pixels


class Trunk(Protocol):
    """Pictures uint8 [N, H, W, 3] in RGB to features float32 [N, D]."""

    def features(self, pictures: Pixels) -> NDArray[np.float32]:
        """Features float32 [N, D] of N fitted pictures."""
        ...


class OnnxTrunk:
    """A trunk given as ONNX bytes. Raises BundleError where they are no network of the expected form.

    ``plain``: run the network as written, without the int8 kernels of this machine; several times slower, but the
    same everywhere.
    """

    def __init__(self, onnx: bytes, threads: int | None = None, plain: bool = False) -> None:
        import onnxruntime as ort

        _refuse_external_data(onnx)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        if plain:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own family straight from Exception
            raise BundleError("trunk.onnx is no network", str(error).splitlines()[0][:200], "make it again") from None
        (entry,) = self._session.get_inputs() if len(self._session.get_inputs()) == 1 else (None,)
        names = [one.name for one in self._session.get_outputs()]
        if entry is None or entry.type != "tensor(uint8)" or len(entry.shape) != 4 or "features" not in names:
            raise BundleError(
                "trunk.onnx does not fit",
                "expected one uint8 [N, H, W, 3] input and an output called features",
                "export it with this version",
            )
        self._entry: str = entry.name

    def features(self, pictures: Pixels) -> NDArray[np.float32]:
        """Features float32 [N, D] of pictures uint8 [N, H, W, 3]."""
        (features,) = self._session.run(["features"], {self._entry: pictures})
        return np.asarray(features, dtype=np.float32)


def runtime() -> str:
    """The runtime and the processor's kind, on which an int8 network's last digits depend."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')} {platform.machine()}"


def _refuse_external_data(onnx: bytes) -> None:
    # A tensor kept outside names its file under the key "location"; no weight file may be read beside the bundle.
    if b"\x08location" in onnx:
        raise BundleError("trunk.onnx refers to another file", "weights outside of it are not read", "export it whole")
