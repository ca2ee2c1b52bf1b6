"""Verbs for models that answer in the cloud: up, down, approved, and what costs money now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.data import JsonOption
from binventory.errors import BinventoryError, UsageError

if TYPE_CHECKING:
    from binventory.cloud.deploying import Deployed
    from binventory.cloud.endpoint import Hardware, Network, Package, Packed, Standing, Wanted
    from binventory.cloud.session import Session
    from binventory.cloud.settling import Undeployed
    from binventory.counting.bundle import Bundle

RegionOption = Annotated[
    str | None, typer.Option(help="AWS's region. Default: the environment's or ~/.aws/config's.", metavar="REGION")
]
RoleOption = Annotated[
    str,
    typer.Option(
        envvar="BINVENTORY_ROLE",
        help="The role that SageMaker takes to read the model: its ARN, or its name in this account.",
        metavar="ROLE",
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(help="Our container in your registry (ECR). Default: AWS's last PyTorch image.", metavar="IMAGE"),
]
StoreOption = Annotated[
    str | None, typer.Option("--to", help="Where the model's archive is to lie: s3://BUCKET/PREFIX.", metavar="S3")
]
KmsOption = Annotated[str | None, typer.Option(help="A KMS key for archive and disks.", metavar="KEY")]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A tag for everything made; may be given several times.", metavar="K=V"),
]
SubnetOption = Annotated[
    list[str] | None, typer.Option("--subnet", help="A subnet of your VPC to stand in; several.", metavar="ID")
]
GroupsOption = Annotated[
    list[str] | None, typer.Option("--security-group", help="A security group of your VPC; several.", metavar="ID")
]
INSTANCE = "ml.c6i.large"
_QUIET_S = 2.0
_REPEAT_S = 30.0


def deploy(
    name: Annotated[str, typer.Option(help="The endpoint's name.", metavar="NAME")],
    role: RoleOption,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="The bundle: directory, .tar.gz, s3:// or shipped name.")
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(help="Instead of a bundle: a group of the model registry, whose newest approved version is taken, "
                     "or a version's ARN.", metavar="GROUP|ARN"),
    ] = None,
    store: StoreOption = None,
    stop_after: Annotated[
        str | None, typer.Option(help="When it is to end: 90m, 8h, 3d from now.", metavar="TIME")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Let it run, and cost, until it is undeployed.")] = False,
    image: ImageOption = None,
    instance: Annotated[
        str | None, typer.Option(help=f"The type of its machines. Default: {INSTANCE}.", metavar="TYPE")
    ] = None,
    least: Annotated[int, typer.Option("--min", help="How many machines at least.", min=1)] = 1,
    most: Annotated[int | None, typer.Option("--max", help="How many at most, as calls come. Default: --min.")] = None,
    calls: Annotated[
        float, typer.Option("--calls", help="Calls a minute that one machine should serve, when there may be more.")
    ] = 300.0,
    serverless: Annotated[bool, typer.Option("--serverless", help="No machines: paid by use, slow to wake.")] = False,
    memory: Annotated[int, typer.Option(help="Serverless: MB of memory, 1024 to 6144.")] = 4096,
    concurrency: Annotated[int, typer.Option(help="Serverless: calls at once.")] = 5,
    warm: Annotated[int | None, typer.Option(help="Serverless: of these, kept warm, and paid by the hour.")] = None,
    scheduler_role: Annotated[
        str | None,
        typer.Option(envvar="BINVENTORY_SCHEDULER_ROLE", metavar="ROLE",
                     help="The role by which EventBridge Scheduler ends it at its stop time."),
    ] = None,
    group: Annotated[
        str, typer.Option(help="The group of the model registry that the bundle goes into.", metavar="GROUP")
    ] = "binventory",
    register: Annotated[bool, typer.Option("--register/--no-register", help="Put it into the model registry.")] = True,
    kms_key: KmsOption = None,
    subnets: SubnetOption = None,
    groups: GroupsOption = None,
    tags: TagOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Put a bundle up as an endpoint, and wait until it answers. The same again changes nothing; another one updates.

    An endpoint costs by the hour until it is deleted, so that a stop time or --keep must be said. With
    --scheduler-role AWS itself ends it then; without, `cloud alive` names it when it is over, and `cloud undeploy
    --overdue` ends it. What fails leaves nothing that costs.
    """
    from binventory.cloud import alive as costs
    from binventory.cloud import deploying
    from binventory.cloud import endpoint as endpoints
    from binventory.cloud.session import opened

    stop = _stop(stop_after, keep)
    hardware = _hardware(serverless, instance, least, most, calls, memory, concurrency, warm)
    if (bundle is None) == (package is None):
        why = "neither --bundle nor --package was given" if bundle is None else "both --bundle and --package were given"
        raise UsageError("deploy needs one model", why, "--bundle DIR")
    if bundle is not None and store is None:
        raise UsageError(
            "deploy needs a place for the model's archive", "--to was not given", "--to s3://BUCKET/PREFIX"
        )
    aws = opened(region)
    role = full_role(aws, role)
    given = endpoints.as_tags(tags or [])
    model: Packed | Package
    if package is not None:
        model = _approved(aws, package)
    else:
        model = stored_model(aws, bundle, image, str(store), kms_key, group if register else None, given)
    wanted = endpoints.check(
        endpoints.Wanted(name, role, model, hardware, stop, network(subnets, groups), kms_key, given)
    )
    scheduler = full_role(aws, scheduler_role) if scheduler_role else None
    hour = costs.of(hardware, costs.priced(aws.region))
    terminal.say(f"note: {_price_words(hour, hardware)}")
    try:
        done = deploying.deploy(aws, wanted, scheduler, telling(f"endpoint {name}"))
    except KeyboardInterrupt:
        terminal.say(f"note: {name} goes on coming up, and costs. The same command waits for it again, "
                     f"binventory cloud undeploy {name} ends it")  # fmt: skip
        raise
    _tell_deployed(done, wanted, hour, as_json)


def undeploy(
    names: Annotated[list[str] | None, typer.Argument(help="Endpoints to end.", metavar="NAME")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="All of ours whose stop time is over.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All of ours.")] = False,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """End endpoints, and remove what belongs to them: configurations, models, scaling, schedules.

    What is gone already is no error. Archives on S3 and versions in the registry stay; others' endpoints are refused.
    """
    from binventory.cloud import deploying
    from binventory.cloud.session import opened

    if sum(map(bool, (names, overdue, everything))) != 1:
        why = "one of them is wanted, and no other beside it"
        raise UsageError("Endpoints are ended by name, by --overdue or by --all", why, "binventory cloud undeploy NAME")
    aws = opened(region)
    chosen = names or (deploying.overdue(aws, datetime.now(UTC)) if overdue else deploying.ours(aws))
    errors: list[BinventoryError] = []
    for name in chosen:
        gone = deploying.undeploy(aws, name, telling(f"endpoint {name}"))
        errors += gone.left
        _tell_undeployed(gone, as_json)
    if not chosen:
        terminal.say("note: there is nothing to end")
    raise typer.Exit(terminal.status_of(errors))


def stored_model(
    aws: Session, bundle: str | None, image: str | None, store: str, kms: str | None, group: str | None,
    tags: tuple[tuple[str, str], ...],
) -> Packed:  # fmt: skip
    """A bundle as a model on S3, registered in ``group`` unless that is None. Raises BundleError, InputError …"""
    from binventory.cli.counting import tell_licence
    from binventory.cloud import artefact
    from binventory.cloud import endpoint as endpoints
    from binventory.counting import bundle as bundles

    whole = bundles.load(bundle)
    tell_licence(whole)
    environment: dict[str, str] = {}
    code = None
    if image is None:
        from binventory.cloud import images, source

        image = images.inference(aws.region)
        environment = endpoints.dlc_environment(aws.region)
        code = artefact.code(source.wheel(), source.requirements())
        terminal.say(f"note: {endpoints.DLC_NOTE}")
    data = artefact.packed(whole, code)
    digest = artefact.digest(data)
    address = artefact.stored(aws, data, store, f"models/{digest}/model.tar.gz", kms)
    model = endpoints.Packed(image, address, environment)
    if group is not None:
        _register(aws, whole, model, digest, store, kms, group, tags)
    return model


def _register(
    aws: Session, whole: Bundle, model: Packed, digest: str, store: str, kms: str | None, group: str,
    tags: tuple[tuple[str, str], ...],
) -> None:  # fmt: skip
    import hashlib

    from binventory.cloud import artefact, registry

    report = registry.report_bytes(whole.manifest)
    quality = artefact.stored(aws, report, store, f"models/{digest}/evaluation-{artefact.digest(report)}.json", kms)
    marked = [{"Key": key, "Value": value} for key, value in tags]
    version = registry.registered(
        aws, group, model, whole.manifest, digest, quality, hashlib.sha256(report).hexdigest(), marked
    )
    terminal.say(f"registered: {version.arn}, {version.status}")


def _approved(aws: Session, package: str) -> Package:
    from binventory.cloud import registry
    from binventory.cloud.endpoint import Package

    return Package(registry.approved(aws, package).arn)


def full_role(aws: Session, role: str) -> str:
    """A role's ARN, of its ARN or its name in this account. Raises as ``session.told`` does."""
    return role if role.startswith("arn:") else aws.account().role(role)


def telling(what: str) -> Callable[[Standing, float], None]:
    """Says on stderr how something stands, when that changes and every half minute."""
    said: dict[str, float] = {}

    def tell(standing: Standing, seconds: float) -> None:
        waited(what, standing.status, seconds, said)

    return tell


def waited(what: str, status: str, seconds: float, said: dict[str, float]) -> None:
    """Say a status that is new or half a minute old; ``said`` remembers when which was said."""
    if (status not in said and (said or seconds > _QUIET_S)) or seconds - said.get(status, seconds) > _REPEAT_S:
        terminal.say(f"{what}: {status}, {int(seconds) // 60}:{int(seconds) % 60:02}")
        said[status] = seconds
    said.setdefault(status, seconds)


def _stop(stop_after: str | None, keep: bool) -> datetime | None:
    from binventory.cloud.endpoint import until

    if keep and stop_after:
        raise UsageError("An endpoint cannot end and be kept", "both --stop-after and --keep were given", "one of them")
    if stop_after:
        return until(stop_after, datetime.now(UTC))
    if keep:
        return None
    raise UsageError("deploy needs to know when the endpoint ends",
                     "a forgotten one costs until someone sees the bill", "--stop-after 8h, or --keep")  # fmt: skip


def _hardware(
    serverless: bool, instance: str | None, least: int, most: int | None, calls: float, memory: int, concurrency: int,
    warm: int | None,
) -> Hardware:  # fmt: skip
    from binventory.cloud.endpoint import Instances, Serverless

    if serverless:
        if instance or most or least != 1:
            raise UsageError("A serverless endpoint has no machines", "--instance, --min or --max was given",
                             "leave them out, or --serverless")  # fmt: skip
        return Serverless(memory, concurrency, warm)
    return Instances(instance or INSTANCE, least, least if most is None else most, calls)


def network(subnets: list[str] | None, groups: list[str] | None) -> Network | None:
    """The network that two options name together, if they do. Raises UsageError where one is missing."""
    from binventory.cloud.endpoint import Network

    if bool(subnets) != bool(groups):
        raise UsageError("A network needs subnets and security groups", "one of them was given",
                         "--subnet ID --security-group ID")  # fmt: skip
    return Network(tuple(subnets or ()), tuple(groups or ())) if subnets else None


def _price_words(hour: float | None, hardware: Hardware) -> str:
    from binventory.cloud.alive import HOURS
    from binventory.cloud.endpoint import Instances

    if hour is None:
        return "what it costs an hour is not known here: see https://aws.amazon.com/sagemaker/pricing"
    if not hour:
        return "it costs by use alone"
    each = (
        f", of up to {hardware.most} machines"
        if isinstance(hardware, Instances) and hardware.most > hardware.least
        else ""
    )
    return f"it costs ${hour:.3f} an hour, ${hour * HOURS:,.2f} a month at least{each}" if each else (
        f"it costs ${hour:.3f} an hour, ${hour * HOURS:,.2f} a month")  # fmt: skip


def _tell_deployed(done: Deployed, wanted: Wanted, hour: float | None, as_json: bool) -> None:
    from binventory.cloud.alive import HOURS
    from binventory.cloud.endpoint import stamp

    for note in done.notes:
        terminal.say(f"note: {note}")
    stop = stamp(done.stop) if done.stop else None
    if as_json:
        month = None if hour is None else round(hour * HOURS, 2)
        terminal.print_json({"endpoint": done.name, "outcome": done.outcome, "config": wanted.id, "stop": stop,
                             "ended_by_aws": done.ended, "month": month})  # fmt: skip
    else:
        how = (
            "by AWS itself" if done.ended else "by nobody: cloud alive names it then, cloud undeploy --overdue ends it"
        )
        rows = [("endpoint", done.name), ("outcome", done.outcome), ("configuration", wanted.id),
                ("ends", f"{stop}, {how}" if stop else "never: it is kept until cloud undeploy"),
                ("count", f"binventory count --endpoint {done.name} PHOTO …")]  # fmt: skip
        terminal.print_table(("", ""), rows)


def _tell_undeployed(gone: Undeployed, as_json: bool) -> None:
    for error in gone.left:
        terminal.say(f"error: {error}")
    if as_json:
        terminal.print_json({"endpoint": gone.name, "removed": gone.removed,
                             "left": [error.as_row() for error in gone.left]})  # fmt: skip
    else:
        terminal.print_table(("endpoint", "removed"), [(gone.name, ", ".join(gone.removed) or "nothing was there")])
