"""A job watched from its start to its bundle: what is said meanwhile, what is printed at the end, what it has cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from binventory.cli import terminal

if TYPE_CHECKING:
    from binventory.cloud.following import State, Trial
    from binventory.cloud.session import Session

_LOOK_SECONDS = 5.0
_BEAT_SECONDS = 60.0


def begin(aws: Session, kind: Any, request: dict[str, Any], name: str) -> None:
    """Start a job, or say that this very one is there."""
    from binventory.cloud import launching

    new = launching.start(aws, kind, request)
    terminal.say(f"job {name} {'started' if new else 'is there already, and is not started again'}, in {aws.region}")


def followed(aws: Session, name: str) -> State:
    """The job's last state; what happens until then is said as it comes, and that it goes on where nothing does."""
    from binventory.cloud.following import Line, State, Step, follow

    begun = heard = time.monotonic()
    doing = "under way"

    def pause() -> None:
        nonlocal heard
        now = time.monotonic()
        if now - heard > _BEAT_SECONDS:
            heard = now
            terminal.say(f"{name}: {doing}, watched for {round(now - begun) // 60} min")
        time.sleep(_LOOK_SECONDS)

    with _left_running(name):
        for event in follow(aws, name, pause):
            heard = time.monotonic()
            if isinstance(event, Line):
                terminal.say(f"{event.host}: {event.text}")
            elif isinstance(event, Step):
                doing = event.status
                terminal.say(f"{event.at.astimezone():%H:%M:%S} {event.status}: {event.message}")
            elif isinstance(event, State):
                return event
            else:
                terminal.say(_told(event))
    raise AssertionError("a job's last state ends its following")  # pragma: no cover


def _told(trial: Trial) -> str:
    """A trial in a line."""
    settings = " ".join(f"{name}={value}" for name, value in trial.settings.items())
    reached = "" if trial.objective is None else f" validate_log_loss={trial.objective:g}"
    return f"trial {trial.name} {trial.status}{reached} {settings}{f' ({trial.reason})' if trial.reason else ''}"


@contextmanager
def _left_running(name: str) -> Iterator[None]:
    """Ctrl-C, and a network that fails, end the following and not the job; it is said how to come back."""
    from binventory.errors import OutsideError

    try:
        yield
    except (KeyboardInterrupt, OutsideError):
        terminal.say(f"\nnote: job {name} goes on. Follow it again: binventory cloud attach {name}. "
                     f"End it: binventory cloud stop {name}")  # fmt: skip
        raise


def leave(aws: Session, name: str, out: str | None, as_json: bool) -> None:
    """What there is to say of a job that is not waited for."""
    from binventory.cloud import following

    copy = f" --out {out}" if out else ""
    terminal.say(f"note: not waited for. Follow it: binventory cloud attach {name}{copy}")
    if as_json:
        terminal.print_json(row(aws, following.look(aws, name)))
    else:
        terminal.print_table(("", ""), [("job", name)])


def finish(aws: Session, state: State, out: str | None, as_json: bool) -> None:
    """Tell what a job has come to, and copy its bundle. Raises its failure."""
    from binventory.cloud import following
    from binventory.counting import bundle as bundles

    if state.kind == "training" or out:
        try:
            artifacts = following.refuse_absent(state)
        except Exception:
            terminal.say(f"note: {_paid(aws, state)}")
            raise
    elif state.status != "Completed" and not state.best:
        terminal.say(f"note: {_paid(aws, state)}")
        raise following.failure(state)
    if out and out != artifacts:
        aws.lend()
        bundles.save(bundles.load(artifacts), out)
    if as_json:
        terminal.print_json(row(aws, state) | ({"out": out} if out else {}))
        return
    if state.kind == "tuning":
        _print_trials(aws, state)
        return
    rows = [("job", state.name), ("bundle", state.artifacts), *((("copied to", out),) if out else ())]
    rows += [(name, f"{value:g}") for name, value in state.metrics.items()]
    terminal.print_table(("", ""), [*rows, ("seconds", f"{state.seconds or 0:,}"), ("cost", _paid(aws, state))])


def _print_trials(aws: Session, state: State) -> None:
    ordered = sorted(state.trials, key=lambda one: (one.objective is None, one.objective))
    names = sorted({name for one in state.trials for name in one.settings})
    terminal.print_table(
        ("trial", "state", "validate_log_loss", *names),
        [
            (one.name, one.status, "" if one.objective is None else f"{one.objective:.4f}",
             *(one.settings.get(name, "") for name in names))
            for one in ordered
        ],
    )  # fmt: skip
    if state.best:
        sets = " ".join(f"--set {name}={value}" for name, value in state.best.settings.items())
        terminal.print_table(("", ""), [("best", state.best.name), ("its settings", sets),
                                        ("cost", _paid(aws, state))])  # fmt: skip


def _paid(aws: Session, state: State) -> str:
    """What a job has cost, in words."""
    from binventory.cloud import prices

    seconds = state.billed if state.billed is not None else state.seconds
    if seconds is None:
        return "no seconds are billed yet"
    said = f"{seconds:,} s billed on {state.count} x {state.instance}: "
    said += str(prices.bill("training", state.instance, state.count, aws.region, seconds))
    return said + (f"; spot saved {state.saved:.0%}" if state.spot else "")


def row(aws: Session, state: State) -> dict[str, Any]:
    """A job for JSON."""
    from binventory.cloud import prices

    seconds = state.billed if state.billed is not None else state.seconds
    bill = None if seconds is None else prices.bill("training", state.instance, state.count, aws.region, seconds)
    best = state.best.objective if state.best else None
    return {
        "job": state.name, "kind": state.kind, "status": state.status, "created": state.created,
        "bundle": state.artifacts or None, "instance": state.instance, "instances": state.count, "spot": state.spot,
        "seconds": state.seconds, "billed_seconds": state.billed, "dollars": bill.dollars if bill else None,
        "saved": state.saved if state.spot else None, "reason": state.reason or None, "metrics": state.metrics,
        "validate_log_loss": state.metrics.get("validate_log_loss", best),
        "best": state.best, "trials": list(state.trials) if state.kind == "tuning" else None,
    }  # fmt: skip
