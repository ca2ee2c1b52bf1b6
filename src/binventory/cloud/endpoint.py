"""What is asked of SageMaker for an endpoint: frozen wishes in, boto3's requests out. Pure; ``deploying`` asks.

Model and configuration bear names made of what is in them, so that the same wish is the same names, and asking twice
makes nothing twice. Contracts: botocore's service models ``sagemaker``, ``application-autoscaling``, ``scheduler``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from binventory import __version__
from binventory.cloud import images
from binventory.errors import InputError, UsageError

VARIANT = "AllTraffic"
TAG = "binventory:"
"""What the keys of our own tags begin with."""
STOP = "binventory:stop-at"
NEVER = "never"
"""What the tag of an endpoint says that was asked to be kept."""

LONGEST_NAME = 50
"""SageMaker's 63 characters, less what model and configuration have of their own."""

SERVERLESS_MEMORY = (1024, 2048, 3072, 4096, 5120, 6144)
MOST_BYTES = 6_291_456
"""The largest body of a real-time request, by botocore's own model."""
MOST_SERVERLESS_BYTES = 4 * 1024 * 1024
MOST_BATCH_MB = 25
"""The largest photo of a batch: four of them at once stay below the hundred megabytes that SageMaker allows."""

DLC_NOTE = (
    "AWS's last PyTorch inference image (2.6) counts, whose security patches ended in June 2026. "
    "--image takes your own, built from our Dockerfile"
)


@dataclass(frozen=True, slots=True)
class Instances:
    """Machines that run until they are deleted: ``least`` at first, up to ``most`` as calls come.

    ``calls``: how many calls a minute one instance should serve; more start another.
    """

    type: str = "ml.c6i.large"
    least: int = 1
    most: int = 1
    calls: float = 300.0


@dataclass(frozen=True, slots=True)
class Serverless:
    """A machine a call, paid by use. ``memory`` in MB, ``concurrency``: calls at once, ``provisioned``: of these,
    how many are kept warm and paid by the hour."""

    memory: int = 4096
    concurrency: int = 5
    provisioned: int | None = None


Hardware = Instances | Serverless


@dataclass(frozen=True, slots=True)
class Packed:
    """A model by its parts: the image's ECR address, the archive's ``s3://`` address and sha256, and what the
    container's environment says."""

    image: str
    data: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Package:
    """A model by its version in the registry."""

    arn: str


@dataclass(frozen=True, slots=True)
class Network:
    """The user's own network, where the containers are to stand."""

    subnets: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint as it is to be. ``stop``: when it is to end, aware of its zone; None where it is to be kept."""

    name: str
    role: str
    model: Packed | Package
    hardware: Hardware
    stop: datetime | None
    network: Network | None = None
    kms: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """The name of its model and configuration: by content, so that another content is another name."""
        lasting = repr(replace(self, stop=None, tags=()))
        if isinstance(self.hardware, Instances):  # scaling is registered beside the configuration, not in it
            lasting = repr(replace(self, stop=None, tags=(), hardware=replace(self.hardware, most=1, calls=0)))
        return f"{self.name}-{hashlib.sha256(lasting.encode()).hexdigest()[:12]}"


def check(wanted: Wanted) -> Wanted:
    """The same wish. Raises UsageError for what SageMaker would refuse after minutes."""
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", wanted.name) or len(wanted.name) > LONGEST_NAME:
        why = f"names are letters, digits and inner hyphens, {LONGEST_NAME} at most"
        raise UsageError(f"An endpoint cannot be called {wanted.name!r}", why, "--name bins")
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/?[\w+=,.@/-]+", wanted.role):
        raise UsageError(f"{wanted.role} is no role", "a role's ARN is wanted", "--role arn:aws:iam::ACCOUNT:role/NAME")
    hardware = wanted.hardware
    if isinstance(hardware, Serverless):
        if hardware.memory not in SERVERLESS_MEMORY:
            sizes = ", ".join(map(str, SERVERLESS_MEMORY))
            raise UsageError(f"Serverless memory cannot be {hardware.memory} MB", f"there are {sizes}", "--memory 4096")
        if not 1 <= hardware.concurrency <= 200:
            raise UsageError(f"Concurrency cannot be {hardware.concurrency}", "it is 1 to 200", "--concurrency 5")
        if hardware.provisioned and hardware.provisioned > hardware.concurrency:
            why = f"{hardware.provisioned} against {hardware.concurrency}"
            raise UsageError("More calls are kept warm than may come at once", why, "a larger --concurrency")
        if wanted.network:
            raise UsageError("A serverless endpoint stands in no network of yours", "SageMaker offers it none",
                             "leave --subnet and --security-group out, or --instance")  # fmt: skip
    elif not 1 <= hardware.least <= hardware.most:
        raise UsageError(f"{hardware.least} to {hardware.most} instances is no range", "it begins at 1",
                         "--min 1 --max 2")  # fmt: skip
    return wanted


def until(text: str, now: datetime) -> datetime:
    """When an endpoint ends that runs for ``text`` (``90m``, ``8h``, ``3d``) from ``now``. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhd])", text.strip())
    length = {"m": 60, "h": 3600, "d": 86400}[match[2]] * float(match[1]) if match else 0.0
    if not 300 <= length <= 366 * 86400:
        raise UsageError(f"--stop-after {text} is no time", "it is 5 minutes to a year: 90m, 8h, 3d", "--stop-after 8h")
    return (now + timedelta(seconds=length)).astimezone(UTC).replace(microsecond=0)


def stamp(moment: datetime) -> str:
    """A moment as it stands in a tag and a schedule: ``2026-11-22T18:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamped(text: str) -> datetime | None:
    """The moment of a tag, None where the tag tells of none."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def tags(wanted: Wanted) -> list[dict[str, str]]:
    """Tags of everything that belongs to an endpoint, as SageMaker takes them."""
    own = {
        "binventory:version": __version__,
        "binventory:endpoint": wanted.name,
        STOP: stamp(wanted.stop) if wanted.stop else NEVER,
    }
    return [{"Key": key, "Value": value} for key, value in ({**dict(wanted.tags), **own}).items()]


def as_tags(given: list[str]) -> tuple[tuple[str, str], ...]:
    """``KEY=VALUE``s of the command line. Raises UsageError for what AWS takes for no tag."""
    found = []
    for one in given:
        key, equals, value = one.partition("=")
        if (
            not equals
            or not re.fullmatch(r"[\w .:/=+\-@]{1,128}", key)
            or not re.fullmatch(r"[\w .:/=+\-@]{0,256}", value)
        ):
            raise UsageError(f"{one} is no tag", "tags are KEY=VALUE of letters, digits, spaces and _.:/=+-@",
                             "--tag team=stock")  # fmt: skip
        found.append((key, value))
    return tuple(found)


def dlc_environment(region: str) -> dict[str, str]:
    """What AWS's inference images want to know of the script that lies in the archive's ``code/``.

    Their server (TorchServe) takes bodies of 6,553,500 bytes unless told otherwise: enough for an endpoint's calls,
    too little for the photos of a batch.
    """
    most = str(MOST_BATCH_MB * 1024 * 1024)
    return {
        "TS_MAX_REQUEST_SIZE": most,
        "TS_MAX_RESPONSE_SIZE": most,
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        "SAGEMAKER_REGION": region,
    }


def model_request(wanted: Wanted) -> dict[str, Any]:
    """``create_model``."""
    model = wanted.model
    if isinstance(model, Package):
        container: dict[str, Any] = {"ModelPackageName": model.arn}
    else:
        container = {"Image": model.image, "ModelDataUrl": model.data, "Environment": dict(model.environment)}
    network = wanted.network
    vpc = {"VpcConfig": {"Subnets": [*network.subnets], "SecurityGroupIds": [*network.groups]}} if network else {}
    return {
        "ModelName": wanted.id,
        "PrimaryContainer": container,
        "ExecutionRoleArn": wanted.role,
        "Tags": tags(wanted),
        **vpc,
    }


def config_request(wanted: Wanted) -> dict[str, Any]:
    """``create_endpoint_config``, of one variant that takes all calls.

    The KMS key is left out where machines bring disks of their own, which are encrypted in hardware: SageMaker's
    older reference says that it refuses a key for them, its newer one that the key does nothing for these disks.
    """
    hardware = wanted.hardware
    if isinstance(hardware, Serverless):
        warm = {"ProvisionedConcurrency": hardware.provisioned} if hardware.provisioned else {}
        sort: dict[str, Any] = {
            "ServerlessConfig": {
                "MemorySizeInMB": hardware.memory,
                "MaxConcurrency": hardware.concurrency,
                **warm,
            }
        }
    else:
        sort = {
            "InstanceType": hardware.type,
            "InitialInstanceCount": hardware.least,
            "InitialVariantWeight": 1.0,
            # Patience for the image and for the first count; more than needed costs nothing.
            "ContainerStartupHealthCheckTimeoutInSeconds": 600,
        }
    # Disks are encrypted anyhow; a key of one's own is taken where the machine has a disk to take it.
    takes_key = isinstance(hardware, Instances) and not images.has_local_disk(hardware.type)
    kms = {"KmsKeyId": wanted.kms} if wanted.kms and takes_key else {}
    variant = {"VariantName": VARIANT, "ModelName": wanted.id, **sort}
    return {"EndpointConfigName": wanted.id, "ProductionVariants": [variant], "Tags": tags(wanted), **kms}


def endpoint_request(wanted: Wanted) -> dict[str, Any]:
    """``create_endpoint``."""
    return {"EndpointName": wanted.name, "EndpointConfigName": wanted.id, "Tags": tags(wanted)}


def update_request(wanted: Wanted, retain: bool = False) -> dict[str, Any]:
    """``update_endpoint``: the old machines answer until the new ones do.

    ``retain``: as many machines as there are now, whatever the configuration says, and the weight of the only variant,
    which changes nothing. Nothing is excluded: data is captured by none of our endpoints.
    """
    return {"EndpointName": wanted.name, "EndpointConfigName": wanted.id} | (
        {"RetainAllVariantProperties": True} if retain else {}
    )


def retains(wanted: Wanted, described: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether an update is to keep the number of machines, by ``describe_endpoint`` and the configuration in use.

    Without that, the update of a fleet that calls have made grow begins anew at ``least`` machines, under all of its
    calls. It is kept where that number stays meaningful: on machines of the same type, and where autoscaling is to
    go on. Below the new ``least`` it is not kept; above the new ``most`` autoscaling brings it down once registered.
    """
    hardware = wanted.hardware
    if not isinstance(hardware, Instances) or hardware.most == hardware.least:
        return False
    types = {one["VariantName"]: one.get("InstanceType") for one in config.get("ProductionVariants") or ()}
    now = {one["VariantName"]: one.get("CurrentInstanceCount") or 0
           for one in described.get("ProductionVariants") or ()}  # fmt: skip
    return types == {VARIANT: hardware.type} and now.get(VARIANT, 0) > hardware.least


def coming(described: Mapping[str, Any]) -> str:
    """The configuration that an endpoint runs, or that it is being updated to where SageMaker says so."""
    pending = described.get("PendingDeploymentSummary") or {}
    return str(pending.get("EndpointConfigName") or described["EndpointConfigName"])


def scalable(name: str) -> dict[str, Any]:
    """What application autoscaling calls an endpoint's machines."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def target_request(name: str, hardware: Instances) -> dict[str, Any]:
    """``register_scalable_target``."""
    return {**scalable(name), "MinCapacity": hardware.least, "MaxCapacity": hardware.most}


def policy_request(name: str, hardware: Instances) -> dict[str, Any]:
    """``put_scaling_policy``: so many calls a minute an instance. Out at once, in after five quiet minutes."""
    return {
        **scalable(name),
        "PolicyName": f"binventory-{name}",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": hardware.calls,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 300,
        },
    }


def schedule_name(name: str) -> str:
    """What the schedule is called that ends an endpoint."""
    return f"binventory-{name}"


def schedule_request(name: str, stop: datetime, role: str, partition: str = "aws") -> dict[str, Any]:
    """EventBridge Scheduler's ``create_schedule``: once, at ``stop``, ``sagemaker:DeleteEndpoint``; then it is gone.

    A universal target: the ARN names service and action, ``Input`` the action's own parameters. ``role`` is one that
    scheduler.amazonaws.com may take and that may delete the endpoint.
    """
    return {
        "Name": schedule_name(name),
        "Description": f"Ends the endpoint {name} (binventory cloud deploy --stop-after)",
        "ScheduleExpression": f"at({stamp(stop).removesuffix('Z')})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:deleteEndpoint",
            "RoleArn": role,
            "Input": json.dumps({"EndpointName": name}),
            "RetryPolicy": {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 86400},
        },
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint stands: what SageMaker calls it, whether that will change by itself, and whether it answers."""

    status: str
    working: bool
    ready: bool
    reason: str = ""


def standing(described: Mapping[str, Any], config: str) -> Standing:
    """How an endpoint stands that is to run ``config``, by ``describe_endpoint``.

    A failed update rolls back: the endpoint is in service, with its old configuration.
    """
    status = str(described["EndpointStatus"])
    reason = " ".join(str(described.get("FailureReason", "")).split()).rstrip(".")
    if status in ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"):
        return Standing(status, True, False, reason)
    if status == "InService" and described.get("EndpointConfigName") == config:
        return Standing(status, False, True)
    if status == "InService":
        return Standing("RolledBack", False, False, reason or "SageMaker went back to what ran before")
    return Standing(status, False, False, reason or "SageMaker gives no reason")


def log_group(name: str) -> str:
    """Where the containers of an endpoint log."""
    return f"/aws/sagemaker/Endpoints/{name}"


def refuse_strange(name: str, found: Mapping[str, str]) -> None:
    """Raise InputError for an endpoint that bears none of our tags: it is someone else's."""
    if not any(key.startswith(TAG) for key in found):
        raise InputError(f"The endpoint {name} is not binventory's", "it bears no tag that begins with binventory:",
                         "another --name, or delete it where it was made")  # fmt: skip
