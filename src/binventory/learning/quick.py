"""Data to a bundle in minutes, without torch: a head and a calibration on the frozen trunk of another bundle."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import binventory
from binventory import photo
from binventory.counting import priors
from binventory.counting.bundle import SEEN_HEADER, SHORT, Bundle, Input, Manifest, Probe
from binventory.counting.calibration import Calibration, Group, tempered
from binventory.counting.counter import Counter, probed
from binventory.counting.head import Head
from binventory.counting.priors import Prior
from binventory.counting.trunk import OnnxTrunk, runtime
from binventory.data import catalogue
from binventory.data.catalogue import Catalogue, Row
from binventory.errors import RecordError, UsageError
from binventory.flow import Track, untracked
from binventory.learning import card, evaluate, features, fitting, guarantee, metrics, passing
from binventory.learning.metrics import Judgement
from binventory.photo import Pixels
from binventory.recipe import Recipe, to_mapping
from binventory.records import COVERAGE, LEVELS, TOP, Count, level

AND_PHOTOS = ", and whatever the photos that it was fitted to ask for"
FEWEST_TRAIN = 20
FEWEST_RUNS = 10
_TAIL_MEAN = 30.0  # ABID's bins above 20 hold 29.7 on average; stands in where the data has none


@dataclass(frozen=True, slots=True)
class Choice:
    """One head that was tried, and its log loss and accuracy on the validate side.

    ``ridge``: the penalty that it was fitted with; None for the base's own head.
    """

    ridge: float | None
    log_loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Sides:
    """The labelled photos that a head is fitted to, those that choose it and set its temperature, and those that
    give the conformal sets.

    ``cleaned``: photos left out of train, with the rules that reject them. A bundle counts them among what it has
    seen, since their labels had a say in what it learnt from, and would make odd judges of it.
    """

    train: tuple[Row, ...]
    validate: tuple[Row, ...]
    calibrate: tuple[Row, ...]
    cleaned: tuple[tuple[Row, tuple[str, ...]], ...] = ()

    def moved(self, old: Sequence[str], new: Sequence[str]) -> Sides:
        """The same photos in copies of their sources: each ``old`` source for the ``new`` one of the same place."""
        pairs = [(f"{of.rstrip('/')}/", f"{to.rstrip('/')}/") for of, to in zip(old, new, strict=True)]

        def there(row: Row) -> Row:
            found = (to + row.address.removeprefix(of) for of, to in pairs if row.address.startswith(of))
            return replace(row, address=next(found, row.address))

        train, validate, calibrate = (tuple(map(there, one)) for one in (self.train, self.validate, self.calibrate))
        return Sides(train, validate, calibrate, tuple((there(row), rules) for row, rules in self.cleaned))

    def learnt(self) -> tuple[Row, ...]:
        """Everything that a bundle has learnt from."""
        return self.train + self.validate + self.calibrate

    def seen(self) -> tuple[Row, ...]:
        """Everything that a bundle has seen."""
        return self.learnt() + tuple(row for row, _ in self.cleaned)

    def left_out(self) -> dict[str, int]:
        """How many photos each rule left out, and how many it was ``in all``; empty where none was."""
        if not self.cleaned:
            return {}
        return {"in all": len(self.cleaned), **Tally(rule for _, rules in self.cleaned for rule in rules)}


def sides_of(data: Catalogue, seen: bytes, name: str) -> Sides:
    """The data's sides for a trunk that has learnt from ``seen``: those photos may be learnt from again, but they
    neither choose nor calibrate, since a trunk knows them better than any other bin.

    Cleaned photos are left out of train alone: the counter will meet such photos, too, so they go on choosing it and
    calibrating it, and its intervals hold on the records as they come.
    """
    validate, calibrate = (
        tuple(evaluate.unseen(data.side(side), data, seen, name)) for side in ("validate", "calibrate")
    )
    return Sides(data.to_learn("train"), validate, calibrate, data.left_out("train"))


def halved(data: Catalogue, sides: Sides) -> Sides:
    """The sides where validate is learnt from: its cleaned photos are left out, too, and half of calibrate's runs
    choose in its place: which half, each run's hash says."""
    odd = {row.run for row in sides.calibrate if hashlib.sha256(f"half {row.run}".encode()).digest()[0] % 2}
    return Sides(
        (*sides.train, *data.to_learn("validate")),
        tuple(row for row in sides.calibrate if row.run in odd),
        tuple(row for row in sides.calibrate if row.run not in odd),
        (*sides.cleaned, *data.left_out("validate")),
    )


def sides_again(made: Bundle, data: Catalogue) -> Sides:
    """The sides that a finished bundle chose and calibrated with, where ``data`` is split as it was then."""
    sides = sides_of(data, trunk_seen(made.seen), made.manifest.name)
    also = made.manifest.kind == "full" and made.manifest.recipe["full"]["learn"] == "train+validate"
    return halved(data, sides) if also else sides


def train(base: Bundle, data: Catalogue, recipe: Recipe, name: str, track: Track = untracked) -> Bundle:
    """A bundle whose trunk is ``base``'s, and whose head and calibration are fitted to the data's sides.

    Test is not touched. Raises RecordError where a side has too few labelled photos, UsageError where the trunk does
    not take the recipe's size.
    """
    sides = sides_of(data, trunk_seen(base.seen), base.manifest.name)
    refuse_few(sides)
    base = sized(base, recipe.quick.size)
    manifest = replace(
        base.manifest,
        kind="quick",
        licence=base.manifest.licence.removesuffix(AND_PHOTOS) + AND_PHOTOS,
        derived_from=(f"{base.manifest.name} ({base.manifest.licence})", *base.manifest.derived_from),
        figures={},
    )
    return fitted(replace(base, manifest=manifest), sides, data.work, recipe, name, track)


def sized(base: Bundle, side: int) -> Bundle:
    """``base`` with pictures of ``side`` x ``side`` pixels for its trunk (0: its own size), and its probe in that size.

    Raises UsageError where the trunk takes one size alone.
    """
    manifest, own = base.manifest, base.manifest.input
    if side in (0, own.height) and side in (0, own.width):
        return base
    if not resizable(base):
        raise UsageError(
            f"quick.size={side} does not fit bundle {manifest.name}",
            f"its trunk takes {own.height} x {own.width} pixels alone", "quick.size=0, or --from open",
        )  # fmt: skip
    probe = base.probe
    if probe is not None:
        pictures = np.stack([photo.fit(one, side, side, own.fit) for one in probe.photos])
        trunk = OnnxTrunk(base.trunk, plain=probed(base).plain, size=(side, side))
        probe = Probe(pictures, trunk.features(pictures))
    return replace(base, manifest=replace(manifest, input=replace(own, height=side, width=side)), probe=probe)


def resizable(base: Bundle) -> bool:
    """Whether a bundle's trunk takes pictures of any size."""
    return OnnxTrunk(base.trunk).height is None


def tried(base: Bundle, sides: Sides, work: Path, recipe: Recipe, own: bool = True) -> tuple[Judgement, Choice]:
    """What ``train`` would get right on validate with this recipe, and the head that it would choose; calibrate is
    not looked into. ``own``: whether the base's own head is among the choices, as it is for ``train``.

    Raises UsageError where the trunk does not take the recipe's size.
    """
    base = sized(base, recipe.quick.size)
    trunk = probed(base)
    photos = {"train": sides.train, "validate": sides.validate}
    tables = {side: features.of(rows, trunk, base.manifest.input, work) for side, rows in photos.items()}
    if not own:
        base = replace(base, head=Head(np.zeros_like(base.head.weight), base.head.bias))
    head, temperature, choices = _choose_head(base, tables, photos, recipe, untracked)
    truth = _levels(sides.validate)
    probs = tempered(head.log_probs(tables["validate"]), temperature)
    return metrics.judged(np.log(np.maximum(probs, 1e-12)), truth), min(choices, key=lambda one: one.log_loss)


def unfitted(
    onnx: bytes, size: Input, pictures: Pixels, licence: str, origin: tuple[str, ...], prior: Prior = priors.EVEN,
    head: Head | None = None,
) -> Bundle:  # fmt: skip
    """A trunk as a bundle that waits for ``fitted``: nothing calibrated, nothing told.

    ``pictures`` uint8 [N, H, W, 3], as ``size`` asks for, become the probe. ``head`` is the one that the trunk learnt
    with, if it did, expecting counts as ``prior`` has them.
    """
    features = OnnxTrunk(onnx, size=(size.height, size.width)).features(pictures)
    empty = Head(np.zeros((features.shape[1], LEVELS), np.float32), np.zeros(LEVELS, np.float32))
    everything = Group(tuple(range(LEVELS)), 0, guarantee.EVERYTHING)
    manifest = Manifest(
        name="",
        input=size,
        licence=licence,
        derived_from=origin,
        runtime=runtime(),
        trained_prior=prior,
        reference_prior=priors.REFERENCE,
        prior=prior,
        tail_mean=_TAIL_MEAN,
        learnt_from={},
        recipe={},
        figures={},
        version=binventory.__version__,
        hashes={},
    )
    return Bundle(
        manifest, onnx, head or empty, Calibration(1.0, COVERAGE, (everything,), guarantee.EVERYTHING, 0, 0), "",
        SEEN_HEADER.encode() + b"\n", Probe(pictures, features),
    )  # fmt: skip


def fitted(base: Bundle, sides: Sides, work: Path, recipe: Recipe, name: str, track: Track = untracked) -> Bundle:
    """``base`` with a head and a calibration of its own for these sides, and everything that follows from them.

    The head learns from train; validate chooses it, the base's own among the choices, and sets the temperature;
    calibrate gives the conformal sets, one photo a run. What lets a record pass is fitted on the same sides.
    """
    trunk = probed(base)
    photos = {"train": sides.train, "validate": sides.validate, "calibrate": sides.calibrate}
    tables = {side: features.of(rows, trunk, base.manifest.input, work, track) for side, rows in photos.items()}
    trained = priors.mix(row.count or 0 for row in sides.train)
    prior = priors.named(recipe.prior, trained)
    head, temperature, choices = _choose_head(base, tables, photos, recipe, track)
    chosen = guarantee.one_a_run(*zip(*((row.id, row.run) for row in sides.calibrate), strict=True))
    probs = tempered(head.log_probs(tables["calibrate"][chosen]), temperature)
    truth = _levels(sides.calibrate)[chosen]
    calibration = guarantee.calibration(temperature, probs, truth, COVERAGE, len(sides.calibrate))
    tail = [row.count for row in sides.train if row.count is not None and row.count > TOP]
    manifest = replace(
        base.manifest,
        name=name,
        runtime=runtime(),
        trained_prior=trained,
        reference_prior=priors.REFERENCE,
        prior=prior,
        tail_mean=float(np.mean(tail)) if tail else _TAIL_MEAN,
        learnt_from=catalogue.tally(sides.learnt()),
        left_out=sides.left_out(),
        recipe=to_mapping(recipe),
        version=binventory.__version__,
        hashes={},
        note="",
    )
    probe = replace(base.probe, features=trunk.features(base.probe.photos)) if base.probe else None
    bundle = replace(
        base, manifest=manifest, head=head, calibration=calibration, seen=_seen(base, sides), probe=probe, card=""
    )
    counter, lines = Counter(bundle, trunk), catalogue.lines(work)
    counted = {side: counter.count_features(tables[side]) for side in ("validate", "calibrate")}
    rule = passing.fitted(
        [passing.right(row, lines) for row in sides.train],
        passing.known(sides.validate, counted["validate"], lines),
        passing.known(sides.calibrate, counted["calibrate"], lines),
        prior,
    )
    scored = _scored(sides.validate, counted["validate"])
    tried = [{"ridge": c.ridge, "log_loss": round(c.log_loss, 4), "accuracy": round(c.accuracy, 4)} for c in choices]
    figures = {"validate": scored, "choices": tried, **base.manifest.figures}
    bundle = replace(bundle, manifest=replace(manifest, figures=figures), deciding=rule.to_bytes())
    return replace(bundle, card=card.written(bundle))


def _choose_head(
    base: Bundle, tables: dict[str, fitting.Features], photos: dict[str, tuple[Row, ...]], recipe: Recipe,
    track: Track,
) -> tuple[Head, float, list[Choice]]:  # fmt: skip
    """The head that validate likes best, by log loss at its best temperature, that temperature, and all choices.

    The base's own head comes first (a network fine-tuned with it, or a site with few photos, may keep it), then
    new ones, strongest penalty first.
    """
    trained = priors.mix(row.count or 0 for row in photos["train"])
    prior = priors.named(recipe.prior, trained)
    moved = np.log(np.asarray(prior) / np.asarray(base.manifest.prior)).astype(np.float32)
    own = Head(base.head.weight, base.head.bias + moved)
    levels = {side: _levels(photos[side]) for side in ("train", "validate")}
    quick, truth = recipe.quick, levels["validate"]
    scale = fitting.scaling(tables["train"])
    scaled = scale(tables["train"])
    weights = fitting.weigh(levels["train"], quick.balance)
    learnt = np.asarray(trained) ** (1 - quick.balance)
    found: list[tuple[Head, float, Choice]] = []

    def judge(head: Head, ridge: float | None) -> None:
        log_probs = head.log_probs(tables["validate"])
        temperature = guarantee.temperature(log_probs, truth)
        right = tempered(log_probs, temperature)[np.arange(len(truth)), truth]
        loss = float(-np.log(np.maximum(right, 1e-12)).mean())
        accuracy = float((log_probs.argmax(axis=1) == truth).mean())
        found.append((head, temperature, Choice(ridge, loss, accuracy)))

    if own.weight.any():
        judge(own, None)
    parameters = None
    ridges = sorted(quick.ridge, reverse=True)
    for ridge in track(ridges, "fitting the head", len(ridges)):
        parameters = fitting.head(scaled, levels["train"], weights, ridge, quick.order, quick.rounds, parameters)
        judge(fitting.folded(parameters, scale, learnt / learnt.sum(), prior), ridge)
    head, temperature, _ = min(found, key=lambda one: one[2].log_loss)
    return head, temperature, [choice for _, _, choice in found]


def _scored(rows: Sequence[Row], counts: Sequence[Count]) -> dict[str, Any]:
    scored = metrics.figures([row.count or 0 for row in rows], counts, [row.run for row in rows]).as_row()
    kept = ("n", "runs", "accuracy", "accuracy_ci", "within_one", "mae", "rmse", "log_loss", "majority_accuracy",
            "coverage_90", "mean_width_90")  # fmt: skip
    return {name: scored[name] for name in kept}


def told(bundle: Bundle) -> str:
    """What a fitted bundle scored on validate, as one line of ``key=value``."""
    scored = bundle.manifest.figures["validate"]
    return metrics.line({f"validate_{name}": scored[name] for name in ("log_loss", "accuracy", "within_one", "mae")})


def _levels(rows: Sequence[Row]) -> fitting.Levels:
    return np.array([level(row.count or 0) for row in rows], dtype=np.intp)


def _seen(base: Bundle, sides: Sides) -> bytes:
    """What the head has seen, and what the trunk had: a new head forgets the old head's photos alone."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(SEEN_HEADER.split(","))
    trunk = list(csv.reader(io.StringIO(trunk_seen(base.seen).decode())))[1:]
    met = {(id, sha256) for id, sha256, *_ in trunk}
    writer.writerows(trunk)
    writer.writerows(seen_row(row, "head") for row in sides.seen() if (row.id, row.sha256[:SHORT]) not in met)
    return page.getvalue().encode()


def trunk_seen(seen: bytes) -> bytes:
    """Of a ``seen.csv`` the header and the rows of the trunk."""
    lines = seen.splitlines(keepends=True)
    return b"".join(line for line in lines[:1] + [line for line in lines[1:] if line.rstrip().endswith(b",trunk")])


def seen_row(row: Row, part: str) -> tuple[str, ...]:
    """The row of ``seen.csv`` that says that ``part``, head or trunk, has learnt from a photo."""
    return row.id, row.sha256[:SHORT], row.likeness, row.side, part


def refuse_few(sides: Sides) -> None:
    """Raise RecordError where a side has too few labelled photos."""
    kinds = len({level(row.count or 0) for row in sides.train})
    if len(sides.train) < FEWEST_TRAIN or kinds < 2:
        raise RecordError(
            "There are too few labelled photos to learn from",
            f"the train side has {len(sides.train)} with {kinds} different counts; {FEWEST_TRAIN} and 2 are needed",
            "label more photos in labels.csv (id,count)",
        )
    for side, rows in (("validate", sides.validate), ("calibrate", sides.calibrate)):
        runs = len({row.run for row in rows})
        if runs < FEWEST_RUNS:
            raise RecordError(
                f"The {side} side is too small",
                f"it has {runs} runs of labelled photos that the trunk has not learnt from; {FEWEST_RUNS} are needed",
                "label more photos, give it a larger share in a new work folder (--set split.train=0.6 --set "
                f"split.{side}=0.2), or start from a trunk that knows none of them: --from open",
            )
