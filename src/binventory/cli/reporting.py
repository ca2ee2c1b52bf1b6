"""The verb that tells what came of it all, as a PDF."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.counting import BundleOption, load_counter
from binventory.cli.data import DataOption, JsonOption, WorkOption, catalogued

if TYPE_CHECKING:
    from binventory.counting.counter import Counter
    from binventory.data.catalogue import Catalogue, Row
    from binventory.learning.report import Scored, Training
    from binventory.learning.tuning import Tuning
    from binventory.records import Count

_ANSWERS = 3
_MOST_BYTES = 64 * 1024 * 1024
_SIDE = 480
"""Longer side in pixels of a photo in the report."""


def report(
    data: DataOption,
    bundle: BundleOption = None,
    work: WorkOption = None,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            help="What evaluate --json printed; may be given several times, the most telling first. Without it, the "
            "bundle is judged anew on what it has not seen.",
            metavar="FILE",
        ),
    ] = None,
    tuning: Annotated[
        str | None, typer.Option(help="A search's tuning.json. Default: those of the work folder.", metavar="FILE")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="The licence of the photos, told beside those that are shown.", metavar="TEXT")
    ] = "",
    out: Annotated[str, typer.Option(help="The PDF to write.", metavar="FILE")] = "report.pdf",
    as_json: JsonOption = False,
) -> None:
    """Write a bundle's report as a PDF: data and their traps, method, outcome, guarantees, cost, limits.

    Every number in it is read from what the runs have left: bundle, catalogue, evaluations, metrics of trainings and
    the record of a search. Needs the extra ``report``.
    """
    from binventory import objects
    from binventory import recipe as recipes
    from binventory.counting.priors import REFERENCE
    from binventory.data import explore as explored
    from binventory.learning import report as reports
    from binventory.learning import typesetting

    typesetting.refuse_without_typst()
    terminal.refuse_folder("--out", out)
    given = [_evaluation(place) for place in evaluation or ()]
    counter = load_counter(bundle, None)
    made = counter.bundle
    for one, place in zip(given, evaluation or (), strict=True):
        reports.refuse_others(one, made.manifest.name, place)
    recipe = recipes.from_mapping({name: made.manifest.recipe[name] for name in ("seed", "split", "link")
                                   if name in made.manifest.recipe})  # fmt: skip
    found = catalogued(data, work, recipe)
    terminal.tell(found.notes, found.rejects, found.work)
    looked = explored.explore(found, recipe.split, recipe.seed, REFERENCE)
    answers = list(_answers(counter, found))
    shown = {row.id: row.address for row, _ in answers}
    shown |= {seen.id: seen.address for pair in reports.pairs(looked) for seen in (pair.one, pair.other)}
    told = reports.facts(
        made,
        looked,
        given or [_judged(counter, found, data)],
        trainings=_trainings(found.work),
        searches=_searches(tuning, found.work),
        answers=[(row.id, row.count or 0, count) for row, count in answers],
        pictures=_pictures(shown),
        licence=licence,
    )
    for one in told.judged:
        if strangers := reports.strange(one, told.data):
            terminal.say(f"note: an evaluation judged photos of {', '.join(strangers)}, which are not among --data")
    pdf = typesetting.typeset(told)
    objects.write(out, pdf)
    if as_json:
        terminal.print_json({**told.as_row(), "report": out})
    else:
        rows = [
            ("report", out),
            ("bundle", made.manifest.name),
            ("evaluations", len(told.judged)),
            ("trainings", len(told.trainings)),
            ("searches", len(told.searches)),
            ("bytes", f"{len(pdf):,}"),
        ]
        terminal.print_table(("", ""), rows)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def _judged(counter: Counter, found: Catalogue, data: Sequence[str]) -> Scored:
    """The bundle, judged anew: on the test side where there is one, else on all that it has not seen."""
    from binventory.learning import evaluate as evaluation
    from binventory.learning import report as reports

    split = "test" if any(row.side for row in found.rows) else "all"
    named = evaluation.folders(data)
    judged = evaluation.evaluate(
        counter, counter.bundle, found, evaluation.choose(found, split=split), prior=counter.prior,
        named=named, split=split, track=terminal.tracked,
    )  # fmt: skip
    return reports.scored(judged.as_row(), "the evaluation")


def _answers(counter: Counter, found: Catalogue) -> Iterator[tuple[Row, Count]]:
    """A few photos that the bundle has not seen, of few items, some and many, and what it says of them."""
    from binventory.counting.counter import opened
    from binventory.learning import evaluate as evaluation
    from binventory.records import Count

    rows = [row for row in found.rows if row.count is not None and row.side in ("test", "")]
    fresh = evaluation.unseen(rows, found, counter.bundle.seen, counter.bundle.manifest.name)
    fresh.sort(key=lambda row: hashlib.sha256(row.id.encode()).digest())
    bands = ((1, 2), (3, 5), (6, 12))
    chosen = [row for low, high in bands for row in [one for one in fresh if low <= (one.count or 0) <= high][:1]]
    for row, outcome in zip(chosen, counter.count_each(opened(row.address) for row in chosen), strict=True):
        if isinstance(outcome, Count):
            yield row, outcome


def _pictures(addresses: dict[str, str]) -> dict[str, bytes]:
    from binventory.learning.html import thumbnail

    read = {id: thumbnail(address, _SIDE) for id, address in addresses.items()}
    return {id: data for id, data in read.items() if data is not None}


def _trainings(work: Path) -> list[Training]:
    from binventory import objects
    from binventory.learning import report as reports

    places = sorted(work.glob("full/*/metrics.csv"))
    return [reports.training(objects.read(str(one), _MOST_BYTES).decode(errors="replace"), str(one)) for one in places]


def _searches(given: str | None, work: Path) -> list[Tuning]:
    from binventory.learning import report as reports
    from binventory.learning import tuning

    if given:
        return [tuning.read(given)]
    places = sorted(work.glob(f"tune/*/{tuning.FILE}"), key=lambda one: (one.stat().st_mtime, one))
    told = reports.fullest(map(tuning.read, places))
    if len(told) < len(places):
        terminal.say(f"note: of {len(places)} searches in {work / 'tune'} the report tells {len(told)}, of each kind "
                     "the one with the most trials; --tuning names another")  # fmt: skip
    return told


def _evaluation(place: str) -> Scored:
    """The evaluation in a file. Raises RecordError where there is none."""
    from binventory import objects
    from binventory.errors import RecordError
    from binventory.learning import report as reports

    try:
        row = json.loads(objects.read(place, _MOST_BYTES))
        if not isinstance(row, dict):
            raise ValueError("it holds no object")
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{place} is no evaluation", str(error), "binventory evaluate --json > FILE") from None
    return reports.scored(row, place)
