"""Waits until an endpoint stands, and takes away what has failed: never what may still be in use, and never the
schedule of an endpoint that is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from binventory.cloud import endpoint as endpoints
from binventory.cloud import scaling
from binventory.cloud.endpoint import Standing, Wanted
from binventory.cloud.scaling import Scaling
from binventory.cloud.session import Session, ask
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError

LONGEST_WAIT = 15.0
Outcome = Literal["made", "updated", "same"]
Tell = Callable[[Standing, float], None]
"""Is told how an endpoint stands, and for how many seconds it has been waited for."""


@dataclass(slots=True)
class Undeployed:
    """What an endpoint left behind that is gone now, and what could not be removed and why."""

    name: str
    removed: list[str] = field(default_factory=list)
    left: list[BinventoryError] = field(default_factory=list)


def described(aws: Session, name: str) -> dict[str, Any] | None:
    """``describe_endpoint``, None where there is none of that name."""
    try:
        return ask(aws.client("sagemaker"), "describe_endpoint", f"The endpoint {name} cannot be looked at",
                   EndpointName=name)  # fmt: skip
    except MissingError:
        return None


def waits() -> Iterator[float]:
    """Seconds between one look and the next: short at first, never above a quarter of a minute."""
    pause = 0.5
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_WAIT)


def looked(aws: Session, wanted: Wanted, error: BinventoryError) -> dict[str, Any] | None:
    """How an endpoint stands after a request that failed. Raises that failure where this cannot be told either: the
    request may have been taken, so nothing is removed then."""
    try:
        return described(aws, wanted.name)
    except BinventoryError:
        raise type(error)(error.what, f"{error.why}; whether AWS took it all the same is not known",
                          _how_to_look(wanted)) from None  # fmt: skip


def _how_to_look(wanted: Wanted) -> str:
    return (
        "binventory cloud alive, which shows whether it costs; the same deploy again, which goes on with it; "
        f"or binventory cloud undeploy {wanted.name}"
    )


def awaited(aws: Session, wanted: Wanted, outcome: Outcome, tell: Tell, held: Scaling | None = None) -> None:
    """Wait for what was asked for. Raises OutsideError where it does not come up: a new endpoint is removed then, and
    where SageMaker has gone back to what ran before, so is what it was to run; ``held``, its scaling, is put back.

    Raises as ``session.told`` does where it cannot be looked at, and removes nothing then: a configuration in use
    must not be deleted.
    """
    stands = _settled(aws, wanted, tell)
    if stands.ready:
        return
    if outcome == "made":
        rest, after = undone(aws, wanted, outcome, tell), "nothing is left of it"
    elif stands.status == "RolledBack":
        rest, after = undone(aws, wanted, outcome, tell, held), "what ran before still runs"
    else:
        rest, after = Undeployed(wanted.name), f"SageMaker calls it {stands.status}"
    why = stands.reason if rest.left else f"{stands.reason}; {after}"
    step = f"look into the log group {endpoints.log_group(wanted.name)}"
    raise with_rest(OutsideError(f"The endpoint {wanted.name} did not come up", why, step), rest)


def _settled(aws: Session, wanted: Wanted, tell: Tell) -> Standing:
    """How an endpoint stands when nothing changes any more by itself."""
    begun = time.monotonic()
    for pause in waits():
        try:
            there = described(aws, wanted.name)
        except BinventoryError as error:
            raise type(error)(f"How the endpoint {wanted.name} comes along is not known", error.why,
                              f"{error.next}; {_how_to_look(wanted)}") from None  # fmt: skip
        if there is None:
            raise OutsideError(f"The endpoint {wanted.name} is gone", "someone has deleted it",
                               f"binventory cloud undeploy {wanted.name}, and deploy it again")  # fmt: skip
        stands = endpoints.standing(there, wanted.id)
        tell(stands, time.monotonic() - begun)
        if not stands.working:
            return stands
        time.sleep(pause)
    raise AssertionError("waits do not end")


def undone(aws: Session, wanted: Wanted, outcome: Outcome, tell: Tell, held: Scaling | None = None) -> Undeployed:
    """Remove what a failed deployment has made, and put the scaling back that was held; what is left is told.

    What costs money goes first. While it does not go, its schedule stays, which still ends it, and so do configuration
    and model, which are in use.
    """
    sagemaker = aws.client("sagemaker")
    rest = Undeployed(wanted.name)
    try:
        if held:
            scaling.put_back(aws, held)
        if outcome == "made":
            deleted(aws, wanted.name, tell)
    except BinventoryError as error:
        rest.left.append(error)
        if outcome == "made":
            return rest
    if outcome == "made" and wanted.stop:
        removed(aws.client("scheduler"), "delete_schedule", "schedule", rest,
                {"Name": endpoints.schedule_name(wanted.name)})  # fmt: skip
    removed(sagemaker, "delete_endpoint_config", "configuration", rest, {"EndpointConfigName": wanted.id})
    removed(sagemaker, "delete_model", "model", rest, {"ModelName": wanted.id})
    return rest


def with_rest(error: BinventoryError, rest: Undeployed) -> BinventoryError:
    """A failure, with what could not be removed after it."""
    if not rest.left:
        return error
    left = "; ".join(f"{one.what} ({one.why})" for one in rest.left)
    return type(error)(error.what, f"{error.why}; and something is left: {left}",
                       f"{error.next}; binventory cloud undeploy {rest.name} removes what is left")  # fmt: skip


def deleted(aws: Session, name: str, tell: Tell) -> None:
    """Delete an endpoint, and wait until it is gone. One that is coming up and refuses is deleted when it is up."""
    sagemaker, begun, leaving = aws.client("sagemaker"), time.monotonic(), False
    for pause in waits():
        refusal = None if leaving else _asked_to_go(sagemaker, name)
        leaving = leaving or refusal is None
        there = described(aws, name)
        if there is None:
            return
        stands = endpoints.standing(there, "")
        if refusal and not stands.working:
            raise refusal
        tell(stands, time.monotonic() - begun)
        time.sleep(pause)


def _asked_to_go(sagemaker: Any, name: str) -> InputError | None:
    """Ask for an endpoint's deletion; what SageMaker has against it, if it has."""
    try:
        ask(sagemaker, "delete_endpoint", f"The endpoint {name} cannot be deleted", EndpointName=name)
    except MissingError:
        return None
    except InputError as error:
        return error
    return None


def removed(client: Any, operation: str, thing: str, gone: Undeployed, request: dict[str, Any]) -> None:
    """Remove one thing; that it is not there is as good, that it cannot be removed is noted."""
    try:
        ask(client, operation, f"{thing[:1].upper()}{thing[1:]} cannot be removed", **request)
        gone.removed.append(thing)
    except MissingError:
        pass
    except BinventoryError as error:
        gone.left.append(error)
