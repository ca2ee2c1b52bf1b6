"""What a training job and a tuning job are, and boto3's requests for them. Pure.

The shapes are those of botocore's service model (``CreateTrainingJob``, ``CreateHyperParameterTuningJob``); what runs
inside is told in ``container``. Hyperparameters are our recipe's settings by their ``--set`` names, all strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from binventory.cloud import images
from binventory.errors import UsageError
from binventory.recipe import FullRecipe, parse_value

OBJECTIVE = "validate_log_loss"
_NUMBER = r"([0-9.eE+-]+)"
METRICS = ("train_loss", OBJECTIVE, "validate_accuracy", "validate_within_one")
_WARNINGS = 30
CHECKPOINTS = "/opt/ml/checkpoints"
FAMILY = "binventory"
"""The tag by which our own jobs are told from others'."""

Mode = Literal["File", "FastFile"]
Scaling = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Objects that a job reads below ``/opt/ml/input/data/NAME``: all whose keys begin with the address."""

    name: str
    address: str
    mode: Mode = "File"


@dataclass(frozen=True, slots=True)
class Machines:
    """What a job runs on.

    ``count``: instances. ``volume``: GB of disk each, where the type has none of its own. ``seconds``: the longest that
    it may run; ``wait``: where above 0, spot instances, and the longest that waiting and running may take together.
    """

    instance: str = "ml.g5.xlarge"
    count: int = 1
    volume: int = 50
    seconds: int = 4 * 3600
    wait: int = 0


@dataclass(frozen=True, slots=True)
class Walls:
    """How a job is shut in: a VPC's subnets and security groups, keys of KMS, and no network at all."""

    subnets: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    volume_key: str = ""
    output_key: str = ""
    isolated: bool = False
    between: bool = False
    """Whether what the instances tell each other is encrypted."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A training job. ``to``: the s3:// prefix below which all of it lies. ``settings``: hyperparameters by name.

    ``source``: the address of ``sourcedir.tar.gz``; ``program``: what it runs.
    """

    name: str
    role: str
    image: str
    to: str
    source: str
    program: str
    channels: tuple[Channel, ...]
    settings: tuple[tuple[str, str], ...]
    machines: Machines = field(default_factory=Machines)
    walls: Walls = field(default_factory=Walls)
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def output(self) -> str:
        """The prefix below which SageMaker writes ``NAME/output/model.tar.gz``."""
        return f"{self.to.rstrip('/')}/jobs"

    @property
    def checkpoints(self) -> str:
        """Where the job's checkpoints lie, for a spot instance that takes over."""
        return f"{self.to.rstrip('/')}/checkpoints/{self.name}/"


@dataclass(frozen=True, slots=True)
class Range:
    """What a tuning job may choose for one setting: one of ``values``, or, where there are none, from low to high."""

    setting: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    scaling: Scaling = "Auto"


RANGES = {
    "full": (
        Range("full.lr", low=3e-5, high=3e-3, scaling="Logarithmic"),
        Range("full.batch", values=("16", "32", "64")),
        Range("full.momentum", low=0.8, high=0.98, scaling="ReverseLogarithmic"),
        Range("full.size", values=("160", "192", "224")),
    ),
    "quick": (
        Range("quick.balance", low=0.0, high=1.0, scaling="Linear"),
        Range("quick.order", low=0.0, high=4.0, scaling="Linear"),
    ),
}
"""What is varied where nobody says otherwise: for full learning rate, batch size, momentum and image size."""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """A tuning job: many training jobs of one plan, whose settings SageMaker chooses.

    ``strategy``: Bayesian learns from finished trials, Hyperband also ends those that look worse after few epochs.
    ``trials``: training jobs in all; ``parallel``: at once. ``epochs``: the fewest and the most, for Hyperband.
    """

    job: JobPlan
    trials: int
    parallel: int
    strategy: Literal["Bayesian", "Hyperband"] = "Bayesian"
    ranges: tuple[Range, ...] = RANGES["full"]
    epochs: tuple[int, int] = (1, FullRecipe().epochs)
    seed: int = 1


def training_request(plan: JobPlan) -> dict[str, Any]:
    """The arguments of boto3's ``create_training_job``."""
    return {
        "TrainingJobName": plan.name,
        **_shared(plan),
        "HyperParameters": hyperparameters(plan),
        "Tags": [{"Key": key, "Value": value} for key, value in (("made-by", FAMILY), *plan.tags)],
    }


def tuning_request(plan: TuningPlan) -> dict[str, Any]:
    """The arguments of boto3's ``create_hyper_parameter_tuning_job``. Raises UsageError for trials that cannot be."""
    if not 1 <= plan.parallel <= plan.trials:
        raise UsageError(f"{plan.parallel} jobs at once do not fit", f"there are {plan.trials} trials",
                         f"--jobs {max(1, min(plan.parallel, plan.trials))}")  # fmt: skip
    hyperband = plan.strategy == "Hyperband"
    fewest, most = plan.epochs
    config: dict[str, Any] = {
        "Strategy": plan.strategy,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": OBJECTIVE},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": plan.trials, "MaxParallelTrainingJobs": plan.parallel},
        "ParameterRanges": _ranges(plan.ranges),
        # Hyperband ends what looks worse by itself, and refuses a second judge.
        "TrainingJobEarlyStoppingType": "Off" if hyperband else "Auto",
        "RandomSeed": plan.seed,
    }
    if hyperband:
        config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": fewest, "MaxResource": most}}
    tuned = {one.setting for one in plan.ranges}
    fixed = tuple(pair for pair in plan.job.settings if pair[0] not in tuned)
    if hyperband:
        fixed = (*(pair for pair in fixed if pair[0] != "full.epochs"), ("full.epochs", str(most)))
    definition = _shared(plan.job) | {
        "StaticHyperParameters": hyperparameters(replace(plan.job, settings=fixed)),
    }
    return {
        "HyperParameterTuningJobName": plan.job.name,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
        "Tags": [{"Key": key, "Value": value} for key, value in (("made-by", FAMILY), *plan.job.tags)],
    }


def hyperparameters(plan: JobPlan) -> dict[str, str]:
    """Our settings, and those by which the toolkit finds its program and keeps to what matters."""
    toolkit = {
        "sagemaker_program": plan.program,
        "sagemaker_submit_directory": plan.source,
        "sagemaker_container_log_level": _WARNINGS,  # else two hundred lines of settings come before ours
    }
    # The toolkit reads each value as JSON if it can, so its own must be quoted as SDKs do.
    return dict(plan.settings) | {name: json.dumps(value) for name, value in toolkit.items()}


def name(kind: str, now: datetime, chance: str) -> str:
    """A job's name: what it is, when it was made, and four letters of chance; 32 characters at most, as tuning wants.

    All begin alike, so that a policy can tell ours from others'.
    """
    return f"{FAMILY}-{kind[:5]}-{now:%y%m%d%H%M}-{chance[:4]}"


def unquoted(value: str) -> str:
    """A hyperparameter's value without the quotes of JSON that it gathers on its way, as a person would type it."""
    while True:
        read = parse_value(value)
        if not isinstance(read, str) or read == value:
            return value
        value = read


def metrics() -> list[dict[str, str]]:
    """The figures that SageMaker reads from our line of ``key=value`` an epoch."""
    return [{"Name": one, "Regex": rf"\b{one}={_NUMBER}"} for one in METRICS]


def volume_key(plan: JobPlan) -> str:
    """The key for the instances' disks: none where they are the instance's own, which its hardware encrypts."""
    return "" if images.has_local_disk(plan.machines.instance) else plan.walls.volume_key


def _shared(plan: JobPlan) -> dict[str, Any]:
    """What a training job and the jobs of a tuning job have in common."""
    machines, walls = plan.machines, plan.walls
    key = volume_key(plan)
    asked: dict[str, Any] = {
        "RoleArn": plan.role,
        "AlgorithmSpecification": {
            "TrainingImage": plan.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": metrics(),
        },
        "InputDataConfig": [_channel(one) for one in plan.channels],
        "OutputDataConfig": {"S3OutputPath": plan.output}
        | ({"KmsKeyId": walls.output_key} if walls.output_key else {}),
        "ResourceConfig": {
            "InstanceType": machines.instance,
            "InstanceCount": machines.count,
            "VolumeSizeInGB": machines.volume,
        }
        | ({"VolumeKmsKeyId": key} if key else {}),
        "StoppingCondition": {"MaxRuntimeInSeconds": machines.seconds}
        | ({"MaxWaitTimeInSeconds": machines.wait} if machines.wait else {}),
        "CheckpointConfig": {"S3Uri": plan.checkpoints, "LocalPath": CHECKPOINTS},
        "Environment": {"PIP_QUIET": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        "EnableManagedSpotTraining": bool(machines.wait),
        "EnableNetworkIsolation": walls.isolated,
        "EnableInterContainerTrafficEncryption": walls.between,
    }
    if walls.subnets or walls.groups:
        asked["VpcConfig"] = {"Subnets": list(walls.subnets), "SecurityGroupIds": list(walls.groups)}
    return asked


def _channel(channel: Channel) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": channel.address, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": channel.name, "InputMode": channel.mode, "DataSource": {"S3DataSource": source}}


def _ranges(ranges: Iterable[Range]) -> Mapping[str, list[dict[str, Any]]]:
    """SageMaker's three lists; ends of ranges travel as strings."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in ranges:
        if one.values:
            kind, asked = "CategoricalParameterRanges", {"Name": one.setting, "Values": list(one.values)}
        else:
            kind = "IntegerParameterRanges" if one.whole else "ContinuousParameterRanges"
            ends = [f"{round(end) if one.whole else end:g}" for end in (one.low, one.high)]
            asked = {"Name": one.setting, "MinValue": ends[0], "MaxValue": ends[1], "ScalingType": one.scaling}
        found.setdefault(kind, []).append(asked)
    return found
