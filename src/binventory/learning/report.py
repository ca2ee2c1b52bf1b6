"""What a bundle's report holds: numbers from the files that runs have left, and a few photos. Pure.

``facts`` puts them together, ``typesetting.typeset`` makes the PDF. No sentence of the report holds a number that does
not come from here, and no address of a machine gets in: data are called by their folders' names.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any

import msgspec

from binventory import __version__, recipe
from binventory.counting.bundle import Bundle, Manifest
from binventory.counting.calibration import Calibration
from binventory.data.explore import Exploration, Pair
from binventory.data.traits import Change, Leak, Mix
from binventory.data.traps import Trap, traps
from binventory.errors import InputError, RecordError
from binventory.learning.evaluate import Asked
from binventory.learning.metrics import Figures
from binventory.learning.tuning import Tuning
from binventory.learning.views import Views
from binventory.records import Count

PAIRS = 2
"""How many pairs of photos are shown, before and after."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation as its JSON tells it. ``views`` and ``seconds`` are None where an older one does not."""

    bundle: str
    asked: Asked
    seen: int
    figures: Figures
    views: Views | None
    seconds: float | None
    machine: str


@dataclass(frozen=True, slots=True)
class Source:
    """One of the data's folders by its name: photos, their median size in pixels, the mean count, how far its mix is
    from that of all (total variation distance, 0..1)."""

    name: str
    photos: int
    width: int
    height: int
    mean: float | None
    distance: float | None


@dataclass(frozen=True, slots=True)
class Pictured:
    """A photo that is shown: its id, what its record says, and the name of its picture (None: no longer readable)."""

    id: str
    count: int | None
    picture: str | None


@dataclass(frozen=True, slots=True)
class Twins:
    """Two photos of one bin, why they are linked, and what changed between their records (None: not known)."""

    one: Pictured
    other: Pictured
    why: str
    changes: tuple[Change, ...] | None


@dataclass(frozen=True, slots=True)
class Data:
    """What the exploration found, as far as the report tells it; names as in ``Exploration``."""

    sources: tuple[Source, ...]
    photos: int
    labelled: int
    unpictured: int
    records: int
    flagged: int
    runs: int
    in_runs: int
    longest_run: int
    products: int
    met_again: int
    rejects: int
    counted: str
    mix: Mix | None
    reference: tuple[float, ...]
    linked: dict[str, int]
    steps: tuple[int, ...]
    copies: int
    copy_steps: tuple[int, ...]
    shares: dict[str, float]
    random: Leak
    by_runs: Leak
    sides: dict[str, dict[str, int]]
    correlation: float | None
    traps: tuple[Trap, ...]
    pairs: tuple[Twins, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training of a whole network: its metrics, an epoch a row."""

    rows: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bundle says of a photo that it has not seen: its true quantity, and its count."""

    photo: Pictured
    truth: int
    count: Count


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the report says. ``sizes``: bytes of the bundle's members. ``changed``: settings of the recipe
    that are not the defaults, by name. ``searches``: for a recipe. ``pictures``: JPEGs by name, shown under
    ``licence``, where it is known.
    """

    manifest: Manifest
    calibration: Calibration
    sizes: dict[str, int]
    changed: dict[str, Any]
    data: Data
    judged: tuple[Scored, ...]
    trainings: tuple[Training, ...]
    searches: tuple[Tuning, ...]
    answers: tuple[Answer, ...]
    pictures: dict[str, bytes]
    licence: str = ""
    version: str = __version__

    def as_row(self) -> dict[str, Any]:
        """The report as one JSON object, without the pictures."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for told, search in zip(plain["searches"], self.searches, strict=True):
            told["beats"] = search.gain is not None and search.gain.beats
        return {name: value for name, value in plain.items() if name != "pictures"}


def facts(
    bundle: Bundle,
    found: Exploration,
    judged: Sequence[Scored],
    *,
    trainings: Iterable[Training] = (),
    searches: Sequence[Tuning] = (),
    answers: Sequence[tuple[str, int, Count]] = (),
    pictures: Mapping[str, bytes] = {},
    licence: str = "",
) -> Report:
    """The report of a bundle on data. ``answers``: id, true quantity and count of photos to show. ``pictures``: JPEGs
    of photos by id, ``licence`` theirs; those that are not shown are left out."""
    shown = {id for id, _, _ in answers} | {seen.id for pair in pairs(found) for seen in (pair.one, pair.other)}
    names = {id: f"photo-{number}.jpg" for number, id in enumerate(sorted(shown & set(pictures)))}
    return Report(
        bundle.manifest,
        bundle.calibration,
        {name: len(data) for name, data in bundle.members().items()},
        _changed(bundle.manifest),
        _data(found, names),
        tuple(judged),
        _distinct(trainings),
        tuple(map(_anywhere, searches)),
        tuple(Answer(Pictured(id, truth, names.get(id)), truth, count) for id, truth, count in answers),
        {name: pictures[id] for id, name in names.items()},
        licence,
    )


def scored(row: Mapping[str, Any], place: str) -> Scored:
    """An evaluation from the JSON that ``evaluate --json`` printed. Raises RecordError where it is another thing."""
    told = {one.name: row[one.name] for one in fields(Figures) if one.name in row}
    try:
        return Scored(
            row["bundle"],
            msgspec.convert(row.get("asked", {}), Asked),
            row["n_seen"],
            msgspec.convert(told, Figures),
            msgspec.convert(row["views"], Views) if row.get("views") else None,
            row.get("seconds"),
            row.get("machine", ""),
        )
    except (KeyError, msgspec.ValidationError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{place} is no evaluation", why, "binventory evaluate --json > FILE") from None


def refuse_others(one: Scored, bundle: str, place: str) -> None:
    """Raise InputError where the evaluation in ``place`` is of another bundle than the one of that name."""
    if one.bundle != bundle:
        raise InputError(f"{place} does not belong to bundle {bundle}", f"it judges the bundle {one.bundle}",
                         f"binventory evaluate --bundle {bundle} --json > {place}")  # fmt: skip


def strange(one: Scored, data: Data) -> tuple[str, ...]:
    """The folders that an evaluation judged and that are none of the report's data, by name."""
    known = {source.name for source in data.sources}
    return tuple(name for name in one.asked.data if name not in known)


def fullest(searches: Iterable[Tuning]) -> list[Tuning]:
    """Of each kind of recipe the search with the most finished trials, of as many the last: what others began and left
    tells nothing beside it. ``searches``: the oldest first."""
    found: dict[str, tuple[int, Tuning]] = {}
    for one in searches:
        finished = sum(trial.state != "failed" for trial in one.trials)
        if one.kind not in found or finished >= found[one.kind][0]:
            found[one.kind] = (finished, one)
    return [one for _, (_, one) in sorted(found.items())]


def training(metrics: str, place: str) -> Training:
    """A training from its ``metrics.csv``. Raises RecordError where a number is missing."""
    try:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(metrics))]
    except (TypeError, ValueError) as error:
        raise RecordError(f"{place} cannot be read", str(error), "train again, or move it away") from None
    older = ("validate_loss", "validate_log_loss")  # what it was called before
    named = [{older[1] if name == older[0] else name: value for name, value in row.items()} for row in rows]
    wanted = {"photos", "train_loss", "validate_log_loss", "validate_accuracy", "validate_within_one", "seconds"}
    if not named or not all(wanted <= row.keys() for row in named):
        raise RecordError(f"{place} cannot be read", "its columns are not those of a training", "move it away")
    return Training(tuple(named))


def _distinct(trainings: Iterable[Training]) -> tuple[Training, ...]:
    """Each training once (one that was only exported anew left the same metrics again), the smaller first."""
    once = dict.fromkeys(tuple(tuple(row.items()) for row in one.rows) for one in trainings)
    ordered = sorted(once, key=lambda rows: (dict(rows[0])["photos"], rows))
    return tuple(Training(tuple(dict(row) for row in rows)) for rows in ordered)


def _anywhere(search: Tuning) -> Tuning:
    """A search without the addresses of the machine that it ran on."""
    trials = tuple(replace(one, why="") for one in search.trials)
    return replace(search, base=PurePosixPath(search.base).name, trials=trials)


def _changed(manifest: Manifest) -> dict[str, Any]:
    """The settings of a bundle's recipe that differ from the defaults, those of the other kind of recipe left out."""
    own, usual = (json.loads(json.dumps(one)) for one in (manifest.recipe, recipe.to_mapping(recipe.Recipe())))
    other = {"quick": "full", "full": "quick"}[manifest.kind]
    return {
        name: value
        for name, value in _flat(own).items()
        if name != "kind" and not name.startswith(other) and _flat(usual).get(name) != value
    }


def _flat(values: Mapping[str, Any], around: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{around}{name}.") if isinstance(value, Mapping) else {around + name: value}
    return found


def pairs(found: Exploration) -> list[Pair]:
    """The pairs that a report shows: those whose records tell what changed, before the others."""
    known = [pair for pair in found.twins.shown if pair.changes]
    return [*known, *(pair for pair in found.twins.shown if not pair.changes)][:PAIRS]


def _data(found: Exploration, names: Mapping[str, str]) -> Data:
    def pictured(pair: Pair) -> tuple[Pictured, Pictured]:
        return (
            Pictured(pair.one.id, pair.one.count, names.get(pair.one.id)),
            Pictured(pair.other.id, pair.other.count, names.get(pair.other.id)),
        )

    same = {one.name: getattr(found, one.name) for one in fields(Data) if hasattr(found, one.name)}
    return Data(
        **same | {
            "sources": tuple(
                Source(PurePosixPath(one.address).name or one.address, one.photos, one.width, one.height,
                       one.mix.mean if one.mix else None, one.mix.distance if one.mix else None)
                for one in found.places
            ),
            "linked": found.twins.by_why,
            "steps": found.twins.steps,
            "copies": sum(found.copies.by_why.values()),
            "copy_steps": found.copies.steps,
            "shares": found.leaks.shares,
            "random": found.leaks.random,
            "by_runs": found.leaks.by_runs,
            "correlation": found.volumes.correlation if found.volumes else None,
            "traps": traps(found),
            "pairs": tuple(Twins(*pictured(pair), pair.why, pair.changes) for pair in pairs(found)),
        }
    )  # fmt: skip
