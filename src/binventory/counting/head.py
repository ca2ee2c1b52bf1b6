"""From a trunk's features to log-probabilities over 0..20 and more: one linear layer, small enough for numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from binventory.errors import BundleError
from binventory.records import LEVELS


@dataclass(frozen=True, slots=True)
class Head:
    """``weight`` float32 [D, 22] and ``bias`` float32 [22]; the features' scaling is folded in."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def log_probs(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Natural log-probabilities float64 [N, 22] from features float32 [N, D]."""
        logits = (features @ self.weight + self.bias).astype(np.float64)
        return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))

    def to_bytes(self) -> bytes:
        """The head as safetensors."""
        return safetensors.save({"weight": np.ascontiguousarray(self.weight), "bias": self.bias})


def from_bytes(data: bytes, name: str = "head.safetensors") -> Head:
    """Read a head. Raises BundleError where it is no safetensors, or of the wrong shapes or types."""
    try:
        tensors = safetensors.load(data)
        head = Head(tensors["weight"], tensors["bias"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{name} is no head", f"{error}", "make the bundle again") from None
    if head.weight.ndim != 2 or head.weight.shape[1] != LEVELS or head.bias.shape != (LEVELS,):
        shapes = f"weight {list(head.weight.shape)} and bias {list(head.bias.shape)}"
        raise BundleError(f"{name} does not fit", f"expected [D, {LEVELS}] and [{LEVELS}], got {shapes}",
                          "make the bundle again with this version")  # fmt: skip
    numbers = (head.weight, head.bias)
    if any(one.dtype != np.float32 or not np.isfinite(one).all() for one in numbers):
        raise BundleError(f"{name} does not fit", "its numbers are not finite float32", "make the bundle again")
    return head
