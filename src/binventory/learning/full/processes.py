"""The processes that train together: one alone, or as many as ``torchrun`` has started, on one machine or several."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

_PATIENCE = timedelta(days=1)  # the others wait while one decodes the photos


@dataclass(frozen=True, slots=True)
class Processes:
    """Which process this is, of how many, the device that it computes on, and whether it leads those of its machine."""

    rank: int
    total: int
    device: Any
    leads: bool = True

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def summed(self, values: Any) -> Any:
        """A tensor's sum over all processes, in every one of them."""
        if self.total > 1:
            distributed.all_reduce(values)
        return values

    def meet(self) -> None:
        """Wait until every process has come here."""
        if self.total > 1:
            distributed.barrier()

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
def heeding_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the block runs, in place of ending the process in the middle of a step.

    Only the main thread hears signals; in another the event stays unset.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def joined() -> Iterator[Processes]:
    """This process, joined with the others as torchrun's environment says; a GPU of its own where there is one."""
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if not started_by_torchrun():
        yield Processes(0, 1, device)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    if cuda:
        torch.cuda.set_device(device)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), device, local == 0)
    finally:
        distributed.destroy_process_group()
