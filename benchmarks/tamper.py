"""What verdicts are worth: real photos with their true records, and the same records tampered with.

    python benchmarks/tamper.py --data DIR [--data DIR …] [--on DIR] [--hold-out FILE] --work DIR [--bundle B] [--json]

Judges records with lines, of 1 to 20 items, by photos of the test side of ``--on`` that the bundle has not met. Each
record is tampered with in every declared way, several times, its lines adding up. For AUROC and precision the tampered
ones are weighed (raking) so that their mixes of quantity and of number of lines are those of the true ones: who looks
at either alone is left with 0.5, and where not, the draw is wrong and the script ends with 1. What passes, and the
check of the bounds, is of tampered records as they come. Intervals: 95 %, over runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from binventory import recipe
from binventory.counting import bundle
from binventory.counting.counter import Counter, probed
from binventory.data import catalogue, lists
from binventory.data.catalogue import Row, resolved
from binventory.deciding import belief
from binventory.deciding.policy import ERRORS
from binventory.deciding.rule import Powers, Rule
from binventory.learning import evaluate, features, guarantee, passing, quick
from binventory.learning.passing import BOUNDS, DELTA, Known
from binventory.records import LEVELS, TOP, BinRecord, Count, level

Floats = NDArray[np.float64]
Score = Callable[[Count, BinRecord], float]
DRAWS, RESAMPLES, RATES, RECALL = 4, 1000, (0.005, 0.05, 0.5), 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """Records before photos: ``kind`` [N] is -1 where the record is true, else the place in ERRORS."""

    photos: list[Known]
    records: list[BinRecord]
    kind: NDArray[np.intp]
    run: NDArray[np.intp]

    def scored(self, score: Score) -> Floats:
        return np.array([score(one.count, record) for one, record in zip(self.photos, self.records, strict=True)])


def drawn(known: list[Known], draws: int, seed: int) -> Drawn:
    """Every true record, and each of it tampered with in every way that it allows, ``draws`` times."""
    rng = np.random.default_rng(seed)
    pool = [item for one in known for item in one.record.items]
    found: list[tuple[Known, BinRecord, int]] = []
    for one in known:
        found.append((one, one.record, -1))
        for kind in ERRORS * draws:
            record = passing.tampered(one.record, kind, pool[int(rng.integers(len(pool)))], rng)
            if record is not None:
                found.append((one, record, ERRORS.index(kind)))
    _, run = np.unique([one.run for one, *_ in found], return_inverse=True)
    photos, records, kinds = (list(column) for column in zip(*found, strict=True))
    return Drawn(photos, records, np.array(kinds), run)


def weighed(of: Drawn) -> Floats:
    """Weights [N]: true records alike; tampered ones alike by kind, then raked to the true ones' two mixes; those of
    more than 20 items weigh nothing."""
    quantity = np.array([one.quantity or 0 for one in of.records])
    lines = np.array([min(len(one.items), 10) for one in of.records])
    true = of.kind < 0
    weights = np.where(true | (quantity <= TOP), 1 / np.bincount(of.kind + 1, minlength=7)[of.kind + 1], 0.0)
    for _ in range(500):
        for trait in (quantity, lines):
            size = int(trait.max()) + 1
            wanted = np.bincount(trait[true], minlength=size) / true.sum()
            there = np.bincount(trait[~true], weights[~true], minlength=size)
            weights[~true] *= (wanted / np.maximum(there, 1e-300))[trait[~true]]
    return np.asarray(weights)


def auroc(scores: Floats, weights: Floats, true: NDArray[np.bool_]) -> float:
    """P(a true record scores above a tampered one), ties half."""
    tampered, right = curve(scores, weights, true)
    return float(np.trapezoid(tampered, right))


def curve(scores: Floats, weights: Floats, true: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of tampered and of true records the shares that score at most as much: [M] each, from 0 to 1."""
    _, place = np.unique(scores, return_inverse=True)
    shares = []
    for side in (~true, true):
        mass = np.bincount(place[side], weights[side], minlength=place.max() + 1)
        shares.append(np.concatenate([[0.0], np.cumsum(mass) / mass.sum()]))
    return shares[0], shares[1]


def over_runs(of: Drawn, figure: Callable[[Floats], float]) -> list[float]:
    """A figure of weights [N], and its 95 % interval where whole runs are drawn with replacement."""
    rng, runs = np.random.default_rng(1), of.run.max() + 1
    times = (np.bincount(rng.integers(0, runs, runs), minlength=runs) for _ in range(RESAMPLES))
    found = [figure(one[of.run].astype(np.float64)) for one in times]
    return [round(float(one), 4) for one in (figure(np.ones(len(of.run))), *np.nanquantile(found, [0.025, 0.975]))]


def share(passed: NDArray[np.bool_], weights: Floats) -> float:
    return float(weights @ passed / weights.sum()) if weights.sum() else float("nan")


def share_over(of: Drawn, passed: NDArray[np.bool_], side: NDArray[np.bool_]) -> list[float]:
    """The share of the records of ``side`` that passed, with its interval."""
    return over_runs(of, lambda times: share(passed[side], times[side]))


def auroc_over(of: Drawn, scores: Floats, weights: Floats, less: Floats | None = None) -> list[float]:
    """The AUROC of scores, or by how much it exceeds that of the scores ``less``, with its interval."""
    true = of.kind < 0

    def figure(times: Floats) -> float:
        at = auroc(scores, times * weights, true)
        return at if less is None else at - auroc(less, times * weights, true)

    return over_runs(of, figure)


def precision(tpr: float, fpr: float, rate: float) -> float:
    return rate * tpr / (rate * tpr + (1 - rate) * fpr) if tpr else 0.0


def methods(rule: Rule, prior: tuple[float, ...]) -> dict[str, Score]:
    """What may judge a record: what never sees the photo, the photo alone, and both."""
    errors, rate, plain = belief.REFERENCE, belief.REFERENCE_RATE, replace(rule, powers=Powers())
    blank = Count(prior, 30.0, (0, None))
    return {
        "pass everything": lambda _, record: float(record.quantity is not None),
        "quantity": lambda _, record: prior[level(record.quantity or 0)],
        "number of lines": lambda _, record: rule.lines[min(len(record.items), TOP)],
        "manifest": lambda _, record: belief.belief(blank, record, plain, rate, errors).right,
        "photo": lambda count, record: belief.belief(count, replace(record, items=()), rule, rate, errors).right,
        "photo and manifest": lambda count, record: belief.belief(count, record, rule, rate, errors).right,
    }


def passes(scores: Floats, of: Drawn, calibrated: Floats, at: Drawn, bound: float) -> NDArray[np.bool_]:
    """Which records pass where thresholds of all kinds are fitted to the calibrate side's, as the rule's are."""
    fitted = [passing.threshold(calibrated[at.kind == k], bound, DELTA / len(ERRORS)) for k in range(len(ERRORS))]
    able = [one.count.interval[1] is not None and (record.quantity or 0) <= TOP
            for one, record in zip(of.photos, of.records, strict=True)]  # fmt: skip
    return np.asarray((scores >= max(fitted)) & np.array(able))


def judged(test: list[Known], calibrate: list[Known], rule: Rule, prior: tuple[float, ...]) -> dict[str, Any]:
    """Every figure, by name."""
    of, ones = drawn(test, DRAWS, 3), guarantee.one_a_run([k.id for k in calibrate], [k.run for k in calibrate])
    at = drawn([calibrate[n] for n in ones], 1, 4)
    weights, true = weighed(of), of.kind < 0
    table: dict[str, Any] = {}
    for name, score in methods(rule, prior).items():
        scores, calibrated = of.scored(score), at.scored(score)
        able = np.array([one.count.interval[1] is not None for one in at.photos])
        calibrated = np.where(able, calibrated, -1.0)
        row: dict[str, Any] = {"auroc": auroc_over(of, scores, weights)}
        row["by kind"] = {
            kind: round(auroc(scores[side], np.ones(side.sum()), true[side]), 3)
            for k, kind in enumerate(ERRORS) for side in [true | (of.kind == k)]
        }  # fmt: skip
        tampered_below, true_below = curve(scores, weights, true)
        fpr = float(np.interp(RECALL, tampered_below, true_below))
        row["precision"] = {str(rate): round(precision(RECALL, fpr, rate), 4) for rate in RATES}
        if name == "pass everything":
            row["passed"] = {str(bound): {"right": [1.0, 1.0, 1.0]} for bound in BOUNDS}
        elif name not in ("quantity", "number of lines"):
            row["passed"] = {}
            for bound in BOUNDS:
                let = passes(scores, of, calibrated, at, bound)
                row["passed"][str(bound)] = {name: share_over(of, let, side) for name, side in kinds(of).items()}
        table[name] = row
    return {
        "photos": len(test), "runs": len({one.run for one in test}), "records": len(of.records),
        "calibrate_runs": len(ones), "methods": table, "shipped": shipped(of, rule), "totals": totals(test, rule),
        "gain": gain(of, weights, rule, prior),
    }  # fmt: skip


def gain(of: Drawn, weights: Floats, rule: Rule, prior: tuple[float, ...]) -> dict[str, list[float]]:
    """By how much both beat the manifest alone and the photo alone: differences of AUROC on the same records."""
    known = methods(rule, prior)
    both, *others = (of.scored(known[name]) for name in ("photo and manifest", "manifest", "photo"))
    return {
        f"over {name}": auroc_over(of, both, weights, other)
        for name, other in zip(("manifest", "photo"), others, strict=True)
    }


def kinds(of: Drawn) -> dict[str, NDArray[np.bool_]]:
    """Which records are right, and which wrong in each way."""
    return {"right": of.kind < 0} | {kind: of.kind == k for k, kind in enumerate(ERRORS)}


def shipped(of: Drawn, rule: Rule) -> dict[str, Any]:
    """What the bundle's own rule lets pass of right records and of each kind of wrong ones."""
    scores = of.scored(lambda count, record: belief.score(count, record, rule))
    found = {}
    for bound in BOUNDS:
        least = rule.threshold(ERRORS, bound, True)
        let = scores >= (least.score if least else 2.0)
        found[str(bound)] = {name: share_over(of, let, side) for name, side in kinds(of).items()}
    return found


def totals(test: list[Known], rule: Rule) -> dict[str, dict[str, list[float]]]:
    """How often the likeliest total is the true one, and the mean log loss of the true one: by the number of lines, the
    lines, the photo, both as the rule stacks them, and both by the plain product."""
    alone, even = replace(rule, powers=Powers(1, 1, 0)), (1 / LEVELS,) * LEVELS
    product = replace(rule, powers=Powers())
    probs = {
        "manifest": [alone.totals(even, one.record.items) for one in test],
        "photo": [np.array(one.count.probs) for one in test],
        "photo and manifest": [rule.totals(one.count.probs, one.record.items) for one in test],
        "their plain product": [product.totals(one.count.probs, one.record.items) for one in test],
    }
    _, run = np.unique([one.run for one in test], return_inverse=True)
    true = np.array([one.total for one in test])
    few, of, at = true <= 5, Drawn(test, [], true, run), np.arange(len(true))
    modes = {"number of lines": np.array([len(one.record.items) for one in test])}
    modes |= {name: np.array(rows).argmax(axis=1) for name, rows in probs.items()}
    found = {}
    for name, mode in modes.items():
        hit = mode == true
        found[name] = {"all": share_over(of, hit, true > 0), "1 to 5": share_over(of, hit, few)}
        if name in probs:
            loss = -np.log(np.maximum(np.array(probs[name])[at, true], 1e-12))
            found[name]["log loss"] = over_runs(of, partial(_mean, loss))
    return found


def main() -> None:
    """Print the tables, or one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", action="append", required=True)
    options.add_argument("--on", action="append")
    options.add_argument("--hold-out", type=Path)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--bundle", default="abid")
    options.add_argument("--side", default="test", choices=("validate", "test"), help="validate: to tune on")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    made = bundle.load(given.bundle)
    if made.deciding is None:
        sys.exit(f"error: {given.bundle} has learnt no rule. Try: python ship/rules.py.")
    rule, settings = Rule.from_bytes(made.deciding), recipe.load(made.manifest.kind)
    data = catalogue.build(given.data, given.work, settings.link)
    kept_out = lists.read_ids(str(given.hold_out)) if given.hold_out else []
    data = catalogue.split_sides(data, settings.split, made.manifest.recipe["seed"], kept_out)
    sources = tuple(f"{one}/" for one in resolved(given.on or given.data))
    trunk, lines, sides = probed(made), catalogue.lines(given.work), quick.sides_again(made, data)

    def known(rows: Sequence[Row]) -> list[Known]:
        """Those with lines and 1 to 20 items."""
        table = features.of(rows, trunk, made.manifest.input, given.work)
        every = passing.known(rows, Counter(made, trunk).count_features(table), lines)
        return [one for one in every if one.record.items and one.total <= TOP]

    unmet = evaluate.unseen(data.side("test"), data, made.seen, given.bundle)
    test = list(sides.validate) if given.side == "validate" else unmet
    test = [row for row in test if row.address.startswith(sources)]
    found = judged(known(test), known(sides.calibrate), rule, made.manifest.prior)
    print(json.dumps(found, indent=1) if given.json else told(found))
    for name in ("quantity", "number of lines"):
        _, low, high = found["methods"][name]["auroc"]
        if not low <= 0.5 <= high:
            sys.exit(f"error: {name} alone tells {low} to {high}. The draw is wrong.")


def told(found: dict[str, Any]) -> str:
    """The tables as Markdown."""
    lines = [f"{found['photos']} photos of {found['runs']} runs, {found['records']} records; thresholds of all methods "
             f"from {found['calibrate_runs']} runs of calibrate", ""]  # fmt: skip
    ways = " | ".join(ERRORS)
    lines += [f"| judge | AUROC | {ways} | SKUs swapped |", "|---|---|" + "---|" * 7]
    for name, row in found["methods"].items():
        by_kind = " | ".join(f"{one:.3f}" for one in row["by kind"].values())
        lines.append(f"| {name} | {_between(row['auroc'])} | {by_kind} | 0.500 |")
    lines += ["", *(f"photo and manifest {name}: {_between(one)}" for name, one in found["gain"].items()), ""]
    rates = " | ".join(f"precision at recall {RECALL:.0%}, {rate:.1%} wrong" for rate in RATES)
    lines += [f"| judge | {rates} |", "|---|" + "---|" * len(RATES)]
    for name, row in found["methods"].items():
        lines.append(f"| {name} | " + " | ".join(f"{one:.1%}" for one in row["precision"].values()) + " |")
    bounds = " | ".join(f"right passed at {bound:.0%}" for bound in BOUNDS)
    lines += ["", f"| judge | {bounds} |", "|---|" + "---|" * len(BOUNDS)]
    for name, row in found["methods"].items():
        if "passed" in row:
            cells = [_between(one["right"], "%") for one in row["passed"].values()]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", f"| the bundle's rule at | right | {ways} |", "|---|---|" + "---|" * 6]
    for bound, row in found["shipped"].items():
        lines.append(f"| {float(bound):.0%} | " + " | ".join(_between(one, "%") for one in row.values()) + " |")
    all_rates = " | ".join(f"{rate:.1%} wrong: passed, of these wrong" for rate in RATES)
    lines += ["", f"| the bundle's rule at | {all_rates} |", "|---|" + "---|" * len(RATES)]
    for bound, row in found["shipped"].items():
        wrong = float(np.mean([row[kind][0] for kind in ERRORS]))
        parts = [((1 - rate) * row["right"][0], rate * wrong) for rate in RATES]
        cells = [f"{good + bad:.1%}, {bad / max(good + bad, 1e-12):.1%}" for good, bad in parts]
        lines.append(f"| {float(bound):.0%} | " + " | ".join(cells) + " |")
    lines += ["", "| exact totals told by | all | 1 to 5 | log loss |", "|---|---|---|---|"]
    for name, row in found["totals"].items():
        loss = _between(row["log loss"]) if "log loss" in row else ""
        lines.append(f"| {name} | {_between(row['all'], '%')} | {_between(row['1 to 5'], '%')} | {loss} |")
    return "\n".join(lines)


def _mean(values: Floats, weights: Floats) -> float:
    return float(weights @ values / weights.sum())


def _between(figure: list[float], unit: str = "") -> str:
    at, low, high = (f"{one:.1%}" if unit else f"{one:.3f}" for one in figure)
    return f"{at} ({low} to {high})"


if __name__ == "__main__":
    main()
