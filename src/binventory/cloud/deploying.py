"""Puts endpoints up and takes them down, by asking SageMaker for what ``endpoint`` says. What costs money goes first
when it ends and comes last when it begins, so that whatever fails in between costs nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from binventory.cloud import contract, scaling
from binventory.cloud import endpoint as endpoints
from binventory.cloud.endpoint import Instances, Standing, Wanted
from binventory.cloud.session import Session, ask, pages
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError

LONGEST_WAIT = 15.0
Outcome = Literal["made", "updated", "same"]
Tell = Callable[[Standing, float], None]
"""Is told how an endpoint stands, and for how many seconds it has been waited for."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment came to. ``ended``: whether a schedule will end it at ``stop`` by itself."""

    name: str
    outcome: Outcome
    stop: datetime | None
    ended: bool
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Undeployed:
    """What an endpoint left behind that is gone now, and what could not be removed and why."""

    name: str
    removed: list[str] = field(default_factory=list)
    left: list[BinventoryError] = field(default_factory=list)


def deploy(aws: Session, wanted: Wanted, scheduler: str | None, tell: Tell) -> Deployed:
    """Put up an endpoint and wait until it answers; one of that name is updated, or found to be the same.

    ``scheduler``: the role by which EventBridge Scheduler ends it at its stop time; without it only the tag says when.
    Raises as ``session.told`` does, and OutsideError where the endpoint does not come up; a new one that failed is
    removed, one that was updated goes on as it was.
    """
    sagemaker = aws.client("sagemaker")
    there = described(aws, wanted.name)
    if there is not None:
        endpoints.refuse_strange(wanted.name, tags_of(sagemaker, there["EndpointArn"]))
        there = _usable(aws, wanted, there, tell)
    if there is not None and there["EndpointConfigName"] == wanted.id:
        outcome: Outcome = "made" if there["EndpointStatus"] == "Creating" else "updated"  # which was interrupted
        if there["EndpointStatus"] == "InService":
            outcome = "same"
        else:
            _awaited(aws, wanted, outcome, tell)
    elif there is not None:
        outcome = "updated"
        _updated(aws, wanted, tell)
    else:
        outcome = "made"
        _made(aws, wanted, scheduler, tell)
        return Deployed(wanted.name, outcome, wanted.stop, _ends(wanted, scheduler))
    scaling.put(aws, wanted.name, wanted.hardware)
    notes = _moved(aws, wanted, scheduler, there)
    _swept(aws, wanted.name, Undeployed(wanted.name), but=wanted.id)
    return Deployed(wanted.name, outcome, wanted.stop, _ends(wanted, scheduler), notes)


def _made(aws: Session, wanted: Wanted, scheduler: str | None, tell: Tell) -> None:
    """Make a new endpoint, its end before itself. What fails is removed."""
    sagemaker, what = aws.client("sagemaker"), f"The endpoint {wanted.name} cannot be made"
    _refuse(wanted, scheduler, what)
    try:
        _unless_there(sagemaker, "create_model", what, endpoints.model_request(wanted))
        _unless_there(sagemaker, "create_endpoint_config", what, endpoints.config_request(wanted))
        _schedule(aws, wanted, scheduler, new=True)
        ask(sagemaker, "create_endpoint", what, **endpoints.endpoint_request(wanted))
    except BinventoryError:
        _undone(aws, wanted, "made")
        raise
    _awaited(aws, wanted, "made", tell)
    hardware = wanted.hardware
    if isinstance(hardware, Instances) and hardware.most > hardware.least:
        try:
            scaling.put(aws, wanted.name, hardware)
        except BinventoryError:
            _undone(aws, wanted, "made")
            raise


def _updated(aws: Session, wanted: Wanted, tell: Tell) -> None:
    """Let an endpoint run what is wanted instead. What fails is removed, and the endpoint goes on as it was."""
    sagemaker, what = aws.client("sagemaker"), f"The endpoint {wanted.name} cannot be updated"
    _refuse(wanted, None, what)
    held = None
    try:
        _unless_there(sagemaker, "create_model", what, endpoints.model_request(wanted))
        _unless_there(sagemaker, "create_endpoint_config", what, endpoints.config_request(wanted))
        held = scaling.take(aws, wanted.name)  # SageMaker changes no machines whose number another service holds
        ask(sagemaker, "update_endpoint", what, **endpoints.update_request(wanted))
        _awaited(aws, wanted, "updated", tell)
    except BinventoryError:
        _undone(aws, wanted, "updated")
        if held:
            scaling.put_back(aws, held)
        raise


def modelled(aws: Session, wanted: Wanted) -> None:
    """Have the model, without anything that runs it. Raises as ``session.told`` does."""
    request = endpoints.model_request(wanted)
    what = f"The model {wanted.id} cannot be made"
    contract.refuse("sagemaker", "CreateModel", request, what)
    _unless_there(aws.client("sagemaker"), "create_model", what, request)


def undeploy(aws: Session, name: str, tell: Tell) -> Undeployed:
    """Take down an endpoint with all that belongs to it. Where nothing is there, nothing is removed.

    The endpoint itself goes first, for it alone costs money; what else cannot be removed is told in ``left``. Raises
    as ``session.told`` does, and InputError for an endpoint that is not ours.
    """
    sagemaker = aws.client("sagemaker")
    gone = Undeployed(name)
    there = described(aws, name)
    if there is not None:
        endpoints.refuse_strange(name, tags_of(sagemaker, there["EndpointArn"]))
        _deleted(aws, name, tell)
        gone.removed.append(f"endpoint {name}")
    _removed(aws.client("scheduler"), "delete_schedule", "its schedule", gone,
             {"Name": endpoints.schedule_name(name)})  # fmt: skip
    try:
        if scaling.take(aws, name):
            gone.removed.append("its scaling")
    except BinventoryError as error:
        gone.left.append(error)
    _swept(aws, name, gone)
    return gone


def described(aws: Session, name: str) -> dict[str, Any] | None:
    """``describe_endpoint``, None where there is none of that name."""
    try:
        return ask(aws.client("sagemaker"), "describe_endpoint", f"The endpoint {name} cannot be looked at",
                   EndpointName=name)  # fmt: skip
    except MissingError:
        return None


def tags_of(sagemaker: Any, arn: str) -> dict[str, str]:
    """The tags of something by its ARN."""
    found = pages(sagemaker, "list_tags", f"The tags of {arn} cannot be read", "Tags", ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for tag in found}


def overdue(aws: Session, now: datetime) -> list[str]:
    """The names of our endpoints whose stop time is over."""
    sagemaker = aws.client("sagemaker")
    late = []
    for one in pages(sagemaker, "list_endpoints", "Endpoints cannot be listed", "Endpoints"):
        if (stop := stop_of(tags_of(sagemaker, one["EndpointArn"]))) and stop < now:
            late.append(str(one["EndpointName"]))
    return late


def ours(aws: Session) -> list[str]:
    """The names of our endpoints."""
    sagemaker = aws.client("sagemaker")
    return [
        str(one["EndpointName"])
        for one in pages(sagemaker, "list_endpoints", "Endpoints cannot be listed", "Endpoints")
        if any(key.startswith(endpoints.TAG) for key in tags_of(sagemaker, one["EndpointArn"]))
    ]


def stop_of(tags: dict[str, str]) -> datetime | None:
    """When something is to end, by its tags."""
    return endpoints.stamped(tags.get(endpoints.STOP, ""))


def waits() -> Iterator[float]:
    """Seconds between one look and the next: short at first, never above a quarter of a minute."""
    pause = 0.5
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_WAIT)


def _refuse(wanted: Wanted, scheduler: str | None, what: str) -> None:
    """Raise InputError for what the services' own models refuse, before anything is asked."""
    contract.refuse("sagemaker", "CreateModel", endpoints.model_request(wanted), what)
    contract.refuse("sagemaker", "CreateEndpointConfig", endpoints.config_request(wanted), what)
    contract.refuse("sagemaker", "CreateEndpoint", endpoints.endpoint_request(wanted), what)
    if wanted.stop and scheduler:
        request = endpoints.schedule_request(wanted.name, wanted.stop, scheduler)
        contract.refuse("scheduler", "CreateSchedule", request, what)


def _usable(aws: Session, wanted: Wanted, there: dict[str, Any], tell: Tell) -> dict[str, Any] | None:
    """What is there, None where it had failed and is deleted now. Raises InputError where it is busy otherwise."""
    stands = endpoints.standing(there, wanted.id)
    if stands.status in ("Failed", "OutOfService", "UpdateRollbackFailed", "Deleting"):
        _deleted(aws, wanted.name, tell)
        return None
    if stands.working and there["EndpointConfigName"] != wanted.id:
        raise InputError(f"The endpoint {wanted.name} cannot be updated now", f"it is {stands.status} already",
                         "wait until it is InService (binventory cloud alive), and run it again")  # fmt: skip
    return there


def _awaited(aws: Session, wanted: Wanted, outcome: Outcome, tell: Tell) -> None:
    """Wait for what was asked for. Raises OutsideError where it does not come up; a new endpoint is removed then."""
    begun = time.monotonic()
    for pause in waits():
        there = described(aws, wanted.name)
        if there is None:
            raise OutsideError(f"The endpoint {wanted.name} is gone", "someone has deleted it", "deploy it again")
        stands = endpoints.standing(there, wanted.id)
        tell(stands, time.monotonic() - begun)
        if not stands.working:
            break
        time.sleep(pause)
    if not stands.ready:
        if outcome == "made":
            _undone(aws, wanted, outcome)
        after = "nothing is left of it" if outcome == "made" else "what ran before still runs"
        raise OutsideError(f"The endpoint {wanted.name} did not come up", f"{stands.reason}; {after}",
                           f"look into the log group {endpoints.log_group(wanted.name)}")  # fmt: skip


def _ends(wanted: Wanted, scheduler: str | None) -> bool:
    return bool(wanted.stop and scheduler)


def _moved(aws: Session, wanted: Wanted, scheduler: str | None, there: dict[str, Any]) -> tuple[str, ...]:
    """Give an endpoint that stays its new stop time: in its tags, and in its schedule."""
    ask(aws.client("sagemaker"), "add_tags", f"The stop time of {wanted.name} cannot be written",
        ResourceArn=there["EndpointArn"], Tags=endpoints.tags(wanted))  # fmt: skip
    return _schedule(aws, wanted, scheduler, new=False)


def _schedule(aws: Session, wanted: Wanted, scheduler: str | None, new: bool) -> tuple[str, ...]:
    """Let a schedule end the endpoint; an older one is replaced or removed. Gives notes of what could not be."""
    client = aws.client("scheduler")
    if wanted.stop and scheduler:
        what = f"The stop time of {wanted.name} cannot be scheduled"
        request = endpoints.schedule_request(wanted.name, wanted.stop, scheduler, _partition(wanted.role))
        try:
            ask(client, "create_schedule", what, **request)
        except InputError as error:
            if "exist" not in error.why:
                raise
            ask(client, "update_schedule", what, **request)
        return ()
    if new:
        return ()
    try:
        ask(client, "delete_schedule", f"The schedule of {wanted.name} cannot be removed",
            Name=endpoints.schedule_name(wanted.name))  # fmt: skip
    except MissingError:
        pass
    except InputError as error:
        return (f"An earlier schedule may still end {wanted.name} at its earlier stop time: {error.why}",)
    return ()


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _unless_there(client: Any, operation: str, what: str, request: dict[str, Any]) -> None:
    """Ask for something that bears its content in its name; that it exists already is as good."""
    try:
        ask(client, operation, what, **request)
    except InputError as error:
        if "already exist" not in error.why.lower():
            raise


def _undone(aws: Session, wanted: Wanted, outcome: Outcome) -> None:
    """Remove what a failed deployment has made. What costs money first; what then fails to go costs nothing."""
    sagemaker = aws.client("sagemaker")
    rest = Undeployed(wanted.name)
    if outcome == "made":
        _removed(sagemaker, "delete_endpoint", "endpoint", rest, {"EndpointName": wanted.name})
        if wanted.stop:
            _removed(aws.client("scheduler"), "delete_schedule", "schedule", rest,
                     {"Name": endpoints.schedule_name(wanted.name)})  # fmt: skip
    _removed(sagemaker, "delete_endpoint_config", "configuration", rest, {"EndpointConfigName": wanted.id})
    _removed(sagemaker, "delete_model", "model", rest, {"ModelName": wanted.id})


def _deleted(aws: Session, name: str, tell: Tell) -> None:
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


def _removed(client: Any, operation: str, thing: str, gone: Undeployed, request: dict[str, Any]) -> None:
    """Remove one thing; that it is not there is as good, that it cannot be removed is noted."""
    try:
        ask(client, operation, f"{thing[:1].upper()}{thing[1:]} cannot be removed", **request)
        gone.removed.append(thing)
    except MissingError:
        pass
    except BinventoryError as error:
        gone.left.append(error)


def _swept(aws: Session, name: str, gone: Undeployed, but: str = "") -> None:
    """Remove the configurations and models that were made for an endpoint, but one."""
    sagemaker = aws.client("sagemaker")
    for listing, key, named, delete in (
        ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", "delete_endpoint_config"),
        ("list_models", "Models", "ModelName", "delete_model"),
    ):
        try:
            found = [one[named] for one in pages(sagemaker, listing, f"What {name} leaves cannot be listed", key,
                                                 NameContains=f"{name}-")]  # fmt: skip
        except BinventoryError as error:
            gone.left.append(error)
            continue
        for one in found:
            if one != but and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}", one):
                thing = "model" if delete == "delete_model" else "configuration"
                _removed(sagemaker, delete, f"{thing} {one}", gone, {named: one})
