"""What a tuning found: trials, the best one, what it gains over the recipe that it began with. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from binventory import objects
from binventory.errors import InputError
from binventory.learning import metrics
from binventory.learning.metrics import Floats, Judgement
from binventory.learning.space import Axis, Value

FORMAT = 1
FILE = "tuning.json"
OBJECTIVE = "validate_log_loss"
DEFAULT = 0
"""The number of the trial whose recipe is the one that the tuning began with."""

_FEWEST_WEIGHED = 6  # PED-ANOVA tells the best tenth from the rest; of fewer trials it would tell nothing
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe that was tried.

    ``settings``: its values on the axes; of trial 0 those that it names, or chose itself. ``log_loss`` and
    ``accuracy`` are validate's, None unless ``complete``; ``epochs`` the log loss after each, where there are any.
    ``tries``: how often it was begun; ``why``: what went wrong, where it failed.
    """

    number: int
    settings: dict[str, Value]
    state: Literal["complete", "pruned", "failed"]
    log_loss: float | None
    accuracy: float | None
    epochs: tuple[float, ...]
    seconds: float
    tries: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gain:
    """What the best trial does on validate beside trial 0: differences, photo by photo, with 95 % intervals over runs.

    ``fresh``: the difference in log loss where photos judge that had no say in the choice. Of many trials one looks
    best by chance: so whole runs are drawn with replacement, a trial is chosen by those drawn, and judged by those
    that were not (Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions").
    """

    n: int
    runs: int
    log_loss: float
    log_loss_ci: tuple[float, float]
    accuracy: float
    accuracy_ci: tuple[float, float]
    fresh: float
    fresh_ci: tuple[float, float]

    @property
    def beats(self) -> bool:
        """Whether the interval of the log loss leaves no change out, and the choice would have paid on fresh photos."""
        return self.log_loss_ci[1] < 0 and self.fresh < 0


@dataclass(frozen=True, slots=True)
class Tuning:
    """A whole tuning. ``base``: what it began with, a bundle or weights, by name; ``best``: the number of the trial
    with the least log loss; ``recipe``: that trial's, as nested plain values, ``default``: trial 0's. ``importance``:
    the shares of the axes in being among the best trials; empty where there are too few to tell. ``gain``: None where
    trial 0 is the best."""

    key: str
    kind: Literal["quick", "full"]
    base: str
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    best: int
    gain: Gain | None
    importance: dict[str, float]
    photos: int
    runs: int
    learnt_from: int
    recipe: dict[str, Any]
    default: dict[str, Any]
    version: str
    objective: str = OBJECTIVE
    format: int = FORMAT

    def of(self, number: int) -> Trial:
        """The trial of a number."""
        return next(one for one in self.trials if one.number == number)

    def to_bytes(self) -> bytes:
        """The tuning as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read(path: Path | str) -> Tuning:
    """The tuning in a file. Raises InputError where there is none, or one of another format."""
    data = objects.read(str(path), _MOST_BYTES)
    try:
        tuning = msgspec.json.decode(data, type=Tuning)
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} is no tuning", str(error), "run binventory tune again: it writes the file anew"
        ) from None
    if tuning.format != FORMAT:
        raise InputError(f"{path} has format {tuning.format}", f"this version reads format {FORMAT}", "tune again")
    return tuning


def verdict(tuning: Tuning) -> str:
    """What came of it, in one or two sentences."""
    best, default = tuning.of(tuning.best), tuning.of(DEFAULT)
    done = sum(one.state == "complete" for one in tuning.trials)
    gain = tuning.gain
    if gain is None:
        return (
            f"No trial beats the default recipe: of {done} that were finished, none has a lower log loss on validate "
            f"than its {default.log_loss:.4f}."
        )
    low, high = gain.log_loss_ci
    difference = f"{gain.log_loss:+.4f} ({low:+.4f} to {high:+.4f} over {gain.runs:,} runs)"
    fresh = f"{gain.fresh:+.4f} where photos judge that had no say in the choice"
    if gain.beats:
        text = (
            f"Trial {tuning.best} beats the default recipe on validate: log loss {best.log_loss:.4f} against "
            f"{default.log_loss:.4f}, {difference}; {fresh}."
        )
    else:
        text = (
            f"Nothing shows that any trial beats the default recipe: the best, trial {tuning.best}, has a log loss on "
            f"validate of {best.log_loss:.4f} against {default.log_loss:.4f}, {difference}; {fresh}."
        )
    return text.replace("-", "−")


def gain(default: Judgement, best: Judgement, complete: Floats, runs: Sequence[str], seed: int) -> Gain:
    """What ``best`` gains over ``default``. ``complete`` [T, N]: the photos' log losses in every complete trial, the
    default's first; ``runs`` [N]: the run of each photo."""
    levels = np.zeros(len(runs), dtype=np.int_)  # photos count alike, whatever they show
    losses, hits = best.losses - default.losses, best.hits - default.hits
    drawn = _fresh(complete - complete[0], runs, seed)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Gain(
        len(runs), len(set(runs)),
        float(losses.mean()), metrics.interval(losses, levels, runs),
        float(hits.mean()), metrics.interval(hits, levels, runs),
        float(drawn.mean()), (float(low), float(high)),
    )  # fmt: skip


def _fresh(differences: Floats, runs: Sequence[str], seed: int) -> Floats:
    """Of each of many draws of runs with replacement: the mean difference [T, N] of the trial that those drawn would
    choose, over the photos of those that were not drawn."""
    _, run = np.unique(np.asarray(runs), return_inverse=True)
    sizes = np.bincount(run).astype(float)
    totals = np.stack([np.bincount(run, one) for one in differences])
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(metrics.RESAMPLES):
        times = np.bincount(chance.integers(0, len(sizes), len(sizes)), minlength=len(sizes))
        left = times == 0
        if left.any():
            chosen = int(np.argmin(totals @ times))
            found.append(totals[chosen, left].sum() / sizes[left].sum())
    return np.array(found) if found else np.zeros(1)


def importance(axes: Sequence[Axis], trials: Sequence[Trial]) -> dict[str, float]:
    """What share each axis has in a trial's being among the best, by PED-ANOVA (Watanabe, Bansal and Hutter 2023), the
    largest first; empty where fewer than six complete trials name all axes that vary.

    Raises ImportError where Optuna is not installed.
    """
    import optuna

    varied = [axis for axis in axes if len(axis.values) != 1]
    whole = [
        one for one in trials if one.log_loss is not None and all(a.holds(one.settings.get(a.setting)) for a in varied)
    ]
    if len(whole) < _FEWEST_WEIGHED or len(varied) < 2:
        return {}
    distributions = {axis.setting: distribution(axis) for axis in varied}
    study = optuna.create_study()
    for one in whole:
        settings = {axis.setting: one.settings[axis.setting] for axis in varied}
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=distributions, value=one.log_loss))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few trials tell little is said where they are shown
        quantile = max(0.1, 2 / len(whole))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if np.isfinite(share)}


def distribution(axis: Axis) -> Any:
    """The axis as Optuna knows it. Raises ImportError where that is not installed."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.values:
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)
