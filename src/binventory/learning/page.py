"""An evaluation as one HTML page that stands alone: styles, plots and photos are all inside it."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

from binventory import __version__
from binventory.learning.evaluate import Evaluation, Judged
from binventory.learning.html import percent, picture, signed, template, written
from binventory.learning.metrics import Baseline, Figures
from binventory.learning.views import right
from binventory.records import COVERAGE, LEVELS, TAIL, level, shown

TEMPLATE = "evaluation.html.j2"
EACH = 12
"""Photos in each of the page's three choices."""


@dataclass(frozen=True, slots=True)
class Card:
    """A headline figure. ``place``, ``mark`` and ``band`` are shares 0..1 on its scale, where it has one."""

    name: str
    value: str
    notes: tuple[str, ...]
    place: float | None = None
    mark: float | None = None
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of the table of baselines: what always gives which answer, and what that scores."""

    name: str
    answer: str
    figures: Baseline | Figures


@dataclass(frozen=True, slots=True)
class Shown:
    """A judged photo with its picture as a data URI, None where it can no longer be read."""

    judged: Judged
    picture: str | None

    @property
    def truth(self) -> int:
        """The truth's entry in the distribution."""
        return level(self.judged.truth)


@dataclass(frozen=True, slots=True)
class Choice:
    """Photos that were chosen to be looked at, and by what."""

    name: str
    why: str
    photos: tuple[Shown, ...]


def evaluation_page(evaluation: Evaluation, title: str) -> str:
    """The whole evaluation as one HTML document in UTF-8, with at most 36 photos of at most 240 px in it.

    It loads nothing and runs nothing. Photos are read again from where they lie; one that cannot be read any more is
    shown by its id alone.
    """
    judged, scored = evaluation.judged, evaluation.figures
    by_count = {int(k): of for k, of in scored.by_count.items()}
    text = template(TEMPLATE).render(
        title=title,
        evaluation=evaluation,
        figures=scored,
        lede=_lede(scored),
        cards=_cards(scored),
        answers=_answers(evaluation),
        by_count=by_count,
        widest_bias=max(1.0, *(abs(of.bias) for of in by_count.values())),
        views=evaluation.views,
        choices=_choices(judged),
        uniform_loss=log(LEVELS),
        levels=LEVELS,
        version=__version__,
    )
    return written(text)


def _given(answer: float) -> str:
    """A baseline's answer: a count where it is one, else two digits."""
    return shown(int(answer)) if answer == int(answer) and answer <= TAIL else f"{answer:.2f}"


def _nearest(baseline: Baseline) -> str:
    """The count that an answer is taken for where counts are compared."""
    return shown(level(round(baseline.answer)))


def _lede(scored: Figures) -> str:
    commonest = scored.baselines["majority"]
    return (
        f"Of 100 photos, {100 * scored.accuracy:.0f} are counted exactly and {100 * scored.within_one:.0f} to within "
        f"one item; always answering {_given(commonest.answer)} would be exact for {100 * commonest.accuracy:.0f}. "
        f"The printed interval holds the true count in {100 * scored.coverage_90:.0f} of 100 and spans "
        f"{scored.mean_width_90:.1f} counts on average."
    )


def _cards(scored: Figures) -> list[Card]:
    low, high = scored.accuracy_ci

    def constant(figure: str, best: Callable[..., Baseline]) -> Baseline:
        return best(scored.baselines.values(), key=lambda one: getattr(one, figure))

    exact, near = constant("accuracy", max), constant("within_one", max)
    far, squared = constant("mae", min), constant("rmse", min)
    cards = [
        Card("Exact", percent(scored.accuracy),
             (f"95\u202f% interval over runs: {100 * low:.1f} to {percent(high)}",
              f"always {_nearest(exact)}: {percent(exact.accuracy)}"),
             scored.accuracy, exact.accuracy, (low, high)),
        Card("Within one", percent(scored.within_one), (f"always {_nearest(near)}: {percent(near.within_one)}",),
             scored.within_one, near.within_one),
        Card("Interval coverage", percent(scored.coverage_90), (f"promised: {percent(COVERAGE, 0)}",),
             scored.coverage_90, COVERAGE),
        Card("Interval width", f"{scored.mean_width_90:.2f}", (f"counts on average, of {LEVELS}",)),
        Card("Mean absolute error", f"{scored.mae:.2f}", (f"items; always {_given(far.answer)}: {far.mae:.2f}",)),
        Card("RMSE", f"{scored.rmse:.2f}", (f"items; always {_given(squared.answer)}: {squared.rmse:.2f}",)),
        Card("Bias", signed(scored.bias), ("items; above 0 means counted too high",)),
        Card("Calibration error", percent(scored.calibration_error), ("confidence beside exact accuracy",)),
    ]  # fmt: skip
    if (scored.accuracy_closed, scored.rmse_closed) != (scored.accuracy, scored.rmse):
        notes = ("among the counts that were asked for", f"RMSE {scored.rmse_closed:.2f} items")
        cards.insert(1, Card("Exact, closed", percent(scored.accuracy_closed), notes, scored.accuracy_closed))
    return cards


def _answers(evaluation: Evaluation) -> list[Answer]:
    constants = [Answer(name, _given(one.answer), one) for name, one in evaluation.figures.baselines.items()]
    return [Answer(evaluation.bundle, "by photo", evaluation.figures), *constants]


def _choices(judged: Sequence[Judged]) -> list[Choice]:
    """The farthest off, then the least expected among the other wrong ones; and the surest right ones, of every true
    count before a second of any, for they would all be of the easiest count."""
    missed = [one for one in judged if not right(one.truth, one.count)]
    wrong = sorted(missed, key=lambda one: -abs(one.count.mean - one.truth))
    farthest, rest = wrong[:EACH], wrong[EACH:]
    least = sorted(rest, key=lambda one: one.count.probs[level(one.truth)])[:EACH]
    surest: list[tuple[int, Judged]] = []
    met: Tally[int] = Tally()
    for one in sorted((one for one in judged if right(one.truth, one.count)), key=lambda one: -one.count.confidence):
        surest.append((met[one.count.count], one))
        met[one.count.count] += 1
    spread = [one for _, one in sorted(surest, key=lambda pair: pair[0])][:EACH]
    chosen = (
        ("Farthest off", "Wrong counts whose mean lies farthest from the truth.", farthest),
        ("Least expected", "Of the other wrong counts, those that gave the truth the least probability.", least),
        ("Surest and right", "Right counts with the highest confidence, spread over the true counts.",
         sorted(spread, key=lambda one: one.count.count)),
    )  # fmt: skip
    return [
        Choice(name, why, tuple(Shown(one, picture(one.row.address)) for one in of)) for name, why, of in chosen if of
    ]
