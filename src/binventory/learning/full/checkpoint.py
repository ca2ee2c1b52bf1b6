"""Everything that a killed training needs to go on as if nothing had happened, in one file, written whole or not."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from binventory import objects
from binventory.errors import OutsideError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``epoch`` and ``step`` are the next to do; ``seconds`` of training so far; ``loss`` and ``photos`` what this
    epoch has summed up; ``rows`` the metrics of whole epochs; ``done`` that there is nothing left to train."""

    network: dict[str, Any]
    averages: list[Any]
    optimizer: dict[str, Any]
    updates: int
    epoch: int
    step: int
    seconds: float
    loss: float
    photos: int
    rows: list[dict[str, float]]
    done: bool = False


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint. Raises OutsideError where the disk refuses it."""
    plain = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    try:
        with objects.replacing(path) as temporary:
            torch.save(plain, temporary)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise OutsideError(
            f"{path} cannot be written", reason, "free space on the disk; the last one is kept"
        ) from None


def load(path: Path) -> Checkpoint | None:
    """The checkpoint at a path, or None where there is none. Raises OutsideError where it is damaged."""
    if not path.is_file():
        return None
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise OutsideError(f"{path} is no checkpoint that fits", reason, "delete it; training begins anew") from None
