"""A loss that knows that counts have an order: cross-entropy plus the ranked probability score (Epstein 1969)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def loss(logits: Any, levels: Any, order: float, smoothing: float) -> Any:
    """The loss of each photo, float32 [N], from logits [N, 22] and true levels int64 [N].

    ``order`` weighs the squared distance between the predicted and the true cumulative distribution; ``smoothing`` is
    the share of the label that cross-entropy spreads over all levels.
    """
    logits = logits.float()
    entropy = functional.cross_entropy(logits, levels, reduction="none", label_smoothing=smoothing)
    if not order:
        return entropy
    stairs = torch.arange(logits.shape[1], device=logits.device) >= levels[:, None]
    gaps = logits.softmax(dim=1).cumsum(dim=1) - stairs.float()
    return entropy + order * gaps.square().sum(dim=1)
