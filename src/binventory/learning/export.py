"""A torch network as a trunk: ONNX from uint8 pictures to features, and int8. Needs the extra ``train``.

A frozen backbone gives, for every level, the mean and the root mean square of each channel over the picture: a
level's mean says which parts are there, its energy how much of them. A fine-tuned one gives what its head looks at.
"""

from __future__ import annotations

import difflib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from binventory import photo
from binventory.counting.bundle import Input
from binventory.counting.trunk import SIDES, OnnxTrunk
from binventory.data import drawn
from binventory.errors import BundleError, UsageError
from binventory.flow import chunks
from binventory.photo import Pixels

OPSET = 20


def backbone(name: str, weights: bytes | None = None) -> Any:
    """A timm backbone by name, with its own pretrained weights or those of a safetensors state dict.

    Raises UsageError where timm has no such backbone, its weights cannot be fetched or those given do not fit it.
    """
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise UsageError(
            f"Backbone {name!r} does not exist", "timm has no network of that name", (near or ["timm.list_models()"])[0]
        )
    try:
        model = timm.create_model(name, num_classes=0, pretrained=weights is None)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"The weights of {name} cannot be had", _first_line(error), "--weights FILE, a timm state dict"
        ) from None
    if weights is not None:
        try:
            model.load_state_dict({key: value.float() for key, value in load(weights).items()}, strict=True)
        except (RuntimeError, SafetensorError) as error:
            raise UsageError(
                f"The weights do not fit {name}", str(error).splitlines()[-1].strip().rstrip("."),
                "name the backbone that they are of",
            ) from None  # fmt: skip
    return model.eval()


def levels(model: Any, mean: Sequence[float], std: Sequence[float]) -> Any:
    """A module from pictures uint8 [N, H, W, 3] to the mean and the root mean square of every channel of every level
    of a frozen backbone. ``mean`` and ``std`` are of RGB in 0..1."""
    import torch

    class Levels(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1) * 255)
            self.register_buffer("scale", 1 / (torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1) * 255))

        def forward(self, photos: Any) -> Any:
            picture = (photos.permute(0, 3, 1, 2).float() - self.mean) * self.scale
            found = self.model.forward_intermediates(picture, intermediates_only=True)
            return torch.cat([p for one in found for p in (one.mean((2, 3)), (one * one).mean((2, 3)).sqrt())], dim=1)

    return Levels()


def trunk(features: Any, size: Input) -> bytes:
    """A module as an ONNX trunk: ``photos`` uint8 [N, H, W, 3] in, ``features`` float32 [N, D] out."""
    import torch

    buffer = io.BytesIO()
    example = torch.zeros(2, size.height, size.width, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what it does itself
        program = torch.onnx.export(
            features.eval(),
            (example,),
            input_names=["photos"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    program.save(buffer)
    return buffer.getvalue()


def freed(onnx: bytes, size: Input) -> bytes:
    """The trunk with the height and width of its pictures left open, so that a bundle may show it others than
    ``size``; as it was where the network is built for one size."""
    from onnx import load_from_string

    model = load_from_string(onnx)
    for side, name in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], SIDES, strict=True):
        side.dim_param = name
    del model.graph.value_info[:]  # the sizes between its layers
    opened = bytes(model.SerializeToString())
    return opened if _opens(opened, onnx, size) else onnx


def _opens(opened: bytes, onnx: bytes, size: Input) -> bool:
    """Whether a trunk whose sides were opened gives the same as before, and features of smaller and larger pictures."""
    pictures = drawn_pictures(2, size, seed=1)
    try:
        fixed, same = OnnxTrunk(onnx), OnnxTrunk(opened, size=(size.height, size.width))
        if not np.array_equal(fixed.features(pictures), same.features(pictures)):
            return False
        for share in (0.75, 1.25):
            sides = round(size.height * share), round(size.width * share)
            other = np.stack([photo.fit(one, *sides, size.fit) for one in pictures])
            found = OnnxTrunk(opened, size=sides).features(other)
            if found.shape != (len(pictures), fixed.features_width) or not np.isfinite(found).all():
                return False
    except BundleError:
        return False
    return True


def drawn_pictures(photos: int, size: Input, seed: int) -> Pixels:
    """Drawn bins that fit the input, uint8 [photos, H, W, 3]: what a bundle's probe shows, as anyone may have them."""
    drawings = (drawn.draw_one(number, seed) for number in range(1, photos + 1))
    return np.stack([photo.fit(photo.decode(one.jpeg), size.height, size.width, size.fit) for one in drawings])


def quantised(onnx: bytes, pictures: Pixels) -> bytes:
    """The trunk in int8 by NNCF, calibrated on pictures uint8 [N, H, W, 3].

    Weights take 8 bits a channel, activations 8 bits, the mean shift of each layer is corrected. The pooling stays in
    float, and so do the sums of the first half of the residual blocks with what they add: rounded, they make most of
    the noise. On processors without VNNI the kernels add up pairs of products in 16 bits and may overflow: there the
    bundle's probe finds the difference when it is loaded, and the network runs as written instead.
    """
    os.environ.setdefault("NNCF_CI", "1")  # keeps it from phoning home
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from onnx import load
    from onnxruntime.quantization.shape_inference import quant_pre_process

    nncf.set_log_level(logging.ERROR)
    batches = [np.stack(batch) for batch in chunks(pictures, 4)]
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(io.StringIO()):  # it draws bars there
        plain, folded = (str(Path(scratch) / name) for name in ("plain.onnx", "folded.onnx"))
        Path(plain).write_bytes(onnx)
        quant_pre_process(plain, folded)
        graph = load(folded)
        small = nncf.quantize(
            graph,
            nncf.Dataset(batches, lambda batch: {"photos": batch}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=_early_sums(graph.graph)),
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE),
        )
        return bytes(small.SerializeToString())


def _early_sums(graph: Any) -> list[str]:
    """The names of the first half of the nodes that add two feature maps."""
    constants = {one.name for one in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    sums = [node.name for node in graph.node if node.op_type == "Add" and constants.isdisjoint(node.input)]
    return sums[: len(sums) // 2]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
