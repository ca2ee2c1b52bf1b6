"""The processes that train together: one alone, or as many as ``torchrun`` has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

_PATIENCE = timedelta(days=1)  # the others wait while the first one decodes the photos


@dataclass(frozen=True, slots=True)
class Processes:
    """Which process this is, of how many, and the device that it computes on."""

    rank: int
    total: int
    device: Any

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def summed(self, values: Any) -> Any:
        """A tensor's sum over all processes, in every one of them."""
        if self.total > 1:
            distributed.all_reduce(values)
        return values

    def told(self, value: Any) -> Any:
        """The first process's value, in every one of them."""
        if self.total == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]


def started_by_torchrun() -> bool:
    """Whether this process is one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[Processes]:
    """This process, joined with the others as torchrun's environment says; a GPU of its own where there is one."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if not started_by_torchrun():
        yield Processes(0, 1, device)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    if cuda:
        torch.cuda.set_device(device)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
