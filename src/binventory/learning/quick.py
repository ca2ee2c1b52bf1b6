"""Data to a bundle in minutes, without torch: a head and a calibration on the frozen trunk of another bundle."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import binventory
from binventory.counting import priors
from binventory.counting.bundle import SEEN_HEADER, SHORT, Bundle
from binventory.counting.calibration import tempered
from binventory.counting.counter import Counter, probed
from binventory.counting.head import Head
from binventory.counting.priors import Prior
from binventory.counting.trunk import Trunk, runtime
from binventory.data import catalogue
from binventory.data.catalogue import Catalogue, Row
from binventory.errors import RecordError
from binventory.flow import Track, untracked
from binventory.learning import card, features, fitting, guarantee, metrics
from binventory.recipe import Recipe, to_mapping
from binventory.records import COVERAGE, TOP, level

LEARNT = ("train", "validate", "calibrate")
"""The sides whose photos a bundle has seen."""

_AND_PHOTOS = ", and whatever the photos that it was fitted to ask for"
FEWEST_TRAIN = 20
FEWEST_RUNS = 10
_TAIL_MEAN = 30.0  # ABID's bins above 20 hold 29.7 on average; stands in where the data has none


@dataclass(frozen=True, slots=True)
class Choice:
    """One ridge penalty that was tried, and its log loss and accuracy on the validate side."""

    ridge: float
    log_loss: float
    accuracy: float


def train(base: Bundle, data: Catalogue, recipe: Recipe, name: str, track: Track = untracked) -> Bundle:
    """A bundle whose trunk is ``base``'s, and whose head and calibration are fitted to the data's sides.

    The head learns from train; validate chooses the ridge penalty and fits the temperature; calibrate gives the
    conformal sets, one photo a run; test is not touched.

    Raises RecordError where a side has too few labelled photos.
    """
    sides = {side: data.side(side) for side in LEARNT}
    _refuse_few(sides)
    trunk = probed(base)
    tables = {side: features.of(rows, trunk, base.manifest.input, data.work, track) for side, rows in sides.items()}
    levels = {side: np.array([level(row.count or 0) for row in rows]) for side, rows in sides.items()}

    trained = priors.mix(row.count or 0 for row in sides["train"])
    prior = priors.named(recipe.prior, trained)
    head, choices = _choose_head(tables, levels, trained, prior, recipe, track)
    temperature = guarantee.temperature(head.log_probs(tables["validate"]), levels["validate"])
    chosen = guarantee.one_a_run(*zip(*((row.id, row.run) for row in sides["calibrate"]), strict=True))
    probs = tempered(head.log_probs(tables["calibrate"][chosen]), temperature)
    calibration = guarantee.calibration(
        temperature, probs, levels["calibrate"][chosen], COVERAGE, len(sides["calibrate"])
    )
    tail = [row.count for row in sides["train"] if row.count is not None and row.count > TOP]
    manifest = replace(
        base.manifest,
        name=name,
        kind="quick",
        licence=base.manifest.licence.removesuffix(_AND_PHOTOS) + _AND_PHOTOS,
        runtime=runtime(),
        derived_from=(f"{base.manifest.name} ({base.manifest.licence})", *base.manifest.derived_from),
        trained_prior=trained,
        reference_prior=priors.REFERENCE,
        prior=prior,
        tail_mean=float(np.mean(tail)) if tail else _TAIL_MEAN,
        learnt_from=catalogue.tally(row for side in LEARNT for row in sides[side]),
        recipe=to_mapping(recipe),
        figures={},
        version=binventory.__version__,
        hashes={},
        note="",
    )
    probe = replace(base.probe, features=trunk.features(base.probe.photos)) if base.probe else None
    bundle = replace(
        base, manifest=manifest, head=head, calibration=calibration, seen=_seen(base, sides), probe=probe, card=""
    )
    scored = _validated(bundle, trunk, sides["validate"], tables["validate"])
    figures = {"validate": scored, "choices": [{"ridge": c.ridge, "log_loss": round(c.log_loss, 4),
               "accuracy": round(c.accuracy, 4)} for c in choices]}  # fmt: skip
    bundle = replace(bundle, manifest=replace(manifest, figures=figures))
    return replace(bundle, card=card.written(bundle))


def _choose_head(
    tables: dict[str, fitting.Features], levels: dict[str, fitting.Levels], trained: Prior, prior: Prior,
    recipe: Recipe, track: Track,
) -> tuple[Head, list[Choice]]:  # fmt: skip
    """The head that validate likes best, by log loss, and all that were tried; strongest penalty first."""
    quick = recipe.quick
    scale = fitting.scaling(tables["train"])
    scaled = scale(tables["train"])
    weights = fitting.weigh(levels["train"], quick.balance)
    learnt = np.asarray(trained) ** (1 - quick.balance)
    parameters, best, choices = None, None, []
    ridges = sorted(quick.ridge, reverse=True)
    for ridge in track(ridges, "fitting the head", len(ridges)):
        parameters = fitting.head(scaled, levels["train"], weights, ridge, quick.order, quick.rounds, parameters)
        head = fitting.folded(parameters, scale, learnt / learnt.sum(), prior)
        log_probs = head.log_probs(tables["validate"])
        truth = levels["validate"]
        loss = float(-log_probs[np.arange(len(truth)), truth].mean())
        choices.append(Choice(ridge, loss, float((log_probs.argmax(axis=1) == truth).mean())))
        if best is None or loss < min(one.log_loss for one in choices[:-1]):
            best = head
    assert best is not None
    return best, choices


def _validated(bundle: Bundle, trunk: Trunk, rows: Sequence[Row], table: fitting.Features) -> dict[str, Any]:
    counts = Counter(bundle, trunk).count_features(table)
    scored = metrics.figures([row.count or 0 for row in rows], counts, [row.run for row in rows]).as_row()
    kept = ("n", "runs", "accuracy", "accuracy_ci", "within_one", "mae", "rmse", "majority_accuracy", "coverage_90",
            "mean_width_90")  # fmt: skip
    return {name: scored[name] for name in kept}


def _seen(base: Bundle, sides: dict[str, tuple[Row, ...]]) -> bytes:
    """What the head has learnt from, and what the trunk had: a new head forgets the old head's photos alone."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(SEEN_HEADER.split(","))
    writer.writerows(row for row in csv.reader(io.StringIO(base.seen.decode())) if row[-1:] == ["trunk"])
    for side, rows in sides.items():
        writer.writerows((row.id, row.sha256[:SHORT], row.likeness, side, "head") for row in rows)
    return page.getvalue().encode()


def _refuse_few(sides: dict[str, tuple[Row, ...]]) -> None:
    runs = {side: len({row.run for row in rows}) for side, rows in sides.items()}
    kinds = len({level(row.count or 0) for row in sides["train"]})
    short = next((side for side in ("calibrate", "validate") if runs[side] < FEWEST_RUNS), None)
    if len(sides["train"]) < FEWEST_TRAIN or kinds < 2:
        raise RecordError(
            "There are too few labelled photos to learn from",
            f"the train side has {len(sides['train'])} with {kinds} different counts; {FEWEST_TRAIN} and 2 are needed",
            "label more photos in labels.csv (id,count)",
        )
    if short:
        raise RecordError(
            f"The {short} side is too small",
            f"it has {runs[short]} runs of labelled photos; {FEWEST_RUNS} are needed",
            f"label more photos, or give it a larger share in a new work folder: --set split.{short}=0.2",
        )
