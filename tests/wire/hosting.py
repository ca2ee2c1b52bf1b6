"""Models and endpoints of the wire: endpoints really stand up, as our hosting app.

A model's archive is fetched from S3 and unpacked into a folder as SageMaker does at /opt/ml/model; the endpoint is
``binventory serve --hosting`` over it, in a process of its own, and calls are forwarded to it.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from wire.container import Container, stood_up
from wire.server import RefusalError, Reply, Request, Wire, arn, paged
from wire.store import Store


@dataclass(slots=True)
class Endpoint:
    """An endpoint's books and its container. ``variants``: what runs, whatever became of the configuration;
    ``coming``: the configuration of an update; ``machines``: how many autoscaling has made of them, None for as many
    as the configuration says."""

    config: str
    variants: list[dict[str, Any]]
    status: str
    made: datetime
    changed: datetime
    tags: list[dict[str, str]]
    reason: str = ""
    container: Container | None = None
    coming: str = ""
    machines: int | None = None


@dataclass(slots=True)
class Hosting:
    """The books of everything that serves. ``broken``: images whose container does not start."""

    wire: Wire
    store: Store
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    transforms: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What listings say of what this wire does not run: notebooks, apps, clusters, processing jobs, MLflow."""
    broken: set[str] = field(default_factory=set)
    threads: list[threading.Thread] = field(default_factory=list)

    def later(self, work: Any, *given: Any) -> None:
        """Do something in a thread of its own, as the service does what takes minutes."""
        thread = threading.Thread(target=work, args=given, daemon=True)
        self.threads.append(thread)
        thread.start()

    def end(self) -> None:
        for thread in self.threads:
            thread.join(30)
        for one in self.endpoints.values():
            if one.container:
                one.container.end()


_OTHERS = (("ListNotebookInstances", "NotebookInstances"), ("ListApps", "Apps"), ("ListClusters", "ClusterSummaries"),
           ("ListProcessingJobs", "ProcessingJobSummaries"),
           ("ListMlflowTrackingServers", "TrackingServerSummaries"))  # fmt: skip


def install(wire: Wire, store: Store) -> Hosting:
    """Let the wire answer for everything that serves."""
    books = Hosting(wire, store)
    wire.ending(books.end)
    for name, answer in _ANSWERS.items():
        wire.on(f"SageMaker.{name}", locked(books, answer))
    for name, key in _OTHERS:
        wire.on(f"SageMaker.{name}", partial(paged, books.others.setdefault(name, []), key=key))
    wire.route("POST", r"/endpoints/([^/]+)/invocations", lambda request: _invoke(books, request))
    return books


def locked(books: Hosting, answer: Any) -> Any:
    def held(request: dict[str, Any]) -> Mapping[str, Any]:
        with books.wire.lock:
            found: Mapping[str, Any] = answer(books, request)
            return found

    return held


def now() -> datetime:
    return datetime.now(UTC)


def missing(kind: str, name: str) -> RefusalError:
    return RefusalError("ValidationException", f'Could not find {kind} "{arn(kind.replace(" ", "-"), name)}".')


def new(books: dict[str, Any], kind: str, name: str) -> None:
    if name in books:
        raise RefusalError("ValidationException", f'Cannot create already existing {kind} "{arn(kind, name)}".')


def remember(books: Hosting, place: str, request: Mapping[str, Any]) -> None:
    books.tags[place] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}


def _create_model(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelName"]
    new(books.models, "model", name)
    container = request["PrimaryContainer"]
    if package := container.get("ModelPackageName"):
        found = books.packages.get(package)
        if found is None:
            raise missing("model-package", package)
        if found["ModelApprovalStatus"] != "Approved":
            raise RefusalError("ValidationException", f"Model package {package} is not approved.")
    else:
        try:
            books.store.read(container["ModelDataUrl"])
        except Exception:
            said = f"Could not find model data at {container['ModelDataUrl']}."
            raise RefusalError("ValidationException", said) from None
    books.models[name] = {**request, "CreationTime": now(), "ModelArn": arn("model", name)}
    remember(books, arn("model", name), request)
    return {"ModelArn": arn("model", name)}


def _describe_model(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    if request["ModelName"] not in books.models:
        raise missing("model", request["ModelName"])
    return {key: value for key, value in books.models[request["ModelName"]].items() if key != "Tags"}


def _delete_model(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    if books.models.pop(request["ModelName"], None) is None:
        raise missing("model", request["ModelName"])
    return {}


def _list_models(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: one[key] for key in ("ModelName", "ModelArn", "CreationTime")} for one in books.models.values()
            if request.get("NameContains", "") in one["ModelName"]]  # fmt: skip
    return paged(rows, request, "Models")


def _create_config(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointConfigName"]
    new(books.configs, "endpoint-config", name)
    for variant in request["ProductionVariants"]:
        if variant["ModelName"] not in books.models:
            raise missing("model", variant["ModelName"])
        if ("ServerlessConfig" in variant) == ("InstanceType" in variant):
            raise RefusalError("ValidationException", "Give InstanceType or ServerlessConfig, and not both.")
    books.configs[name] = {**request, "CreationTime": now(), "EndpointConfigArn": arn("endpoint-config", name)}
    remember(books, arn("endpoint-config", name), request)
    return {"EndpointConfigArn": arn("endpoint-config", name)}


def _describe_config(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    if request["EndpointConfigName"] not in books.configs:
        raise missing("endpoint-config", request["EndpointConfigName"])
    return {key: value for key, value in books.configs[request["EndpointConfigName"]].items() if key != "Tags"}


def _delete_config(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointConfigName"]
    if books.configs.pop(name, None) is None:
        raise missing("endpoint-config", name)
    return {}


def _list_configs(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    keys, part = ("EndpointConfigName", "EndpointConfigArn", "CreationTime"), request.get("NameContains", "")
    rows = [{key: one[key] for key in keys} for name, one in books.configs.items() if part in name]
    return paged(rows, request, "EndpointConfigs")


def _create_endpoint(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name, config = request["EndpointName"], request["EndpointConfigName"]
    new(books.endpoints, "endpoint", name)
    if config not in books.configs:
        raise missing("endpoint-config", config)
    books.endpoints[name] = Endpoint(
        config, books.configs[config]["ProductionVariants"], "Creating", now(), now(), request.get("Tags", [])
    )
    remember(books, arn("endpoint", name), request)
    books.later(_start, books, name, config)
    return {"EndpointArn": arn("endpoint", name)}


def _update_endpoint(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name, config = request["EndpointName"], request["EndpointConfigName"]
    one = _endpoint(books, name)
    if one.status != "InService":
        raise RefusalError("ValidationException", f'Cannot update in-progress endpoint "{arn("endpoint", name)}".')
    if config == one.config:
        raise RefusalError("ValidationException", f"Endpoint configuration {config} is the one in use.")
    if config not in books.configs:
        raise missing("endpoint-config", config)
    if f"endpoint/{name}/variant/AllTraffic" in books.targets:
        raise RefusalError("ValidationException", "The variant AllTraffic is registered as a scalable target.")
    one.status, one.coming = "Updating", config
    one.machines = one.machines if request.get("RetainAllVariantProperties") else None
    books.later(_start, books, name, config)
    return {"EndpointArn": arn("endpoint", name)}


def _start(books: Hosting, name: str, config: str) -> None:
    """Stand up the container of a configuration; where it is up, it takes the place of the old one."""
    variants = books.configs[config]["ProductionVariants"]
    model = books.models[variants[0]["ModelName"]]
    container, reason = stood_up(books, model)
    with books.wire.lock:
        one = books.endpoints.get(name)
        if one is None or one.status == "Deleting":  # deleted meanwhile
            if container:
                container.end()
            return
        old, updating = one.container, one.status == "Updating"
        one.changed, one.coming = now(), ""
        if container is None and updating:
            one.status, one.reason = "InService", reason
            return
        one.status, one.reason = ("InService", "") if container else ("Failed", reason)
        one.container, one.config, one.variants = container, config, variants
    if old:
        old.end()


def _endpoint(books: Hosting, name: str) -> Endpoint:
    if name not in books.endpoints:
        raise missing("endpoint", name)
    return books.endpoints[name]


def _describe_endpoint(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointName"]
    one = _endpoint(books, name)
    variants = []
    for variant in one.variants:
        there: dict[str, Any] = {"VariantName": variant["VariantName"]}
        if "ServerlessConfig" in variant:
            there["CurrentServerlessConfig"] = variant["ServerlessConfig"]
        else:
            count = variant["InitialInstanceCount"] if one.machines is None else one.machines
            there["CurrentInstanceCount"] = there["DesiredInstanceCount"] = count
        variants.append(there)
    said: dict[str, Any] = {"FailureReason": one.reason} if one.reason else {}
    if one.coming:
        said["PendingDeploymentSummary"] = {"EndpointConfigName": one.coming}
    return {
        "EndpointName": name, "EndpointArn": arn("endpoint", name), "EndpointConfigName": one.config,
        "EndpointStatus": one.status, "CreationTime": one.made, "LastModifiedTime": one.changed,
        "ProductionVariants": variants, **said,
    }  # fmt: skip


def _delete_endpoint(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointName"]
    one = _endpoint(books, name)
    one.status = "Deleting"
    books.later(_take_down, books, name, one)
    return {}


def _take_down(books: Hosting, name: str, one: Endpoint) -> None:
    if one.container:
        one.container.end()
    with books.wire.lock:
        books.endpoints.pop(name, None)
        books.tags.pop(arn("endpoint", name), None)
        books.targets.pop(f"endpoint/{name}/variant/AllTraffic", None)


def _list_endpoints(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    rows = [{"EndpointName": name, "EndpointArn": arn("endpoint", name), "CreationTime": one.made,
             "LastModifiedTime": one.changed, "EndpointStatus": one.status}
            for name, one in books.endpoints.items()]  # fmt: skip
    return paged(rows, request, "Endpoints")


def _invoke(books: Hosting, request: Request) -> Reply:
    """The runtime: forward a call to the container, and tell its failure as SageMaker does."""
    name = urllib.parse.unquote(request.caught[0])
    one = books.endpoints.get(name)
    if one is None or one.container is None or one.status not in ("InService", "Updating"):
        raise RefusalError("ValidationError", f"Endpoint {name} of account 123456789012 not found.")
    serverless = "ServerlessConfig" in books.configs[one.config]["ProductionVariants"][0]
    most = 4 * 1024 * 1024 if serverless else 6_291_456
    if len(request.body) > most:
        raise RefusalError("ValidationError", f"Request body larger than {most} bytes.")
    passed = ("content-type", "accept")
    headers = {header: value for header, value in request.headers.items() if header.lower() in passed}
    try:
        answer = one.container.call("POST", "/invocations", request.body, headers)
    except OSError:
        answer = Reply(b"worker died", 500)
    if answer.status == 200:
        return Reply(answer.body, 200, {**answer.headers, "x-Amzn-Invoked-Production-Variant": "AllTraffic"})
    said = {
        "Message": f"Received error ({answer.status}) from model. See the logs.",
        "OriginalStatusCode": answer.status,
        "OriginalMessage": answer.body.decode(errors="replace")[:2000],
        "LogStreamArn": "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/sagemaker/Endpoints/x",
    }
    return Reply(json.dumps(said).encode(), 424, {"Content-Type": "application/json", "x-amzn-ErrorType": "ModelError"})


def _add_tags(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    there = books.tags.setdefault(request["ResourceArn"], {})
    there.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
    return {"Tags": [{"Key": key, "Value": value} for key, value in there.items()]}


def _list_tags(books: Hosting, request: dict[str, Any]) -> dict[str, Any]:
    found = books.tags.get(request["ResourceArn"], {})
    return {"Tags": [{"Key": key, "Value": value} for key, value in found.items()]}


_ANSWERS: dict[str, Any] = {
    "CreateModel": _create_model, "DescribeModel": _describe_model, "DeleteModel": _delete_model,
    "ListModels": _list_models, "CreateEndpointConfig": _create_config, "DescribeEndpointConfig": _describe_config,
    "DeleteEndpointConfig": _delete_config, "ListEndpointConfigs": _list_configs,
    "CreateEndpoint": _create_endpoint, "UpdateEndpoint": _update_endpoint, "DescribeEndpoint": _describe_endpoint,
    "DeleteEndpoint": _delete_endpoint, "ListEndpoints": _list_endpoints, "AddTags": _add_tags, "ListTags": _list_tags,
}  # fmt: skip
