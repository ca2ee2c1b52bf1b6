"""The training loop: photos through the camera, the network and the loss, epoch by epoch, from checkpoint on.

Nothing in it depends on how many processes share a batch, nor on when they were killed: the order of the photos comes
of seed and epoch, each photo's variation of seed, epoch and photo, and the loss of a batch is one mean over all of it.
(Batch norm that gathers statistics is the exception: each process has its own part of the batch.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from binventory.errors import StoppedError
from binventory.flow import Track, ahead, chunks
from binventory.learning.fitting import Levels
from binventory.learning.full import camera, checkpoint, schedule
from binventory.learning.full.checkpoint import Checkpoint
from binventory.learning.full.loss import loss
from binventory.learning.full.network import Network, averaged
from binventory.learning.full.pictures import Pictures
from binventory.learning.full.processes import Processes, heeding_sigterm
from binventory.photo import Pixels
from binventory.recipe import FullRecipe
from binventory.records import LEVELS

CHECKPOINT = "checkpoint.pt"
_JUDGED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Material:
    """What is learnt from, and what each epoch is judged on.

    ``pictures`` N of them, ``seeds`` one number a photo, ``levels`` [N] and ``weights`` [N] of mean one;
    ``judged`` M pictures of the network's size with ``truths`` [M].
    """

    pictures: Pictures
    seeds: Sequence[int]
    levels: Levels
    weights: NDArray[np.float32]
    judged: Pictures
    truths: Levels


Floats = NDArray[np.float64]
Judge = Callable[[Floats, Levels], dict[str, float]]
"""From log-probabilities [M, 22] and true levels [M] to an epoch's figures."""


def train(
    network: Network, material: Material, recipe: FullRecipe, seed: int, folder: Path, processes: Processes,
    judge: Judge, tell: Callable[[dict[str, float]], None], track: Track,
) -> tuple[Network, list[dict[str, float]]]:  # fmt: skip
    """Train until the schedule ends and return the network with its averaged weights, and each epoch's figures.

    ``tell`` hears each epoch's figures. Goes on from the checkpoint in the first process's ``folder`` where there is
    one. Raises StoppedError where SIGTERM came to one of the processes: all end after the same step, and it is saved.
    """
    training = _Training(network, material, recipe, seed, folder, processes)
    training.run(judge, tell, track)
    with torch.no_grad():
        torch._foreach_copy_(list(averaged(network)), training.averages)
    return network.eval(), training.rows


class _Training:
    """One training under way: the network, its optimiser and averages, and how far it has come."""

    def __init__(
        self, network: Network, material: Material, recipe: FullRecipe, seed: int, folder: Path, processes: Processes
    ) -> None:
        self.network = network.to(processes.device, memory_format=torch.channels_last)
        self.material, self.recipe, self.seed = material, recipe, seed
        self.folder, self.processes = folder, processes
        self.steps = ceil(len(material.levels) / recipe.batch)
        self.optimizer = _optimizer(network, recipe)
        self.averages = [one.detach().clone() for one in averaged(network)]
        self.half = _computes_bf16(recipe, processes.device)
        self.updates = self.epoch = self.step = self.photos = 0
        self.loss = self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        self.done = False
        kept = processes.told(checkpoint.load(folder / CHECKPOINT) if processes.first else None)
        if kept is not None:
            self._resume(kept)
        self.parallel: Any = self.network
        if processes.total > 1:
            self.parallel = torch.nn.parallel.DistributedDataParallel(self.network)

    def run(self, judge: Judge, tell: Callable[[dict[str, float]], None], track: Track) -> None:
        """Epoch after epoch until the schedule ends, each judged with the averaged weights."""
        self.saved = time.monotonic()
        with heeding_sigterm() as self.told_to_end:
            self._epochs(judge, tell, track)

    def _epochs(self, judge: Judge, tell: Callable[[dict[str, float]], None], track: Track) -> None:
        while not self.done:
            speed = self._epoch(track)
            figures = judge(self._log_probs(), self.material.truths)
            row = {
                "epoch": self.epoch + 1,
                "photos": self.photos,
                "rate": schedule.rate(self.recipe, self._progress()),
                "train_loss": self.loss / self.photos,
                **figures,
                "seconds": self.seconds,
                **speed,
            }
            row = {name: float(value) for name, value in row.items()}  # numpy's own floats are no plain values
            self.rows.append(row)
            self.epoch, self.step, self.loss, self.photos = self.epoch + 1, 0, 0.0, 0
            if self.processes.first:
                self._save()
                tell(row)
            self._heed()

    def _epoch(self, track: Track) -> dict[str, float]:
        """Train on the rest of this epoch; how fast, and what share of the time went by waiting for photos."""
        recipe, processes = self.recipe, self.processes
        batches = schedule.batches(len(self.material.levels), recipe.batch, self.seed, self.epoch)
        rest = list(enumerate(batches))[self.step :]
        parts = ((number, batch[processes.rank :: processes.total]) for number, batch in rest)
        supplied = ahead(self._prepared, parts, most=4)
        seen, waited, start = 0, 0.0, time.monotonic()
        clock = start
        self.network.train()
        for _, batch in track(rest, f"epoch {self.epoch + 1}", len(rest)):
            asked = time.monotonic()
            part, pictures = next(supplied)
            waited += time.monotonic() - asked
            self._learn(part, pictures, len(batch))
            seen += len(batch)
            self.step += 1
            now = time.monotonic()
            self.seconds = processes.told(self.seconds + now - clock) if recipe.minutes else self.seconds + now - clock
            clock = now
            self.done = self._progress() >= 1
            if self.done:
                break
            self._heed()
            if processes.first and now - self.saved >= recipe.save_seconds:
                self._save()
        supplied.close()
        took = time.monotonic() - start
        return {"photos_per_second": seen / took, "waiting": waited / took}

    def _prepared(self, item: tuple[int, NDArray[np.intp]]) -> tuple[NDArray[np.intp], Pixels]:
        """This process's part of a batch, varied and scaled: uint8 [n, side, side, 3]."""
        number, part = item
        recipe, material = self.recipe, self.material
        side = schedule.side(recipe, schedule.progress(recipe, self.epoch + number / self.steps, self.seconds))
        seeds = [(self.seed, self.epoch, material.seeds[one]) for one in part]
        pairs = zip(material.pictures[part], seeds, strict=True)
        return part, np.stack([camera.varied(picture, side, recipe.camera, one) for picture, one in pairs])

    def _learn(self, part: NDArray[np.intp], pictures: Pixels, whole: int) -> None:
        """One step on this process's part of a batch of ``whole`` photos."""
        device, material, recipe = self.processes.device, self.material, self.recipe
        levels = torch.from_numpy(material.levels[part]).to(device)
        weights = torch.from_numpy(material.weights[part]).to(device)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.rate(recipe, self._progress())
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half):
            logits = self.parallel(torch.from_numpy(pictures).to(device))
        each = loss(logits, levels, recipe.order, recipe.smoothing) * weights
        self.optimizer.zero_grad(set_to_none=True)
        (each.sum() * (self.processes.total / whole)).backward()  # processes' gradients are averaged, not summed
        self.optimizer.step()
        self.updates += 1
        self._average()
        self.loss += float(self.processes.summed(each.detach().double().sum()))
        self.photos += whole

    def _progress(self) -> float:
        return schedule.progress(self.recipe, self.epoch + self.step / self.steps, self.seconds)

    def _average(self) -> None:
        decay = min(self.recipe.average, (1 + self.updates) / (10 + self.updates))  # the first weights fade sooner
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, list(averaged(self.network)), 1 - decay)

    def _log_probs(self) -> Floats:
        """Log-probabilities [M, 22] of the judged photos by the averaged weights; each process does its part."""
        judged, processes = self.material.judged, self.processes
        found = torch.zeros(len(judged), LEVELS, dtype=torch.float64, device=processes.device)
        with self._averaged(), torch.no_grad():
            network = self.network.eval()
            parts = chunks(range(processes.rank, len(judged), processes.total), _JUDGED_AT_ONCE)
            for part, photos in ahead(lambda part: (part, np.array(judged[np.array(part)])), parts, most=2):
                pictures = torch.from_numpy(photos).to(processes.device)
                with torch.autocast(processes.device.type, torch.bfloat16, enabled=self.half):
                    logits = network(pictures)
                found[part] = logits.double().log_softmax(dim=1)
        return np.asarray(processes.summed(found).cpu().numpy())

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the network's place for a while."""
        with torch.no_grad():
            own = [one.detach().clone() for one in averaged(self.network)]
            torch._foreach_copy_(list(averaged(self.network)), self.averages)
            yield
            torch._foreach_copy_(list(averaged(self.network)), own)

    def _heed(self) -> None:
        """Save and end, in all processes alike, where one of them has been told to end."""
        told = torch.tensor(float(self.told_to_end.is_set()), device=self.processes.device)
        if not float(self.processes.summed(told)):
            return
        if self.processes.first:
            self._save()
        raise StoppedError(
            f"Training was stopped in epoch {self.epoch + 1}", "SIGTERM came, and the checkpoint is saved",
            f"the same command, which goes on from {self.folder}",
        )  # fmt: skip

    def _save(self) -> None:
        kept = Checkpoint(
            self.network.state_dict(), self.averages, self.optimizer.state_dict(), self.updates, self.epoch,
            self.step, self.seconds, self.loss, self.photos, self.rows, self.done,
        )  # fmt: skip
        checkpoint.save(kept, self.folder / CHECKPOINT)
        self.saved = time.monotonic()

    def _resume(self, kept: Checkpoint) -> None:
        self.network.load_state_dict(kept.network)
        self.optimizer.load_state_dict(kept.optimizer)
        torch._foreach_copy_(self.averages, kept.averages)
        self.updates, self.epoch, self.step, self.photos = kept.updates, kept.epoch, kept.step, kept.photos
        self.loss, self.seconds, self.rows, self.done = kept.loss, kept.seconds, list(kept.rows), kept.done


def _optimizer(network: Network, recipe: FullRecipe) -> Any:
    groups = network.parameter_groups(recipe.decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))


def _computes_bf16(recipe: FullRecipe, device: Any) -> bool:
    """Whether to compute in bf16: where the machine does it natively, it is twice as fast."""
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
