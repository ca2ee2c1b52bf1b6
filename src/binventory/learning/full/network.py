"""A backbone with a linear head: pictures in, features and logits over 0..20 and more out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import group_parameters

from binventory import objects
from binventory.counting.bundle import SEEN_HEADER, Bundle
from binventory.counting.head import Head
from binventory.counting.priors import Prior
from binventory.errors import UsageError
from binventory.learning.quick import AND_PHOTOS, trunk_seen
from binventory.recipe import FullRecipe
from binventory.records import LEVELS

WEIGHTS = "trunk.safetensors"
"""The member of a fine-tuned bundle that holds its weights as torch trained them, in float16."""

_MOST_BYTES = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Start:
    """Where fine-tuning starts.

    ``weights``: the backbone's state dict as safetensors; None for timm's own. ``head``: for features of these
    weights, and ``prior`` the mix of counts that it stands under; None to begin a new one. ``licence``, ``origin`` and
    ``seen`` are what the finished bundle inherits.
    """

    weights: bytes | None
    licence: str
    origin: tuple[str, ...]
    head: Head | None = None
    prior: Prior | None = None
    seen: bytes = SEEN_HEADER.encode() + b"\n"


def from_timm(recipe: FullRecipe, weights: Path | None) -> Start:
    """A backbone pretrained on other pictures: timm's own weights, or a file's. Raises InputError."""
    if weights is None:
        told = timm.get_pretrained_cfg(recipe.backbone) if timm.is_model(recipe.backbone) else None
        licence = f" ({told.license})" if told and told.license else ""
        origin = (f"{recipe.backbone} with timm's pretrained weights",)
        return Start(None, f"the licence of timm's {recipe.backbone}{licence}", origin)
    data = objects.read(str(weights), _MOST_BYTES)
    return Start(data, f"the licence of {weights.name}", (f"{recipe.backbone} with the weights of {weights.name}",))


def from_bundle(bundle: Bundle) -> Start:
    """A bundle that was fine-tuned before. Raises UsageError where it has only its finished trunk."""
    manifest = bundle.manifest
    weights = dict(bundle.extra).get(WEIGHTS)
    if weights is None:
        raise UsageError(
            f"Bundle {manifest.name} cannot be fine-tuned further", f"it holds no {WEIGHTS}",
            "--weights FILE, or --recipe quick for a new head on its trunk",
        )  # fmt: skip
    return Start(
        weights,
        manifest.licence.removesuffix(AND_PHOTOS),
        (f"{manifest.name} ({manifest.licence})", *manifest.derived_from),
        bundle.head,
        manifest.prior,
        trunk_seen(bundle.seen),
    )


class Features(torch.nn.Module):  # type: ignore[misc]
    """The part of a network that becomes a bundle's trunk."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: Any) -> Any:
        """Features [N, D] of pictures uint8 [N, H, W, 3]."""
        return self.network.features(photos)


class Network(torch.nn.Module):  # type: ignore[misc]
    """A timm backbone, its normalisation, and a head on its pooled features.

    The first ``frozen`` groups of layers neither learn nor gather statistics; with ``norm`` frozen no batch norm does.
    """

    def __init__(self, backbone: Any, mean: Sequence[float], std: Sequence[float], recipe: FullRecipe) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer(
            "scale", 1 / (torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1) * 255), persistent=False
        )
        with torch.no_grad():
            width = backbone.eval()(torch.zeros(1, 3, recipe.size, recipe.size)).shape[1]
        self.head = torch.nn.Linear(width, LEVELS)
        torch.nn.init.zeros_(self.head.weight)
        groups = _groups(backbone)
        if recipe.frozen >= len(groups):
            raise UsageError(
                f"There is nothing to learn in {recipe.backbone}",
                f"all of its {len(groups)} groups of layers are frozen",
                f"--set full.frozen={len(groups) - 1}",
            )
        self._still = [name for group in groups[: recipe.frozen] for name in group]
        for name in self._still:
            backbone.get_parameter(name).requires_grad_(False)
        owners = {name.rpartition(".")[0] for name in self._still}
        self._resting = [
            module
            for name, module in backbone.named_modules()
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (recipe.norm == "frozen" or name in owners)
        ]

    def train(self, mode: bool = True) -> Network:
        """Training or not; what is frozen stays as it counts."""
        super().train(mode)
        for module in self._resting:
            module.eval()
        return self

    def features(self, pictures: Any) -> Any:
        """Features [N, D] of pictures uint8 [N, H, W, 3]."""
        return self.backbone((pictures.permute(0, 3, 1, 2).float() - self.mean) * self.scale)

    def forward(self, pictures: Any) -> Any:
        """Logits [N, 22] of pictures uint8 [N, H, W, 3]."""
        return self.head(self.features(pictures))

    def begin(self, mix: Sequence[float], start: Start) -> None:
        """Let the head begin with the mix of counts that the loss will show it, and with ``start``'s head if any."""
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor(mix).log())
            if start.head is not None and start.prior is not None:
                self.head.weight.copy_(torch.from_numpy(start.head.weight.T))
                self.head.bias.add_(torch.from_numpy(start.head.bias) - torch.tensor(start.prior).log())

    def parameter_groups(self, decay: float) -> list[dict[str, Any]]:
        """The parameters that learn, those that decay first; biases and norms do not."""
        learning = [one for one in self.parameters() if one.requires_grad]
        return [
            {"params": [one for one in learning if one.ndim > 1], "weight_decay": decay},
            {"params": [one for one in learning if one.ndim <= 1], "weight_decay": 0.0},
        ]


def averaged(network: Any) -> Iterator[Any]:
    """The tensors that a moving average follows: what learns, and the statistics that norms gather."""
    yield from (one for one in network.parameters() if one.requires_grad)
    yield from (one for one in network.buffers() if one.is_floating_point())


def _groups(backbone: Any) -> list[list[str]]:
    """The names of the backbone's parameters by group of layers, in order from the input on."""
    found = group_parameters(backbone, backbone.group_matcher(coarse=True))
    return [names for _, names in sorted(found.items())]
