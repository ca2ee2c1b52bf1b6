"""From a split catalogue to a bundle: fine-tune, export, check, quantise, refit head and calibration."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from binventory import objects
from binventory.counting import priors
from binventory.counting.bundle import Bundle, Input
from binventory.counting.head import Head
from binventory.counting.trunk import OnnxTrunk
from binventory.data.catalogue import Catalogue, Row
from binventory.errors import BundleError, StoppedError, UsageError
from binventory.flow import Track, untracked
from binventory.learning import export, features, fitting, metrics, quick
from binventory.learning.full import camera, curve, loop, pictures
from binventory.learning.full.loop import Material
from binventory.learning.full.network import WEIGHTS, Features, Network, Start
from binventory.learning.full.pictures import Pictures
from binventory.learning.full.processes import Processes, joined
from binventory.learning.metrics import Judgement
from binventory.learning.quick import AND_PHOTOS, Sides
from binventory.photo import Pixels
from binventory.recipe import FullRecipe, Recipe
from binventory.records import level

_JUDGED = "judged.npy"
_MARGIN = 8 / 7  # photos are kept this much larger than the input, so that a crop of them is not stretched
_CHECKED = 32
_CALIBRATED = 256
_MOST_LOST = 0.005
_APART = 1e-3
"""The most by which the exported network's features may differ from torch's, as a share of their length."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things lie on one machine: the resolved ``sources`` in the order given, the work folder, and the folder
    that holds a folder of each training's checkpoint."""

    sources: tuple[str, ...]
    work: Path
    checkpoints: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What every process needs to know to train together, the addresses as they are at ``place``.

    ``key`` names the training: its folder of metrics and curve, and that of its checkpoint.
    """

    start: Start
    sides: Sides
    recipe: Recipe
    place: Place
    key: str

    @property
    def work(self) -> Path:
        """The work folder, where pictures and features are kept."""
        return self.place.work

    @property
    def folder(self) -> Path:
        """Where metrics and curve are written."""
        return self.place.work / "full" / self.key

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoint is written."""
        return self.place.checkpoints / self.key

    def at(self, place: Place) -> Plan:
        """The plan as another machine reads it, that has its own copy of the sources, in the same order."""
        if place == self.place:
            return self
        return replace(self, sides=self.sides.moved(self.place.sources, place.sources), place=place)


def train(
    data: Catalogue, start: Start, recipe: Recipe, name: str, tell: Callable[[str], None], track: Track = untracked,
    place: Place | None = None,
) -> Bundle:  # fmt: skip
    """A bundle fine-tuned on the data's sides. Goes on where a killed run stopped.

    ``tell`` hears one line of ``key=value`` an epoch, and what is worth knowing between. ``place`` is needed where
    processes of other machines assist, or the checkpoint lies apart from the work folder.

    Raises RecordError where a side has too few labelled photos, UsageError where recipe or weights do not fit,
    StoppedError where SIGTERM came and the checkpoint is saved.
    """
    plan = planned(data, start, recipe, place)
    with joined() as processes:
        tell(f"training on {processes.total} x {processes.device}; metrics and curve in {plan.folder}; "
             f"checkpoint in {plan.checkpoints}")  # fmt: skip
        network = _fine_tune(processes.told(plan), processes, tell, track)
    return _bundled(network.cpu(), plan, name, tell, track)


def tried(plan: Plan, heard: Callable[[dict[str, float]], None]) -> Judgement:
    """What ``train`` would get right on validate by this plan, by the network of the last epoch before it is exported.
    Goes on where a killed run stopped; ``train`` with the same recipe goes on from here.

    ``heard`` takes each epoch's figures, and may end the training by raising; nothing is left to go on from then.
    Raises UsageError as ``train`` does.
    """
    with objects.locked(plan.work / "pictures" / ".lock"):  # several at once would each scale the same photos
        prepare(plan)

    def kept(log_probs: loop.Floats, truths: fitting.Levels) -> dict[str, float]:
        with objects.replacing(plan.folder / _JUDGED) as temporary:
            np.save(temporary, log_probs)
        return _judged(log_probs, truths)

    with joined() as processes:
        try:
            _fine_tune(plan, processes, lambda _: None, untracked, kept, heard)
        except StoppedError:
            raise  # what is saved is gone on from
        except Exception:
            forget(plan)
            raise
    return metrics.judged(np.load(plan.folder / _JUDGED), _levels(plan.sides.validate))


def planned(data: Catalogue, start: Start, recipe: Recipe, place: Place | None = None) -> Plan:
    """What a training with this recipe needs to know. Raises RecordError where a side has too few labelled photos."""
    sides = _sides(data, recipe.full, start)
    quick.refuse_few(sides)
    place = place or Place((), data.work, data.work / "full")
    return Plan(start, sides, recipe, place, _key(start, sides, recipe))


def another(plan: Plan, recipe: Recipe) -> Plan:
    """The plan with another recipe for the same photos."""
    return replace(plan, recipe=recipe, key=_key(plan.start, plan.sides, recipe))


def prepare(plan: Plan, track: Track = untracked) -> None:
    """Scale the photos that a training needs, once."""
    _materialise(plan, track)


def forget(plan: Plan) -> None:
    """Remove the checkpoint of a training that nobody goes on with."""
    (plan.checkpoints / loop.CHECKPOINT).unlink(missing_ok=True)


def assist(place: Place, track: Track = untracked) -> None:
    """Do this process's share of the training that the first process of torchrun plans, perhaps on another machine."""
    with joined() as processes:
        plan: Plan = processes.told(None)
        _fine_tune(plan.at(place), processes, lambda _: None, track if processes.leads else untracked)


def _sides(data: Catalogue, recipe: FullRecipe, start: Start) -> Sides:
    """The photos that are learnt from, that choose, and that calibrate."""
    sides = quick.sides_of(data, start.seen, start.origin[0])
    return sides if recipe.learn == "train" else quick.halved(data, sides)


def _key(start: Start, sides: Sides, recipe: Recipe) -> str:
    """What names a training: its recipe but for saving and what comes after, where it starts, and its photos, wherever
    they lie and however they are read."""
    told = replace(recipe.full, save_seconds=0.0, blend=0.0, count_size=0, pictures="kept")
    photos = [(row.sha256, row.count) for row in (*sides.train, *sides.validate)]
    text = f"{asdict(told)} {recipe.seed} {hashlib.sha256(start.weights or b'').hexdigest()} {photos}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _input(recipe: FullRecipe, margin: float = 1.0) -> Input:
    side = round(recipe.size * margin)
    return Input(side, side, recipe.fit)


def _counted(recipe: FullRecipe) -> Input:
    """The input of the finished network."""
    return _input(replace(recipe, size=recipe.count_size or recipe.size))


def _materialise(plan: Plan, track: Track) -> tuple[Pictures, Pictures]:
    """The pictures to learn from and to judge on: scaled once, or streamed."""
    recipe, sides = plan.recipe.full, plan.sides
    learnt = pictures.supplied(sides.train, _input(recipe, _MARGIN), recipe.pictures, plan.work, track)
    return learnt, pictures.supplied(sides.validate, _input(recipe), recipe.pictures, plan.work, track)


def _fine_tune(
    plan: Plan, processes: Processes, tell: Callable[[str], None], track: Track,
    judge: loop.Judge | None = None, heard: Callable[[dict[str, float]], None] = lambda _: None,
) -> Network:  # fmt: skip
    """The network, trained with all processes."""
    recipe, sides = plan.recipe.full, plan.sides
    if recipe.batch < processes.total:
        raise UsageError(
            f"A batch of {recipe.batch} is too small", f"{processes.total} processes share it",
            f"--set full.batch={32 * processes.total}",
        )  # fmt: skip
    if processes.leads:
        _materialise(plan, track)
    processes.meet()  # the others of this machine read what its leader has written
    learnt, judged = _materialise(plan, track)
    levels, truths = _levels(sides.train), _levels(sides.validate)
    weights = fitting.weigh(levels, recipe.balance)
    seeds = [int(row.sha256[:15], 16) for row in sides.train]
    material = Material(learnt, seeds, levels, (weights * len(levels)).astype(np.float32), judged, truths)

    def told(row: dict[str, float]) -> None:
        tell(metrics.line(row))
        heard(row)

    network = _network(plan)
    start = {name: value.clone() for name, value in network.state_dict().items()} if recipe.blend else {}
    trained, rows = loop.train(
        network,
        material,
        recipe,
        plan.recipe.seed,
        plan.checkpoints,
        processes,
        judge or _judged,
        told,
        track if processes.first else untracked,
    )
    if processes.first:
        page = io.StringIO()
        writer = csv.DictWriter(page, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        objects.write(str(plan.folder / "metrics.csv"), page.getvalue().encode())
        objects.write(str(plan.folder / "curve.svg"), curve.drawn(rows).encode())
    return blended(trained, start, recipe.blend) if recipe.blend else trained


def blended(network: Network, start: dict[str, Any], share: float) -> Network:
    """The network with ``share`` of the weights it started from: between the two lies often a better one than either
    (Wortsman et al. 2022, robust fine-tuning)."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(start[name].to(value.device), share)
    return network


def _network(plan: Plan) -> Network:
    """The network as it starts; the same for the same seed."""
    recipe = plan.recipe.full
    torch.manual_seed(plan.recipe.seed)
    backbone = export.backbone(recipe.backbone, plan.start.weights)
    own = backbone.pretrained_cfg
    network = Network(backbone, recipe.mean or own["mean"], recipe.std or own["std"], recipe)
    network.begin(_mix(plan), plan.start)
    return network


def _mix(plan: Plan) -> priors.Prior:
    """The mix of counts as the loss weighs it."""
    shares = np.asarray(priors.mix(row.count or 0 for row in plan.sides.train)) ** (1 - plan.recipe.full.balance)
    return tuple(float(one) for one in shares / shares.sum())


def _judged(log_probs: loop.Floats, truths: fitting.Levels) -> dict[str, float]:
    """An epoch's figures on validate: the loss, and what the mode and the mean are worth."""
    modes = log_probs.argmax(axis=1)
    return {
        "validate_log_loss": float(-log_probs[np.arange(len(truths)), truths].mean()),
        "validate_accuracy": float((modes == truths).mean()),
        "validate_within_one": float((np.abs(modes - truths) <= 1).mean()),
        "validate_mae": float(np.abs(modes - truths).mean()),
    }


def _bundled(network: Network, plan: Plan, name: str, tell: Callable[[str], None], track: Track) -> Bundle:
    """The bundle of a trained network: exported, checked, quantised, its head and calibration fitted anew."""
    sides, size = plan.sides, _counted(plan.recipe.full)
    learnt, _ = _materialise(plan, track)
    whole = export.trunk(Features(network), size)
    few = sides.validate[:_CHECKED]
    _check(whole, network, pictures.Streamed(few, size)[np.arange(len(few))])
    head = Head(np.ascontiguousarray(network.head.weight.detach().numpy().T), network.head.bias.detach().numpy().copy())
    spread = np.linspace(0, len(learnt) - 1, min(len(learnt), _CALIBRATED)).astype(int)
    seen = np.stack([camera.plain(one, size.width) for one in learnt[spread]])
    small, compared = _quantised(whole, seen, head, plan, track)
    figures = " ".join(f"{name}={value:.4g}" for name, value in compared.items() if isinstance(value, float))
    tell(f"export {figures}")
    probe = export.drawn_pictures(8, size, plan.recipe.seed)
    base = quick.unfitted(small, size, probe, plan.start.licence + AND_PHOTOS, plan.start.origin, _mix(plan), head)
    manifest = replace(base.manifest, kind="full", figures={"int8": compared})
    base = replace(base, manifest=manifest, seen=_seen(plan), extra=((WEIGHTS, _kept(network)),))
    return quick.fitted(base, sides, plan.work, plan.recipe, name, track)


def _check(onnx: bytes, network: Network, photos: Pixels) -> None:
    """Hold the exported network against torch on real photos. Raises BundleError where it gives other features."""
    photos = np.array(photos)
    with torch.no_grad():
        expected = network.features(torch.from_numpy(photos)).numpy()
    apart = float(np.linalg.norm(OnnxTrunk(onnx).features(photos) - expected) / np.linalg.norm(expected))
    if apart > _APART:
        raise BundleError(
            "The exported network does not agree with torch", f"its features are apart by {apart:.2%}",
            "report it, with the backbone's name and the versions of torch and onnxruntime",
        )  # fmt: skip


def _quantised(
    whole: bytes, seen: Pixels, head: Head, plan: Plan, track: Track
) -> tuple[bytes, dict[str, Any]]:  # fmt: skip
    """The trunk in int8, or as it was where that costs over half a point, and the figures of both on validate."""
    size = _counted(plan.recipe.full)
    whole, small = (export.freed(one, size) for one in (whole, export.quantised(whole, seen)))
    compared = fidelity(whole, small, head, size, plan.sides.validate, plan.work, track)
    kept = small if compared["difference"] >= -_MOST_LOST else whole
    sizes = {"float_bytes": len(whole), "int8_bytes": len(small), "kept": "int8" if kept is small else "float"}
    return kept, compared | sizes


def fidelity(
    whole: bytes, small: bytes, head: Head, size: Input, rows: Sequence[Row], work: Path, track: Track = untracked
) -> dict[str, Any]:
    """What int8 changes: exact accuracy of both trunks with one head on the same photos, their paired difference with
    its 95 % interval over runs, and the share of photos to which both give one count."""
    levels, pixels = _levels(rows), (size.height, size.width)
    modes = [head.log_probs(features.of(rows, OnnxTrunk(onnx, size=pixels), size, work, track)).argmax(axis=1)
             for onnx in (whole, small)]  # fmt: skip
    float_hit, int8_hit = ((mode == levels).astype(float) for mode in modes)
    return {
        "n": len(rows),
        "float_accuracy": float(float_hit.mean()),
        "int8_accuracy": float(int8_hit.mean()),
        "difference": float(int8_hit.mean() - float_hit.mean()),
        "difference_ci": metrics.interval(int8_hit - float_hit, levels, [row.run for row in rows]),
        "same_count": float((modes[0] == modes[1]).mean()),
    }


def _seen(plan: Plan) -> bytes:
    """What the trunk has learnt from: what it started with, and these photos."""
    page = io.StringIO(plan.start.seen.decode())
    met = set(map(tuple, csv.reader(page)))  # leaves the page at its end
    learnt = dict.fromkeys(quick.seen_row(row, "trunk") for row in plan.sides.train)
    csv.writer(page, lineterminator="\n").writerows(row for row in learnt if row not in met)
    return page.getvalue().encode()


def _kept(network: Network) -> bytes:
    """The backbone's weights in half precision, to go on from."""
    state = network.backbone.state_dict().items()
    return bytes(save({key: (one.half() if one.is_floating_point() else one).contiguous() for key, one in state}))


def _levels(rows: Sequence[Row]) -> fitting.Levels:
    return np.array([level(row.count or 0) for row in rows])
