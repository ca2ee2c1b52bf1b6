"""A tuning: several processes that try recipes on one study, killed at any moment and gone on with."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

import binventory
from binventory import objects
from binventory.errors import InputError, OutsideError
from binventory.learning import space, trials, tuning
from binventory.learning.metrics import Judgement
from binventory.learning.trials import Attempt, Plan
from binventory.learning.tuning import DEFAULT, Trial, Tuning
from binventory.recipe import to_mapping

_GRACE_SECONDS = 10.0  # for what a killed tuning left running to notice it
_LOOK_SECONDS = 0.3
_QUIET_SECONDS = 30.0
_LAST_WORDS = "died.txt"
_DEATHS = 2  # in a row, for each process


def run(plan: Plan, tell: Callable[[str], None]) -> tuple[list[Trial], dict[int, Judgement]]:
    """Try recipes until as many as ``plan.trials`` are settled; the trials, and the judgement of each complete one.

    ``tell`` hears a line of each trial that ends. Trials that were finished before are not tried again.

    Raises OutsideError where another tuning is at work in the folder, the storage fails, or a process dies twice of
    one trial; InputError where the default recipe itself fails.
    """
    with ExitStack() as held:
        if not held.enter_context(objects.locked(plan.folder / "tune.lock", seconds=0)):
            raise OutsideError(f"{plan.folder} is in use", "another tune is at work there", "wait for it to end")
        with objects.locked(plan.folder / "workers.lock", seconds=_GRACE_SECONDS) as alone:
            if not alone:
                raise OutsideError(f"{plan.folder} is in use", "processes of a tune that was killed have not ended",
                                   "wait a little")  # fmt: skip
        with trials.storage_told(plan):
            study = trials.study_of(plan)
            trials.give_up(plan, study, [])
            known = set(trials.settled(trials.attempts_of(study), plan.token))
            if len(known) >= plan.trials:
                tell(f"nothing left to try: {len(known)} trials were finished before, {plan.trials} are asked for")
            elif known:
                tell(f"going on: {len(known)} of {plan.trials} trials were finished before")
            crew = _Crew(plan)
            try:
                _watch(plan, study, crew, known, tell)
            finally:
                crew.end()
                trials.give_up(plan, study, [])
            return _trials(plan, trials.attempts_of(study))


def concluded(plan: Plan, base: str, trials: Sequence[Trial], judgements: Mapping[int, Judgement]) -> Tuning:
    """What a tuning of a ``base`` found. ``judgements``: of the complete trials, the default's among them."""
    rows = plan.objective.judges
    runs = [row.run for row in rows]
    best = min(judgements, key=lambda place: (judgements[place].losses.mean(), place))
    gain = None
    if best != DEFAULT:
        complete = np.stack([judgements[place].losses for place in sorted(judgements)])
        gain = tuning.gain(judgements[DEFAULT], judgements[best], complete, runs, plan.recipe.seed)
    settings = next(one.settings for one in trials if one.number == best)
    recipe = plan.recipe if best == DEFAULT else space.with_settings(plan.recipe, settings)
    return Tuning(
        key=plan.key,
        kind=plan.recipe.kind,
        base=base,
        axes=plan.axes,
        trials=tuple(trials),
        best=best,
        gain=gain,
        importance=tuning.importance(plan.axes, trials),
        photos=len(rows),
        runs=len(set(runs)),
        learnt_from=plan.objective.learnt,
        recipe=to_mapping(recipe),
        default=to_mapping(plan.recipe),
        version=binventory.__version__,
    )


def _watch(plan: Plan, study: Any, crew: _Crew, known: set[int], tell: Callable[[str], None]) -> None:
    """Keep the processes at work until all places are settled."""
    spoke, deaths = time.monotonic(), 0
    while True:
        attempts = trials.attempts_of(study)
        done = trials.settled(attempts, plan.token)
        for place in [place for place in done if place not in known]:
            known.add(place)
            tell(_told(done[place], len(known), plan))
            spoke, deaths = time.monotonic(), 0
            _tidy(plan, done, place)
        if DEFAULT in done and done[DEFAULT].why:
            raise InputError("The default recipe cannot be tried", done[DEFAULT].why, "mend that, and tune again")
        if len(done) >= plan.trials:
            return
        if time.monotonic() - spoke > _QUIET_SECONDS:
            tell(_under_way(attempts, len(done), plan))
            spoke = time.monotonic()
        for how in crew.died():
            deaths += 1
            if deaths > _DEATHS * plan.jobs:
                raise _dying(plan, how)
            tell(f"a process died ({how}); its trial is begun again")
            trials.give_up(plan, study, crew.names())
        if plan.storage is not None:
            trials.fail_stale(study)
        if trials.to_do(attempts, plan.trials, plan.token) is not None:
            crew.fill(plan.trials - len(done))
        time.sleep(_LOOK_SECONDS)


def _dying(plan: Plan, how: str) -> OutsideError:
    words = plan.folder / _LAST_WORDS
    said = f": {words.read_text(errors='replace')}" if words.is_file() else ", as they do where memory is short"
    return OutsideError("Trials cannot be done", f"their processes die ({how}){said}",
                        f"--jobs {max(1, plan.jobs // 2)}; what is finished is kept")  # fmt: skip


class _Crew:
    """The processes of one tuning. Each is told its plan on standard input, and ends where that ends: with this one."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.members: list[subprocess.Popen[bytes]] = []
        self.begun = 0

    def names(self) -> list[str]:
        """The names under which the living ones work."""
        return [f"{self.plan.owner}{one.pid}" for one in self.members if one.poll() is None]

    def fill(self, wanted: int) -> None:
        """Start what is missing, each with its share of the processor."""
        told = pickle.dumps(self.plan)
        threads = {name: str(self.plan.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        around = os.environ | threads | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        while len(self.members) < min(self.plan.jobs, wanted):
            words = [sys.executable, "-P", "-m", "binventory.learning.tune", str(self.begun), str(len(told))]
            # Ctrl-C is for the first process: it must not reach another one before that can say that it does not care.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                member = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=around)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self.members.append(member)
            self.begun += 1
            assert member.stdin is not None
            with suppress(BrokenPipeError):  # it is dead already, as will be seen
                member.stdin.write(told)
                member.stdin.flush()

    def died(self) -> list[str]:
        """How those died that did since this was asked last; they, and those that ended well, are let go of."""
        over = [one for one in self.members if one.poll() is not None]
        self.members = [one for one in self.members if one not in over]
        codes = [one.wait() for one in over]
        _let_go(over)
        return [f"signal {-code}" if code < 0 else f"status {code}" for code in codes if code]

    def end(self) -> None:
        """End them all, at once."""
        for one in self.members:
            one.kill()
        for one in self.members:
            one.wait()
        _let_go(self.members)
        self.members = []


def _let_go(members: Sequence[subprocess.Popen[bytes]]) -> None:
    for one in members:
        with suppress(BrokenPipeError):
            assert one.stdin is not None
            one.stdin.close()


def _work(number: int, size: int) -> None:
    """A process of the crew: trial after trial, until there is nothing left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = sys.stdin.buffer.read(size)
    if len(told) < size:  # the first process ended before it had said all
        return
    plan: Plan = pickle.loads(told)
    threading.Thread(target=_die_with_the_first, daemon=True).start()
    warnings.simplefilter("ignore")  # the first process has said what there is to say
    os.environ["LOCAL_RANK"] = str(number % _devices())
    try:
        with objects.locked(plan.folder / "workers.lock", shared=True), trials.storage_told(plan):
            study = trials.study_of(plan)
            while trials.next_one(plan, study, f"{plan.owner}{os.getpid()}"):
                pass
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        objects.write(str(plan.folder / _LAST_WORDS), reason.encode(errors="replace"))
        os._exit(1)
    os._exit(0)  # the thread that reads would hold up an ordinary end


def _die_with_the_first() -> None:
    """End this process when the one that started it has, however that came."""
    sys.stdin.buffer.read(1)
    os._exit(1)


def _tidy(plan: Plan, done: Mapping[int, Attempt], new: int) -> None:
    """Forget what going on with the newly finished trial would need, or with the one that it beats: train may go on
    from the best trial and from the default one alone."""
    complete = sorted((one for one in done.values() if one.value is not None), key=lambda one: (one.value, one.place))
    beaten = [one for one in complete[1:] if one.place == new] or complete[1:2]
    for one in beaten:
        if one.place != DEFAULT:
            plan.objective.forget(space.with_settings(plan.recipe, one.settings))


def _trials(plan: Plan, attempts: Sequence[Attempt]) -> tuple[list[Trial], dict[int, Judgement]]:
    done = trials.settled(attempts, plan.token)
    found = []
    for place, one in sorted(done.items()):
        accuracy = float(one.judgement().hits.mean()) if one.value is not None else None
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(one.state, "failed")
        own = dict(plan.default) if place == DEFAULT else {}
        found.append(Trial(
            place, own | one.settings | one.chosen, state, one.value, accuracy,  # type: ignore[arg-type]
            one.epochs, one.seconds, sum(other.place == place for other in attempts), one.why,
        ))  # fmt: skip
    return found, {place: one.judgement() for place, one in sorted(done.items()) if one.value is not None}


def _told(one: Attempt, done: int, plan: Plan) -> str:
    """A finished trial on a line."""
    said = " ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                    for name, value in (one.settings | one.chosen).items())  # fmt: skip
    how = {"COMPLETE": f"{tuning.OBJECTIVE}={one.value or 0:.4f}", "PRUNED": f"pruned after epoch {len(one.epochs)}"}
    name = f"trial {one.place}" + (" (default)" if one.place == DEFAULT else "")
    why = f": {one.why.rstrip('.')}" if one.why else ""
    return f"{name}: {how.get(one.state, 'failed')} in {one.seconds:.1f} s, {said} [{done} of {plan.trials}]{why}"


def _under_way(attempts: Sequence[Attempt], done: int, plan: Plan) -> str:
    busy = [f"trial {one.place}" + (f" after epoch {len(one.epochs)}: {one.epochs[-1]:.4f}" if one.epochs else "")
            for one in attempts if one.state == "RUNNING"]  # fmt: skip
    return f"{done} of {plan.trials} trials finished; under way: {', '.join(busy) or 'processes starting'}"


def _devices() -> int:
    """How many GPUs there are to share; 1 where there is none, or no torch to use it."""
    torch = sys.modules.get("torch")
    return max(1, torch.cuda.device_count()) if torch else 1


if __name__ == "__main__":
    _work(*map(int, sys.argv[1:]))
