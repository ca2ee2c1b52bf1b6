"""Puts endpoints up and takes them down, by asking SageMaker for what ``endpoint`` says. What costs money goes first
when it ends and comes last when it begins, so that whatever fails in between costs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from binventory.cloud import contract, scaling, settling
from binventory.cloud import endpoint as endpoints
from binventory.cloud.endpoint import Instances, Wanted
from binventory.cloud.session import Session, ask, pages
from binventory.cloud.settling import Outcome, Tell, Undeployed
from binventory.errors import BinventoryError, InputError, MissingError


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment came to. ``ended``: whether a schedule will end it at ``stop`` by itself."""

    name: str
    outcome: Outcome
    stop: datetime | None
    ended: bool
    notes: tuple[str, ...] = ()


def deploy(aws: Session, wanted: Wanted, scheduler: str | None, tell: Tell) -> Deployed:
    """Put up an endpoint and wait until it answers; one of that name is updated, or found to be the same.

    ``scheduler``: the role by which EventBridge Scheduler ends it at its stop time; without it only the tag says when.
    Raises as ``session.told`` does, and OutsideError where the endpoint does not come up; a new one that failed is
    removed, one that was updated goes on as it was. Where SageMaker falls silent, nothing that may be in use is
    removed, and the same deployment again waits on.
    """
    sagemaker = aws.client("sagemaker")
    there = settling.described(aws, wanted.name)
    if there is not None:
        endpoints.refuse_strange(wanted.name, tags_of(sagemaker, there["EndpointArn"]))
        there = _usable(aws, wanted, there, tell)
    if there is not None and endpoints.coming(there) == wanted.id:
        outcome: Outcome = "made" if there["EndpointStatus"] == "Creating" else "updated"  # which was interrupted
        if there["EndpointStatus"] == "InService":
            outcome = "same"
        else:
            settling.awaited(aws, wanted, outcome, tell)
    elif there is not None:
        outcome = "updated"
        _updated(aws, wanted, there, tell)
    else:
        outcome = "made"
        notes = _made(aws, wanted, scheduler, tell)
        return Deployed(wanted.name, outcome, wanted.stop, _ends(wanted, scheduler), notes)
    scaling.put(aws, wanted.name, wanted.hardware)
    notes = _moved(aws, wanted, scheduler, there)
    _swept(aws, wanted.name, Undeployed(wanted.name), but=wanted.id)
    return Deployed(wanted.name, outcome, wanted.stop, _ends(wanted, scheduler), notes)


def _made(aws: Session, wanted: Wanted, scheduler: str | None, tell: Tell) -> tuple[str, ...]:
    """Make a new endpoint, its end before itself. What fails is removed. Gives notes of what could not be."""
    sagemaker, what = aws.client("sagemaker"), f"The endpoint {wanted.name} cannot be made"
    _refuse(wanted, scheduler, what)
    try:
        _unless_there(sagemaker, "create_model", what, endpoints.model_request(wanted))
        _unless_there(sagemaker, "create_endpoint_config", what, endpoints.config_request(wanted))
        notes = _schedule(aws, wanted, scheduler)
    except BinventoryError as error:
        raise settling.with_rest(error, settling.undone(aws, wanted, "made", tell)) from None
    try:
        ask(sagemaker, "create_endpoint", what, **endpoints.endpoint_request(wanted))
    except BinventoryError as error:  # which may be told of a request whose first answer was lost
        there = settling.looked(aws, wanted, error)
        if there is None:
            raise settling.with_rest(error, settling.undone(aws, wanted, "made", tell)) from None
        if endpoints.coming(there) != wanted.id:  # someone else's, of this name, since we looked
            raise settling.with_rest(error, settling.undone(aws, wanted, "updated", tell)) from None
    settling.awaited(aws, wanted, "made", tell)
    hardware = wanted.hardware
    if isinstance(hardware, Instances) and hardware.most > hardware.least:
        try:
            scaling.put(aws, wanted.name, hardware)
        except BinventoryError as error:
            raise settling.with_rest(error, settling.undone(aws, wanted, "made", tell)) from None
    return notes


def _updated(aws: Session, wanted: Wanted, there: dict[str, Any], tell: Tell) -> None:
    """Let an endpoint run what is wanted instead. What is refused is removed, and the endpoint goes on as it was."""
    sagemaker, what = aws.client("sagemaker"), f"The endpoint {wanted.name} cannot be updated"
    _refuse(wanted, None, what)
    held = None
    try:
        _unless_there(sagemaker, "create_model", what, endpoints.model_request(wanted))
        _unless_there(sagemaker, "create_endpoint_config", what, endpoints.config_request(wanted))
        running = _configuration(sagemaker, there["EndpointConfigName"], what)
        held = scaling.take(aws, wanted.name)  # SageMaker changes no machines whose number another service holds
    except BinventoryError as error:
        raise settling.with_rest(error, settling.undone(aws, wanted, "updated", tell)) from None
    try:
        retain = held is not None and endpoints.retains(wanted, there, running)
        ask(sagemaker, "update_endpoint", what, **endpoints.update_request(wanted, retain))
    except BinventoryError as error:  # which may be told of a request whose first answer was lost
        now = settling.looked(aws, wanted, error)
        if now is None or (endpoints.coming(now) != wanted.id and not endpoints.standing(now, wanted.id).working):
            raise settling.with_rest(error, settling.undone(aws, wanted, "updated", tell, held)) from None
    settling.awaited(aws, wanted, "updated", tell, held)


def _configuration(sagemaker: Any, name: str, what: str) -> dict[str, Any]:
    """``describe_endpoint_config``, empty where someone has deleted it."""
    try:
        return ask(sagemaker, "describe_endpoint_config", what, EndpointConfigName=name)
    except MissingError:
        return {}


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
    there = settling.described(aws, name)
    if there is not None:
        endpoints.refuse_strange(name, tags_of(sagemaker, there["EndpointArn"]))
        settling.deleted(aws, name, tell)
        gone.removed.append(f"endpoint {name}")
    settling.removed(aws.client("scheduler"), "delete_schedule", "its schedule", gone,
             {"Name": endpoints.schedule_name(name)})  # fmt: skip
    try:
        if scaling.take(aws, name):
            gone.removed.append("its scaling")
    except BinventoryError as error:
        gone.left.append(error)
    _swept(aws, name, gone)
    return gone


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
        settling.deleted(aws, wanted.name, tell)
        return None
    if stands.working and endpoints.coming(there) != wanted.id:
        raise InputError(f"The endpoint {wanted.name} cannot be updated now", f"it is {stands.status} already",
                         "wait until it is InService (binventory cloud alive), and run it again")  # fmt: skip
    return there


def _ends(wanted: Wanted, scheduler: str | None) -> bool:
    return bool(wanted.stop and scheduler)


def _moved(aws: Session, wanted: Wanted, scheduler: str | None, there: dict[str, Any]) -> tuple[str, ...]:
    """Give an endpoint that stays its new stop time: in its tags, and in its schedule."""
    ask(aws.client("sagemaker"), "add_tags", f"The stop time of {wanted.name} cannot be written",
        ResourceArn=there["EndpointArn"], Tags=endpoints.tags(wanted))  # fmt: skip
    return _schedule(aws, wanted, scheduler)


def _schedule(aws: Session, wanted: Wanted, scheduler: str | None) -> tuple[str, ...]:
    """Let a schedule end the endpoint; an older one is replaced or removed, which may have outlived an endpoint of
    this name that was deleted by hand. Gives notes of what could not be."""
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
    try:
        ask(client, "delete_schedule", f"The schedule of {wanted.name} cannot be removed",
            Name=endpoints.schedule_name(wanted.name))  # fmt: skip
    except MissingError:
        pass
    except InputError as error:
        return (f"An earlier schedule, if there is one, may end {wanted.name} at its earlier stop time: {error.why}",)
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
                settling.removed(sagemaker, delete, f"{thing} {one}", gone, {named: one})
