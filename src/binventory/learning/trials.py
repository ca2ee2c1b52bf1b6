"""Trials on one Optuna study: what each place has had, what is left to do, and doing one of it.

A trial has a *place*, 0 to N - 1: its number for people. Place 0 is the recipe as it is. Whoever wants work takes the
lowest place that nobody has settled or is at, under a lock of the study's folder, so that N trials are finished and not
one more, however many processes there are and however often they were killed. A trial whose process died is failed
and its place, with its settings, is free again.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from binventory import objects
from binventory.data.catalogue import Row
from binventory.errors import BinventoryError, OutsideError, UsageError
from binventory.learning import space
from binventory.learning.metrics import Judgement
from binventory.learning.space import Axis, Value
from binventory.learning.tuning import DEFAULT
from binventory.recipe import Recipe

STUDY = "study.sqlite"
_PULSE_SECONDS = 30
_MOST_FAILURES = 3
_LOCK_SECONDS = 120  # SQLite's: several processes write, each for milliseconds


class Objective(Protocol):
    """What a trial does with its recipe, and which photos judge it. It travels to other processes."""

    def __call__(self, recipe: Recipe, report: Callable[[int, float], None]) -> tuple[Judgement, dict[str, Value]]:
        """The judgement of validate's photos, and what of the axes the fit chose itself. ``report`` takes the epoch,
        from 1 on, and its log loss; it may end the trial by raising."""
        ...

    @property
    def judges(self) -> Sequence[Row]:
        """The photos of validate."""
        ...

    @property
    def learnt(self) -> int:
        """How many photos are learnt from."""
        ...

    def forget(self, recipe: Recipe) -> None:
        """Remove what only going on with this recipe would need."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A tuning as its processes know it.

    ``folder``: its own in the work folder; ``storage``: the URL of the database, None for a file in ``folder``;
    ``threads``: for each process; ``token``: names this call of tune.
    """

    key: str
    recipe: Recipe
    axes: tuple[Axis, ...]
    default: Mapping[str, Value]
    objective: Objective
    trials: int
    jobs: int
    folder: Path
    storage: str | None
    threads: int
    token: str

    @property
    def owner(self) -> str:
        """What the names of this folder's processes begin with."""
        return f"{socket.gethostname()}:{self.folder}:"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a place. ``number``: Optuna's. ``why``: what it failed of by itself; "" where its process died."""

    number: int
    place: int
    state: str
    settings: dict[str, Value]
    worker: str
    token: str
    value: float | None
    epochs: tuple[float, ...]
    seconds: float
    chosen: dict[str, Value]
    losses: str
    hits: str
    why: str

    def judgement(self) -> Judgement:
        """What it made of each photo of validate."""
        losses = np.frombuffer(base64.b64decode(self.losses), np.float32).astype(np.float64)
        hits = np.unpackbits(np.frombuffer(base64.b64decode(self.hits), np.uint8))[: len(losses)]
        return Judgement(losses, hits.astype(np.float64))


def settled(attempts: Sequence[Attempt], token: str) -> dict[int, Attempt]:
    """The attempt that settles each place that is settled. One that failed by itself does so for this call of tune,
    and for good where three did."""
    found: dict[int, Attempt] = {}
    failures: dict[int, int] = {}
    for one in sorted(attempts, key=lambda one: one.number):
        if one.state in ("COMPLETE", "PRUNED"):
            found.setdefault(one.place, one)
        elif one.state == "FAIL" and one.why:
            failures[one.place] = failures.get(one.place, 0) + 1
            if one.token == token or failures[one.place] >= _MOST_FAILURES:
                found.setdefault(one.place, one)
    return found


def to_do(attempts: Sequence[Attempt], trials: int, token: str) -> tuple[int, dict[str, Value]] | None:
    """The lowest place that is neither settled nor under way, and the settings of what died there; None where as
    many as ``trials`` are."""
    taken = set(settled(attempts, token)) | {one.place for one in attempts if one.state == "RUNNING"}
    if len(taken) >= trials:
        return None
    place = next(one for one in range(trials) if one not in taken)
    before = [one.settings for one in attempts if one.place == place and one.state == "FAIL"]
    return place, before[-1] if before else {}


def next_one(plan: Plan, study: Any, me: str) -> bool:
    """Do the next trial that is left to do, as the process ``me``; whether there was one."""
    with ExitStack() as claim:
        claim.enter_context(objects.locked(plan.folder / "claim.lock"))
        attempts = attempts_of(study)
        found = to_do(attempts, plan.trials, plan.token)
        if found is None:
            return False
        if not any(one.state == "WAITING" for one in attempts):
            place, settings = found
            study.enqueue_trial(_fixed(plan, place) or settings, user_attrs={"place": place})
        study.optimize(_Trial(plan, study, me, claim), n_trials=1, catch=(Exception,))
    return True


class _Trial:
    """One trial, as Optuna calls it. ``claim`` is let go of as soon as the study knows who has the trial."""

    def __init__(self, plan: Plan, study: Any, me: str, claim: ExitStack) -> None:
        self.plan, self.study, self.me, self.claim = plan, study, me, claim

    def __call__(self, trial: Any) -> float:
        place = trial.user_attrs.get("place")
        trial.set_user_attr("worker", self.me)
        trial.set_user_attr("token", self.plan.token)
        others = [one for one in attempts_of(self.study) if one.place == place and one.number < trial.number]
        self.claim.close()
        if place is None or any(one.state in ("RUNNING", "COMPLETE", "PRUNED") for one in others):
            raise RuntimeError("another machine has this place")  # failed without a word, it counts for nothing
        self.study.sampler = _sampler(self.plan, place)
        try:
            return self._judged(trial, place)
        except BinventoryError as error:
            trial.set_user_attr("why", f"{error.what}: {error.why}")
            raise
        except Exception as error:
            import optuna

            if not isinstance(error, optuna.TrialPruned):
                reason = (str(error).splitlines() or [""])[0]
                trial.set_user_attr("why", f"{type(error).__name__}: {reason}")
            raise

    def _judged(self, trial: Any, place: int) -> float:
        import optuna

        plan = self.plan
        settings = {
            axis.setting: _suggested(trial, axis)
            for axis in plan.axes
            if place != DEFAULT or axis.holds(plan.default.get(axis.setting))
        }
        recipe = plan.recipe if place == DEFAULT else space.with_settings(plan.recipe, settings)

        def report(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if place != DEFAULT and trial.should_prune():
                raise optuna.TrialPruned

        judgement, chosen = plan.objective(recipe, report)
        trial.set_user_attr("chosen", chosen)
        trial.set_user_attr("losses", _packed(judgement.losses.astype(np.float32)))
        trial.set_user_attr("hits", _packed(np.packbits(judgement.hits.astype(bool))))
        return float(judgement.losses.mean())


def _suggested(trial: Any, axis: Axis) -> Value:
    if axis.values:
        return trial.suggest_categorical(axis.setting, axis.values)  # type: ignore[no-any-return]
    if axis.whole:
        return int(trial.suggest_int(axis.setting, int(axis.low), int(axis.high), log=axis.log))
    return float(trial.suggest_float(axis.setting, axis.low, axis.high, log=axis.log))


def _fixed(plan: Plan, place: int) -> dict[str, Value]:
    """What is not left to the sampler at a place: what the default recipe says, where the axes hold that."""
    if place != DEFAULT:
        return {}
    return {
        axis.setting: plan.default[axis.setting] for axis in plan.axes if axis.holds(plan.default.get(axis.setting))
    }


def _sampler(plan: Plan, place: int) -> Any:
    """Tree-structured Parzen estimators; trials under way count as bad, so that processes do not crowd together.

    Seeded anew for each place: processes with one seed would all begin with the same guesses.
    """
    from optuna.samplers import TPESampler

    seed = int(np.random.SeedSequence((plan.recipe.seed, place)).generate_state(1)[0])
    return TPESampler(n_startup_trials=min(10, max(4, plan.trials // 3)), constant_liar=True, seed=seed)


def study_of(plan: Plan) -> Any:
    """The study, made where it is missing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if plan.storage is None:
        url, pulse = f"sqlite:///{plan.folder / STUDY}", None  # a process that dies is seen to
    else:
        url, pulse = plan.storage, _PULSE_SECONDS
    wait = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=wait, heartbeat_interval=pulse)
    return optuna.create_study(
        storage=storage,
        study_name=f"binventory-{plan.key}",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        load_if_exists=True,
    )


@contextmanager
def storage_told(plan: Plan) -> Iterator[None]:
    """Raise OutsideError or UsageError where the storage cannot be had."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    place = "the study's file" if plan.storage is None else "the storage"
    try:
        yield
    except ImportError as error:
        if plan.storage is None:
            raise
        raise UsageError("--storage cannot be reached", _line(error), "install that database's client") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        step = (
            "see that the disk has room and may be written, then tune again"
            if plan.storage is None
            else ("check that address, and that the database can be reached from here; finished trials are kept in it")
        )
        raise OutsideError(f"{place.capitalize()} cannot be used", _line(error), step) from None


def refuse_storage(url: str) -> None:
    """Raise UsageError where a storage's URL is none, or no client of that database is installed."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    postgres = "--storage postgresql+psycopg://…"
    try:
        asked = make_url(url)
        asked.get_dialect().import_dbapi()
    except NoSuchModuleError:
        why = f"{asked.drivername} is none that SQLAlchemy knows"
        raise UsageError("--storage is no database's URL", why, postgres) from None
    except ArgumentError as error:
        raise UsageError("--storage is no database's URL", _line(error), postgres) from None
    except ImportError as error:
        step = f"install {error.name or 'its client'}"
        if asked.get_backend_name() == "postgresql":
            step = f"pip install 'psycopg[binary]', and {postgres}"
        why = f"{error.name or _line(error)} is not installed"
        raise UsageError("--storage cannot be reached", why, step) from None


def folder_name(key: str, storage: str | None) -> str:
    """What the folder of a study is called: studies of one key in two databases are two. No password has a say."""
    if storage is None:
        return key
    from sqlalchemy.engine import make_url

    place = make_url(storage).set(password="").difference_update_query(["password"])
    if place.get_backend_name() == "sqlite" and place.database:
        place = place.set(database=str(Path(place.database).resolve()))
    address = place.render_as_string(hide_password=False)
    return f"{key}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def attempts_of(study: Any) -> list[Attempt]:
    """All attempts, those of no place aside."""
    found = []
    for one in study.get_trials(deepcopy=False):
        known = one.user_attrs
        if "place" in known:
            over = one.datetime_complete
            found.append(Attempt(
                one.number, known["place"], one.state.name, dict(one.params), known.get("worker", ""),
                known.get("token", ""), one.value if one.state.name == "COMPLETE" else None,
                tuple(value for _, value in sorted(one.intermediate_values.items())),
                (over - one.datetime_start).total_seconds() if over and one.datetime_start else 0.0,
                known.get("chosen", {}), known.get("losses", ""), known.get("hits", ""), known.get("why", ""),
            ))  # fmt: skip
    return found


def give_up(plan: Plan, study: Any, alive: Sequence[str]) -> None:
    """Fail the trials of this folder's processes that are no longer alive, so that their places are free."""
    with objects.locked(plan.folder / "claim.lock"):
        for one in attempts_of(study):
            ours = one.worker.startswith(plan.owner) or (not one.worker and plan.storage is None)
            if one.state == "RUNNING" and ours and one.worker not in alive:
                study.tell(one.number, state=_failed(), skip_if_finished=True)


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def fail_stale(study: Any) -> None:
    """Fail the trials whose processes, on whatever machine, give no sign of life any more."""
    from optuna.storages import fail_stale_trials

    fail_stale_trials(study)


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
