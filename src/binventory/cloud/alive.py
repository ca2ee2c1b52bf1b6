"""What costs money now in one region of an account: everything of SageMaker's that is paid for while nobody uses it.

Prices are handed in, so that this file knows how to look and nothing of what things cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from binventory.cloud import deploying, prices, settling
from binventory.cloud import endpoint as endpoints
from binventory.cloud.artefact import place
from binventory.cloud.endpoint import Hardware, Instances
from binventory.cloud.session import Session, ask, pages, told
from binventory.errors import BinventoryError, MissingError

HOURS = 730.0
"""Hours of a month, as AWS's own calculator has them."""

STORED = 0.023
"""Dollars a gigabyte and month on S3, by the public price list of us-east-1."""

Price = Callable[[str, str], float | None]
"""Dollars an hour, by what it is used for (``hosting``, ``training`` …) and the instance's type; None where unknown."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing that costs money. ``size``: of how much it consists; ``hour``: dollars an hour, None where no price
    is known; ``stop``: when it is to end; ``lasts``: whether it goes on costing until someone ends it."""

    kind: str
    name: str
    size: str
    hour: float | None
    since: datetime | None
    ours: bool
    stop: datetime | None = None
    lasts: bool = True

    @property
    def month(self) -> float | None:
        """Dollars a month, if nobody ends it."""
        return None if self.hour is None else self.hour * HOURS

    def overdue(self, now: datetime) -> bool:
        """Whether it should have ended."""
        return self.stop is not None and self.stop < now

    def as_row(self, now: datetime) -> dict[str, object]:
        """The cost as it stands in JSON output; dollars."""
        return {
            "kind": self.kind,
            "name": self.name,
            "size": self.size,
            "hour": None if self.hour is None else round(self.hour, 5),
            "month": None if self.month is None else round(self.month, 2),
            "since": endpoints.stamp(self.since) if self.since else None,
            "ours": self.ours,
            "stop": endpoints.stamp(self.stop) if self.stop else None,
            "overdue": self.overdue(now),
        }


def priced(region: str) -> Price:
    """The prices of a region, from the table that comes with the package. A Studio app costs what a notebook does."""

    def price(use: str, instance: str) -> float | None:
        return prices.hour({"studio": "notebook"}.get(use, use), instance, region)

    return price


def of(hardware: Hardware, price: Price) -> float | None:
    """Dollars an hour, at least, of an endpoint on this hardware; None where no price is known."""
    if isinstance(hardware, Instances):
        each = price("hosting", hardware.type)
        return None if each is None else each * hardware.least
    each = price("serverless", "provisioned") if hardware.provisioned else 0.0
    return None if each is None else each * hardware.memory / 1024 * (hardware.provisioned or 0)


def look(aws: Session, price: Price) -> Iterator[Cost | BinventoryError]:
    """Everything that costs, one kind after the other. What cannot be looked at is an error, and the rest goes on.

    Raises where nothing can be asked at all: no credentials, no network.
    """
    sagemaker = aws.client("sagemaker")
    listings: tuple[tuple[str, Callable[[], Iterator[Cost | BinventoryError]]], ...] = (
        ("endpoints", lambda: _endpoints(aws, sagemaker, price)),
        ("training jobs", lambda: _jobs(sagemaker, price, _TRAINING)),
        ("batch transforms", lambda: _jobs(sagemaker, price, _TRANSFORM)),
        ("processing jobs", lambda: _jobs(sagemaker, price, _PROCESSING)),
        ("notebooks", lambda: _notebooks(sagemaker, price)),
        ("Studio's apps", lambda: _apps(sagemaker, price)),
        ("clusters", lambda: _clusters(sagemaker, price)),
        ("MLflow's servers", lambda: _tracking(sagemaker)),
        ("models", lambda: _stored(aws, sagemaker)),
    )
    answered = False
    for kind, costs in listings:
        try:
            yield from costs()
            answered = True
        except BinventoryError as error:
            if not answered and "permission" not in error.why:
                raise
            yield type(error)(f"What {kind} cost is not known", error.why, error.next)


def _endpoints(aws: Session, sagemaker: Any, price: Price) -> Iterator[Cost | BinventoryError]:
    """What each endpoint costs; one that cannot be looked at is an error, and the others go on."""
    for one in pages(sagemaker, "list_endpoints", "What endpoints cost cannot be told", "Endpoints"):
        try:
            cost = _endpoint(aws, sagemaker, one, price)
        except BinventoryError as error:
            yield type(error)(f"What the endpoint {one['EndpointName']} costs is not known", error.why, error.next)
            continue
        if cost:
            yield cost


def _endpoint(aws: Session, sagemaker: Any, one: Mapping[str, Any], price: Price) -> Cost | None:
    name = one["EndpointName"]
    there = settling.described(aws, name)
    if there is None or there["EndpointStatus"] in ("Failed", "Deleting", "OutOfService"):
        return None  # machines that never came up, or are going, are not paid for
    try:
        config = ask(sagemaker, "describe_endpoint_config", f"What {name} costs cannot be told",
                     EndpointConfigName=there["EndpointConfigName"])  # fmt: skip
    except MissingError:  # deleted by hand, and the machines run on
        config = {}
    tags = deploying.tags_of(sagemaker, one["EndpointArn"])
    running, configured = _all_variants(there), _all_variants(config)
    sizes, hour = _variants(running, configured or running, price)
    return Cost("endpoint", name, sizes, hour, there["CreationTime"], _ours(tags), deploying.stop_of(tags),
                lasts=hour != 0)  # fmt: skip


def _all_variants(of: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The variants that answer, and those that only get a copy of the calls: both are paid for."""
    return [*(of.get("ProductionVariants") or ()), *(of.get("ShadowProductionVariants") or ())]


def _variants(
    running: list[Mapping[str, Any]], configured: list[Mapping[str, Any]], price: Price
) -> tuple[str, float | None]:
    """What an endpoint's variants consist of, and what they cost an hour together; None where a price is unknown."""
    now = {one["VariantName"]: one for one in running}
    sizes, hours = [], []
    for variant in configured:
        there = now.get(variant["VariantName"], {})
        size, hour = _variant(there, variant, price)
        sizes.append(size)
        hours.append(hour)
    known = [hour for hour in hours if hour is not None]
    return ", ".join(sizes) or "?", sum(known) if hours and len(known) == len(hours) else None


def _variant(there: Mapping[str, Any], configured: Mapping[str, Any], price: Price) -> tuple[str, float | None]:
    """A variant, of one type of machines, of several (instance pools), or without any (serverless)."""
    serverless = configured.get("ServerlessConfig") or there.get("CurrentServerlessConfig")
    if serverless:
        warm = serverless.get("ProvisionedConcurrency", 0)
        gigabytes = serverless["MemorySizeInMB"] / 1024
        size = f"serverless, {gigabytes:g} GB, {warm} kept warm" if warm else f"serverless, {gigabytes:g} GB"
        each = price("serverless", "provisioned") if warm else 0.0
        return size, None if each is None else each * gigabytes * warm
    pools = there.get("InstancePools")
    if pools:
        machines = [(int(one.get("CurrentInstanceCount") or 0), str(one.get("InstanceType", "?"))) for one in pools]
    else:
        count = int(there.get("CurrentInstanceCount", configured.get("InitialInstanceCount", 1)))
        machines = [(count, str(configured.get("InstanceType", "?")))]
    hours = [None if (each := price("hosting", type)) is None else each * count for count, type in machines]
    known = [hour for hour in hours if hour is not None]
    size = " + ".join(f"{count} x {type}" for count, type in machines)
    return size, sum(known) if len(known) == len(hours) else None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind of job is listed and described, and where its machines stand."""

    name: str
    use: str
    listing: str
    key: str
    named: str
    describing: str
    machines: tuple[str, ...]


_TRAINING = _Kind("training job", "training", "list_training_jobs", "TrainingJobSummaries", "TrainingJobName",
                  "describe_training_job", ("ResourceConfig",))  # fmt: skip
_TRANSFORM = _Kind("batch transform", "transform", "list_transform_jobs", "TransformJobSummaries", "TransformJobName",
                   "describe_transform_job", ("TransformResources",))  # fmt: skip
_PROCESSING = _Kind(
    "processing job", "processing", "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName",
    "describe_processing_job", ("ProcessingResources", "ClusterConfig"),
)  # fmt: skip


def _jobs(sagemaker: Any, price: Price, kind: _Kind) -> Iterator[Cost]:
    """Jobs that run, and those that are stopping, whose machines are paid for until they have stopped."""
    what = f"What {kind.name}s cost cannot be told"
    found = {
        one[kind.named]: one
        for status in ("InProgress", "Stopping")
        for one in pages(sagemaker, kind.listing, what, kind.key, StatusEquals=status)
    }
    for name, one in found.items():
        there = ask(sagemaker, kind.describing, what, **{kind.named: name})
        machines: Mapping[str, Any] = there
        for step in kind.machines:
            machines = machines.get(step) or {}
        type, count = machines.get("InstanceType", "?"), int(machines.get("InstanceCount") or 1)
        each = price(kind.use, type)
        tags = deploying.tags_of(sagemaker, one[kind.named.replace("Name", "Arn")])
        yield Cost(kind.name, name, f"{count} x {type}", None if each is None else each * count, one["CreationTime"],
                   _ours(tags), lasts=True)  # fmt: skip


def _notebooks(sagemaker: Any, price: Price) -> Iterator[Cost]:
    what = "What notebooks cost cannot be told"
    for one in pages(sagemaker, "list_notebook_instances", what, "NotebookInstances"):
        if one.get("NotebookInstanceStatus") in ("InService", "Pending", "Updating"):
            tags = deploying.tags_of(sagemaker, one["NotebookInstanceArn"])
            type = one.get("InstanceType", "?")
            yield Cost("notebook", one["NotebookInstanceName"], f"1 x {type}", price("notebook", type),
                       one.get("CreationTime"), _ours(tags))  # fmt: skip


def _apps(sagemaker: Any, price: Price) -> Iterator[Cost]:
    for one in pages(sagemaker, "list_apps", "What Studio's apps cost cannot be told", "Apps"):
        type = (one.get("ResourceSpec") or {}).get("InstanceType", "system")
        if one.get("Status") in ("InService", "Pending") and type != "system":
            owner = one.get("UserProfileName") or one.get("SpaceName") or one.get("DomainId", "")
            yield Cost("Studio app", f"{owner}/{one.get('AppType', '')}/{one.get('AppName', '')}", f"1 x {type}",
                       price("studio", type), one.get("CreationTime"), ours=False)  # fmt: skip


def _clusters(sagemaker: Any, price: Price) -> Iterator[Cost]:
    what = "What clusters cost cannot be told"
    for one in pages(sagemaker, "list_clusters", what, "ClusterSummaries"):
        there = ask(sagemaker, "describe_cluster", what, ClusterName=one["ClusterName"])
        groups = [(group["InstanceType"], int(group.get("CurrentCount") or 0))
                  for group in there.get("InstanceGroups") or [] if group.get("InstanceType")]  # fmt: skip
        hours = [None if (each := price("cluster", type)) is None else each * count for type, count in groups]
        known = [hour for hour in hours if hour is not None]
        yield Cost("cluster", one["ClusterName"], ", ".join(f"{count} x {type}" for type, count in groups),
                   sum(known) if len(known) == len(hours) else None, one.get("CreationTime"), ours=False)  # fmt: skip


def _tracking(sagemaker: Any) -> Iterator[Cost]:
    """MLflow's tracking servers, which cost by the hour until they are stopped. Their prices are in no table here."""
    what = "What MLflow's servers cost cannot be told"
    for one in pages(sagemaker, "list_mlflow_tracking_servers", what, "TrackingServerSummaries"):
        if one.get("IsActive") == "Active" or one.get("TrackingServerStatus") in ("Creating", "Starting", "Stopping"):
            yield Cost("MLflow server", one.get("TrackingServerName", "?"), f"MLflow {one.get('MlflowVersion', '?')}",
                       None, one.get("CreationTime"), ours=False)  # fmt: skip


def _stored(aws: Session, sagemaker: Any) -> Iterator[Cost]:
    """The archives of all models together. They cost cents, and nobody has to hurry."""
    what = "What models cost cannot be told"
    addresses = set()
    for one in pages(sagemaker, "list_models", what, "Models"):
        there = ask(sagemaker, "describe_model", what, ModelName=one["ModelName"])
        for container in (there.get("PrimaryContainer") or {}, *(there.get("Containers") or ())):
            if str(container.get("ModelDataUrl", "")).startswith("s3://"):
                addresses.add(str(container["ModelDataUrl"]))
    client, total, found = aws.client("s3"), 0, 0
    for address in sorted(addresses):
        bucket, key = place(address)
        try:
            with told(what, "s3"):
                total += int(client.head_object(Bucket=bucket, Key=key)["ContentLength"])
                found += 1
        except BinventoryError:  # gone, or another account's
            continue
    if found:
        gigabytes = total / 1e9
        yield Cost("stored models", f"{found} archives", f"{gigabytes:.3f} GB", gigabytes * STORED / HOURS, None,
                   ours=False, lasts=False)  # fmt: skip


def _ours(tags: Mapping[str, str]) -> bool:
    return any(key.startswith(endpoints.TAG) for key in tags) or tags.get("made-by") == "binventory"
