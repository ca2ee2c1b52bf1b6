"""Judges a counter on photos that it has not met: which photos, dropped why, and what it scored."""

from __future__ import annotations

import csv
import io
import os
import platform
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np

from binventory.counting import priors
from binventory.counting.bundle import SHORT, Bundle
from binventory.counting.counter import opened_each
from binventory.counting.priors import Prior
from binventory.data import links
from binventory.data.catalogue import Catalogue, Row, resolved
from binventory.errors import BinventoryError, BundleError, InputError, RecordError
from binventory.flow import Track, untracked
from binventory.learning.metrics import Figures, figures
from binventory.learning.views import Views, views
from binventory.records import Count, Counts


@dataclass(frozen=True, slots=True)
class Judged:
    """One photo, its truth and its count."""

    row: Row
    truth: int
    count: Count


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked to be judged: the ``data`` by their folders' names, of which ``split`` (test or all), of which
    true ``counts`` (None: of any), each weighed alike (``balanced``) or as they come, with what was learnt from or
    without it."""

    data: tuple[str, ...] = ()
    split: str = "all"
    counts: tuple[int, ...] | None = None
    balanced: bool = False
    include_seen: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was judged and what came of it. ``seen`` photos were dropped because the bundle learnt from their runs;
    ``unreadable`` ones gave no pixels any more. ``seconds``: how long counting took, reading the photos included, on
    which ``machine``."""

    bundle: str
    figures: Figures
    judged: tuple[Judged, ...]
    seen: int
    unreadable: tuple[BinventoryError, ...]
    asked: Asked = Asked()
    seconds: float | None = None
    machine: str = ""

    @property
    def views(self) -> Views:
        """Truth against count, confidence against hits, the surest."""
        return views([(one.truth, one.count) for one in self.judged])

    def as_row(self) -> dict[str, Any]:
        """The evaluation as one JSON object."""
        plain = self.figures.as_row()
        return {
            "bundle": self.bundle,
            "n": plain.pop("n"),
            "runs": plain.pop("runs"),
            "n_seen": self.seen,
            **plain,
            "asked": msgspec.to_builtins(self.asked),
            "seconds": self.seconds,
            "machine": self.machine,
            "views": msgspec.to_builtins(self.views),
        }


def folders(data: Sequence[str]) -> list[str]:
    """The data by their folders' names, as an evaluation notes them."""
    return [PurePosixPath(one).name or one for one in resolved(data)]


def choose(
    data: Catalogue,
    *,
    split: str = "all",
    quantities: Collection[int] | None = None,
    ids: Collection[str] | None = None,
) -> list[Row]:
    """The labelled photos to judge. Raises RecordError where none is left, saying which choice left none."""
    if not data.rows and data.unpictured:
        raise RecordError(
            "There is nothing to judge", f"of {len(data.unpictured):,} records none has its photo", "binventory fetch"
        )
    rows = [row for row in data.rows if row.count is not None]
    steps: list[tuple[str, list[Row]]] = [("a count", rows)]
    if split == "test":
        if not any(row.side for row in data.rows):
            raise RecordError("The data has no test side", "it was never split", "binventory split --data DIR")
        steps.append(("the test side", [row for row in steps[-1][1] if row.side == "test"]))
    if ids is not None:
        steps.append(("the ids that were given", [row for row in steps[-1][1] if row.id in ids]))
    if quantities is not None:
        steps.append(("the counts that were asked for", [row for row in steps[-1][1] if row.count in quantities]))
    for what, left in steps:
        if not left:
            raise RecordError(
                "There is nothing to judge", f"none of the {len(data.rows):,} photos has {what}",
                "check labels.csv, --ids and --counts",
            )  # fmt: skip
    return steps[-1][1]


def unseen(rows: Sequence[Row], data: Catalogue, seen: bytes, name: str) -> list[Row]:
    """The rows whose runs the bundle ``name`` has not learnt from, as its ``seen.csv`` tells. Raises BundleError.

    A photo is seen when its sha256 is known or its likeness agrees with one that is, under whatever name: a reduced
    copy is the same photo, a stranger's photo of the same name is not.
    """
    hashes: set[str] = set()
    likenesses = {row.id: row.likeness for row in data.rows}
    learnt: set[str] = set()
    try:
        for one in csv.DictReader(io.StringIO(seen.decode())):
            hashes.add(one["sha256"])
            learnt.add(f"{int(one['likeness'], 16):064x}")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise BundleError(
            f"Bundle {name} does not say what it has seen", f"seen.csv: {error}", "copy it again"
        ) from None
    # An id cannot begin with a zero byte, so these names meet none.
    near = links.near(likenesses | {f"\0{number}": one for number, one in enumerate(sorted(learnt))})
    copies = {link.other for link in near if link.one[0] == "\0" != link.other[0]}
    met = {row.run for row in data.rows if row.sha256[:SHORT] in hashes or row.id in copies}
    return [row for row in rows if row.run not in met]


def evaluate(
    counter: Counts,
    bundle: Bundle,
    data: Catalogue,
    rows: Sequence[Row],
    *,
    quantities: Sequence[int] | None = None,
    balanced: bool = False,
    include_seen: bool = False,
    prior: Prior | None = None,
    named: Sequence[str] = (),
    split: str = "all",
    track: Track = untracked,
) -> Evaluation:
    """Count the rows that the bundle has not seen (or all of them) and judge it.

    ``prior``: the mix that the counter was told to expect, if it is not the bundle's own. ``named`` and ``split`` say
    what the rows were chosen from, and are only noted.

    Raises RecordError where every photo was seen, InputError where none can be read any more.
    """
    fresh = list(rows) if include_seen else unseen(rows, data, bundle.seen, bundle.manifest.name)
    if not fresh:
        raise RecordError(
            "There is nothing to judge",
            f"the bundle has learnt from the runs of all {len(rows):,} photos",
            "judge it on other photos, or say --include-seen and mind what that means",
        )
    outcomes = track(counter.count_each(opened_each(row.address for row in fresh)), "counting", len(fresh))
    judged, unreadable = [], []
    begun = time.monotonic()
    for row, outcome in zip(fresh, outcomes, strict=True):
        if isinstance(outcome, BinventoryError):
            unreadable.append(outcome)
        else:
            judged.append(Judged(row, row.count or 0, outcome))
    seconds = time.monotonic() - begun
    if not judged:
        raise InputError("There is nothing to judge", "no photo could be read", "check that the data still lies there")
    probs = np.array([one.count.probs for one in judged])
    own = probs if prior is None else priors.reweigh(probs, prior, bundle.manifest.prior)
    scored = figures(
        [one.truth for one in judged],
        [one.count for one in judged],
        [one.row.run for one in judged],
        closed=quantities,
        balanced=balanced,
        sets=bundle.calibration.sets(own),
    )
    asked = Asked(tuple(named), split, None if quantities is None else tuple(quantities), balanced, include_seen)
    left = len(rows) - len(fresh)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return Evaluation(bundle.manifest.name, scored, tuple(judged), left, tuple(unreadable), asked, seconds, machine)
