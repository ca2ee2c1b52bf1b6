"""A torch backbone as a trunk: ONNX from uint8 pictures to pooled features, and its int8 quantisation.

Needs the ``train`` extra. The features are, for every level of the backbone, the mean and the root mean square of
each channel over the picture: a level's mean says which parts are there, its energy how much of them.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from binventory.counting.bundle import Input
from binventory.errors import UsageError
from binventory.flow import chunks
from binventory.photo import Pixels

OPSET = 20


def backbone(name: str, weights: Path | None = None) -> Any:
    """A timm backbone by name, with its own pretrained weights or those of a safetensors state dict.

    Raises UsageError where timm has no such backbone or the weights do not fit it.
    """
    import timm
    from safetensors.torch import load_file

    if not timm.is_model(name):
        raise UsageError(f"Backbone {name!r} does not exist", "timm has no network of that name", "timm.list_models()")
    model = timm.create_model(name, num_classes=0, pretrained=weights is None)
    if weights is not None:
        try:
            model.load_state_dict(load_file(weights), strict=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip().rstrip(".")
            raise UsageError(f"{weights} does not fit {name}", reason, "name the backbone it was trained as") from None
    return model.eval()


def trunk(model: Any, size: Input, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """The backbone's levels as an ONNX trunk with normalisation inside: ``photos`` uint8 [N, H, W, 3] in,
    ``features`` float32 [N, D] out. ``mean`` and ``std`` are of RGB in 0..1."""
    import torch

    class Levels(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("scale", 1 / (torch.tensor(std).view(1, 3, 1, 1) * 255))

        def forward(self, photos: Any) -> Any:
            picture = (photos.permute(0, 3, 1, 2).float() - self.mean) * self.scale
            levels = self.model.forward_intermediates(picture, intermediates_only=True)
            pooled = [p for level in levels for p in (level.mean((2, 3)), (level * level).mean((2, 3)).sqrt())]
            return torch.cat(pooled, dim=1)

    buffer = io.BytesIO()
    example = torch.zeros(2, size.height, size.width, 3, dtype=torch.uint8)
    torch.onnx.export(
        Levels().eval(),
        (example,),
        input_names=["photos"],
        output_names=["features"],
        dynamic_shapes={"photos": {0: torch.export.Dim("n")}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    ).save(buffer)
    return buffer.getvalue()


def quantised(onnx: bytes, pictures: Pixels) -> bytes:
    """The trunk in int8, calibrated on pictures uint8 [N, H, W, 3].

    Weights and activations take 8 bits; the pooling stays in float. On processors without VNNI the kernels add up
    pairs of products in 16 bits and may overflow: there the bundle's probe finds the difference when it is loaded,
    and the network runs as written instead.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[list[Any]] = chunks(pictures, 8)

        def get_next(self) -> dict[str, Pixels] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"photos": np.stack(batch)}

    with tempfile.TemporaryDirectory() as scratch:
        plain, folded, small = (str(Path(scratch) / name) for name in ("plain.onnx", "folded.onnx", "small.onnx"))
        Path(plain).write_bytes(onnx)
        quant_pre_process(plain, folded)
        quantize_static(
            folded,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add", "Clip", "Relu"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        return Path(small).read_bytes()
