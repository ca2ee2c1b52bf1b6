"""How many machines an endpoint has as calls come: by application autoscaling, which is a service beside SageMaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from binventory.cloud import endpoint as endpoints
from binventory.cloud.endpoint import Hardware, Instances
from binventory.cloud.session import Session, ask
from binventory.errors import MissingError

_TARGET = ("ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity")
_POLICY = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyType",
           "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scaling:
    """An endpoint's scaling as it was, to be put back: the requests that make it anew."""

    target: dict[str, Any]
    policies: tuple[dict[str, Any], ...]


def put(aws: Session, name: str, hardware: Hardware) -> None:
    """Let an endpoint scale as its hardware says, or not at all. Raises as ``session.told`` does."""
    if not isinstance(hardware, Instances) or hardware.most == hardware.least:
        take(aws, name)
        return
    client, what = aws.client("application-autoscaling"), f"The endpoint {name} cannot be scaled"
    ask(client, "register_scalable_target", what, **endpoints.target_request(name, hardware))
    ask(client, "put_scaling_policy", what, **endpoints.policy_request(name, hardware))


def take(aws: Session, name: str) -> Scaling | None:
    """End an endpoint's scaling; what it was, None where there was none. Its policies and alarms go with it.

    Raises as ``session.told`` does.
    """
    client, what = aws.client("application-autoscaling"), f"The scaling of {name} cannot be ended"
    where = endpoints.scalable(name)
    named = {"ServiceNamespace": where["ServiceNamespace"], "ScalableDimension": where["ScalableDimension"]}
    targets = ask(client, "describe_scalable_targets", what, ResourceIds=[where["ResourceId"]], **named)
    found = [one for one in targets["ScalableTargets"] if one["ResourceId"] == where["ResourceId"]]
    if not found:
        return None
    policies = ask(client, "describe_scaling_policies", what, ResourceId=where["ResourceId"], **named)
    try:
        ask(client, "deregister_scalable_target", what, **where)
    except MissingError:  # it went while we looked
        return None
    return Scaling(_only(found[0], _TARGET), tuple(_only(one, _POLICY) for one in policies["ScalingPolicies"]))


def put_back(aws: Session, scaling: Scaling) -> None:
    """Make a scaling anew that was taken. Raises as ``session.told`` does."""
    client, what = aws.client("application-autoscaling"), "The endpoint's scaling cannot be put back"
    ask(client, "register_scalable_target", what, **scaling.target)
    for policy in scaling.policies:
        ask(client, "put_scaling_policy", what, **policy)


def _only(found: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}
