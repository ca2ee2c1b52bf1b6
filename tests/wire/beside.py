"""The services beside SageMaker that an endpoint has to do with: application autoscaling, EventBridge Scheduler.

Both keep books alone: nothing scales, and no schedule fires.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from wire.hosting import Hosting, locked, now
from wire.server import RefusalError, Reply, Request, refuse_invalid


def install(books: Hosting) -> None:
    """Let the wire answer for scaling and schedules."""
    wire = books.wire
    for name, answer in _SCALING.items():
        wire.on(f"AnyScaleFrontendService.{name}", locked(books, answer))
    wire.route("POST", r"/schedules/([^/]+)", lambda request: _schedule(books, request, new=True))
    wire.route("PUT", r"/schedules/([^/]+)", lambda request: _schedule(books, request, new=False))
    wire.route("DELETE", r"/schedules/([^/]+)", lambda request: _unschedule(books, request))


def _register(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ResourceId"].split("/")[1]
    one = books.endpoints.get(name)
    if one is None or one.status != "InService":
        raise RefusalError("ValidationException", f"The endpoint {name} is not in service.")
    books.targets[request["ResourceId"]] = request
    return {}


def _deregister(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    if books.targets.pop(request["ResourceId"], None) is None:
        raise RefusalError("ObjectNotFoundException", f"No scalable target registered for {request['ResourceId']}")
    books.policies.pop(request["ResourceId"], None)
    return {}


def _policy(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    if request["ResourceId"] not in books.targets:
        raise RefusalError("ObjectNotFoundException", f"No scalable target registered for {request['ResourceId']}")
    books.policies[request["ResourceId"]] = request
    return {"PolicyARN": "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:x", "Alarms": []}


def _targets(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    found = [one for place, one in books.targets.items() if place in request.get("ResourceIds", books.targets)]
    return {"ScalableTargets": [{**one, "RoleARN": "arn:aws:iam::123456789012:role/x", "CreationTime": now()}
                                for one in found]}  # fmt: skip


def _policies(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    found = [one for place, one in books.policies.items() if place == request["ResourceId"]]
    return {"ScalingPolicies": [{**one, "PolicyARN": "arn:aws:autoscaling:x", "CreationTime": now()}
                                for one in found]}  # fmt: skip


def _schedule(books: Hosting, request: Request, new: bool) -> Reply:
    name = urllib.parse.unquote(request.caught[0])
    given = {"Name": name, **json.loads(request.body)}
    books.wire.asked.append(("CreateSchedule" if new else "UpdateSchedule", given))
    refuse_invalid("scheduler", "CreateSchedule" if new else "UpdateSchedule", given)
    if new and name in books.schedules:
        raise RefusalError("ConflictException", f"Schedule {name} already exists.", 409)
    if not new and name not in books.schedules:
        raise RefusalError("ResourceNotFoundException", f"Schedule {name} does not exist.", 404)
    books.schedules[name] = given
    place = f"arn:aws:scheduler:eu-central-1:123456789012:schedule/default/{name}"
    return Reply(json.dumps({"ScheduleArn": place}).encode(), 200, {"Content-Type": "application/json"})


def _unschedule(books: Hosting, request: Request) -> Reply:
    name = urllib.parse.unquote(request.caught[0])
    books.wire.asked.append(("DeleteSchedule", {"Name": name}))
    if books.schedules.pop(name, None) is None:
        raise RefusalError("ResourceNotFoundException", f"Schedule {name} does not exist.", 404)
    return Reply(b"{}", 200, {"Content-Type": "application/json"})


_SCALING = {
    "DescribeScalableTargets": _targets, "DescribeScalingPolicies": _policies, "RegisterScalableTarget": _register,
    "DeregisterScalableTarget": _deregister, "PutScalingPolicy": _policy,
}  # fmt: skip
