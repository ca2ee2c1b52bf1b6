"""Verbs for jobs on SageMaker, and the door through which ``train`` and ``tune`` lead there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binventory.cli import terminal, watching
from binventory.cli.data import (
    BestOption,
    ChooseOption,
    DataOption,
    FromOption,
    JsonOption,
    RangeOption,
    RecipeOption,
    SetOption,
    catalogued,
)
from binventory.cloud.wish import Wish

if TYPE_CHECKING:
    from binventory.cloud.session import Session
    from binventory.recipe import Recipe

RegionOption = Annotated[str | None, typer.Option("--region", help="AWS's region. Default: your environment's.")]
OutOption = Annotated[
    str | None, typer.Option("--out", help="Also copy the finished bundle: a directory, a .tar.gz or s3://.")
]


def wished(
    to: Annotated[str, typer.Option(help="Where the job's parts lie.", metavar="s3://BUCKET/PREFIX")] = "",
    role: Annotated[
        str, typer.Option(help="The role that the job acts by: a name, or an ARN.", envvar="BINVENTORY_ROLE")
    ] = "",
    name: Annotated[str, typer.Option(help="The job's name; the same command again then finds the same job.")] = "",
    image: Annotated[str, typer.Option(help="The image to run in. Default: AWS's of PyTorch.", metavar="URI")] = "",
    instance: Annotated[
        str, typer.Option(help="The instance type. Default: ml.g5.xlarge; for quick ml.m5.xlarge.")
    ] = "",
    instances: Annotated[int, typer.Option(help="How many instances train together.", min=1)] = 1,
    volume: Annotated[int, typer.Option(help="Disk of each instance, in GB.", min=1)] = 50,
    max_hours: Annotated[float, typer.Option(help="The longest that it may run.", min=0.05, max=672)] = 4.0,
    spot: Annotated[
        bool, typer.Option("--spot", help="Spot instances: cheaper, and gone on from checkpoints.")
    ] = False,
    fast_file: Annotated[
        bool, typer.Option("--fast-file", help="Read photos as they are needed, instead of copying them first.")
    ] = False,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Without any network; what instances tell each other is encrypted.")
    ] = False,
    subnet: Annotated[list[str] | None, typer.Option(help="A subnet of your VPC; repeats.", metavar="ID")] = None,
    security_group: Annotated[
        list[str] | None, typer.Option(help="A security group of your VPC; repeats.", metavar="ID")
    ] = None,
    kms_key: Annotated[str, typer.Option(help="A key of KMS for the disks and for what is written.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeats.", metavar="KEY=VALUE")] = None,
    wheelhouse: Annotated[Path | None, typer.Option(help="Wheels that the job takes along.", metavar="DIR")] = None,
    region: RegionOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request as JSON, send nothing.")] = False,
) -> Wish:
    """What was asked of SageMaker, from the options by which it is asked."""
    return Wish(
        to=to.rstrip("/"), role=role, name=name, region=region, image=image, instance=instance, instances=instances,
        volume=volume, max_hours=max_hours, spot=spot, streamed=fast_file, isolated=isolated,
        subnets=tuple(subnet or ()), groups=tuple(security_group or ()), kms_key=kms_key, tags=tuple(tag or ()),
        wheelhouse=wheelhouse, wait=wait, dry=dry_run,
    )  # fmt: skip


def elsewhere(away: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb ``--on local|sagemaker``, the options of ``away``, which does it on SageMaker, and those of a wish.

    ``away`` takes its own options and ``wish``. Options that it shares with the verb keep the verb's own help; one that
    belongs to the other place is refused.
    """

    def double(here: Callable[..., None]) -> Callable[..., None]:
        own, theirs, wishes = (dict(inspect.signature(one, eval_str=True).parameters) for one in (here, away, wished))
        del theirs["wish"]
        help = "Where it is done: local or sagemaker."
        on = inspect.Parameter(
            "on", inspect.Parameter.KEYWORD_ONLY, default="local", annotation=Annotated[str, typer.Option(help=help)]
        )
        every = own | {"on": on} | {name: one for name, one in (theirs | wishes).items() if name not in own}

        @functools.wraps(here)
        def verb(**given: Any) -> None:
            from binventory.errors import UsageError

            place = given.pop("on")
            if place == "local":
                _refuse_others(given, theirs | wishes, own, "sagemaker")
                here(**{name: given[name] for name in own})
            elif place == "sagemaker":
                _refuse_others(given, own, theirs | wishes, "local")
                wish = wished(**{name: given[name] for name in wishes})
                away(**{name: given[name] for name in theirs}, wish=wish)
            else:
                raise UsageError(f"There is no place {place!r}", "it is done here or on SageMaker", "--on sagemaker")

        verb.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in every.values()]
        )
        verb.__annotations__ = {name: one.annotation for name, one in every.items()}
        del verb.__wrapped__
        return verb

    return double


def _refuse_others(
    given: Mapping[str, Any], others: Mapping[str, inspect.Parameter], own: Mapping[str, object], place: str
) -> None:
    """Raise UsageError for an option that was given and goes with another place; one from the environment is not."""
    from binventory.errors import UsageError

    for name, parameter in others.items():
        if name not in own and name != "role" and given[name] != parameter.default:
            option = _option(parameter)
            raise UsageError(f"{option} goes with --on {place}", "it was given without it",
                             f"leave out {option}, or --on {place}")  # fmt: skip


def _option(parameter: inspect.Parameter) -> str:
    """An option as it is typed."""
    for told in getattr(parameter.annotation, "__metadata__", ()):
        named = [*([told.default] if isinstance(told.default, str) else []), *(told.param_decls or ())]
        if named:
            return str(named[0]).partition("/")[0]
    return "--" + parameter.name.replace("_", "-")


def train(
    wish: Wish,
    data: DataOption,
    out: str,
    recipe: RecipeOption = "quick",
    settings: SetOption = None,
    base: str | None = None,
    weights: Path | None = None,
    work: Path | None = None,
    as_json: JsonOption = False,
) -> None:
    """Train on SageMaker: send photos and source, start the job, follow it, and copy the bundle."""
    from binventory import recipe as recipes
    from binventory.cloud import jobs, launching, session
    from binventory.counting import bundle as bundles

    chosen = recipes.load(recipe, settings or ())
    bundles.refuse_overwriting(out)
    aws = session.opened(wish.region)
    with TemporaryDirectory(prefix="binventory-") as folder:
        placed = _placed(aws, wish, data, work, chosen)
        plan, parts = launching.plan(aws, wish, chosen, placed, base, _address(weights), Path(folder))
        request = jobs.training_request(plan)
        launching.checked("CreateTrainingJob", request, plan.name)
        terminal.say(f"note: {launching.estimate(plan.machines, aws.region, chosen)}")
        if wish.dry:
            terminal.print_json(request)
            return
        launching.send(aws, parts)
    watching.begin(aws, "training", request, plan.name)
    if wish.wait:
        watching.finish(aws, watching.followed(aws, plan.name), out, as_json)
    else:
        watching.leave(aws, plan.name, out, as_json)


def tune(
    wish: Wish,
    data: DataOption,
    recipe: RecipeOption = "full",
    settings: SetOption = None,
    base: FromOption = None,
    weights: Path | None = None,
    work: Path | None = None,
    trials: Annotated[int, typer.Option(help="How many trainings to try.", min=1, max=750)] = 12,
    jobs: Annotated[int, typer.Option(help="How many of them at once.", min=1, max=100)] = 1,
    strategy: Annotated[str, typer.Option(help="How SageMaker chooses: bayesian or hyperband.")] = "bayesian",
    ranges: RangeOption = None,
    choices: ChooseOption = None,
    out: BestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune on SageMaker: a tuning job over learning rate, batch size, momentum and image size, followed to its end."""
    from binventory import objects
    from binventory import recipe as recipes
    from binventory.cloud import jobs as requests
    from binventory.cloud import launching, session

    chosen = recipes.load(recipe, settings or ())
    aws = session.opened(wish.region)
    with TemporaryDirectory(prefix="binventory-") as folder:
        named, placed = launching.named(wish, "tune"), _placed(aws, wish, data, work, chosen)
        job, parts = launching.plan(aws, named, chosen, placed, base, _address(weights), Path(folder))
        plan = launching.tuned(job, chosen, trials, jobs, strategy, ranges or (), choices or ())
        request = requests.tuning_request(plan)
        launching.checked("CreateHyperParameterTuningJob", request, job.name)
        terminal.say(f"note: {launching.estimate(job.machines, aws.region, chosen, trials)}")
        if wish.dry:
            terminal.print_json(request)
            return
        launching.send(aws, parts)
    watching.begin(aws, "tuning", request, job.name)
    if not wish.wait:
        watching.leave(aws, job.name, None, as_json)
        return
    state = watching.followed(aws, job.name)
    watching.finish(aws, state, None, as_json)
    if out and state.best:
        aws.lend()
        best = [f"{name}={value}" for name, value in state.best.settings.items()]
        objects.write(out, recipes.to_toml(recipes.load(recipe, [*(settings or ()), *best])).encode())


def _placed(aws: Session, wish: Wish, data: list[str], work: Path | None, recipe: Recipe) -> list[str]:
    """Addresses of the photos on S3; those that lie here are uploaded as ``cloud upload`` does it, once."""
    from binventory import objects
    from binventory.cloud import launching, upload
    from binventory.data import catalogue as catalogues

    here = [one for one in data if not objects.is_remote(one)]
    if not here:
        return data
    launching.refuse_unplaced(wish)
    address = f"{wish.to}/data/{(work or catalogues.work_for(here)).name}"
    if not wish.dry:
        launching.refuse_bucket(aws, wish.to.split("/")[2])
        found = catalogues.split_sides(catalogued(here, work, recipe), recipe.split, recipe.seed)
        terminal.tell(found.notes, found.rejects, found.work)
        to = upload.place(address, wish.kms_key or None, aws.signer())
        done = upload.upload(found, to, recipe, track=terminal.tracked)
        terminal.say(f"note: {done.photos:,} photos lie in {address}; {done.bytes:,} bytes were sent")
    return [address, *(one for one in data if objects.is_remote(one))]


def _address(weights: Path | None) -> str | None:
    """A path as it was typed: a path takes one of an address's slashes."""
    return None if weights is None else str(weights).replace("s3:/", "s3://", 1)


def list_jobs(
    contains: Annotated[str, typer.Option("--name", help="Jobs whose names hold this.")] = "binventory",
    most: Annotated[int, typer.Option("--limit", help="The newest so many of each kind.", min=1)] = 20,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """List training and tuning jobs: their state, how long they ran, and what they cost."""
    from binventory.cloud import following, prices, session

    aws = session.opened(region)
    rows = []
    for state in terminal.tracked(following.listed(aws, most, contains), "looking", None):
        row = watching.row(aws, state)
        if as_json:
            terminal.print_json(row)
            continue
        seconds = row["billed_seconds"] if row["billed_seconds"] is not None else row["seconds"]
        figure, dollars = row["validate_log_loss"], row["dollars"]
        rows.append((
            state.name, state.kind, state.status, "" if seconds is None else f"{seconds:,} s",
            "" if dollars is None else prices.said(dollars), "" if figure is None else f"{figure:.4f}",
        ))  # fmt: skip
    if not as_json:
        terminal.print_table(("job", "kind", "state", "billed", "cost", "validate_log_loss"), rows)


def attach(
    name: Annotated[str, typer.Argument(help="A training or tuning job.", metavar="NAME")],
    out: OutOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a job to its end, from wherever: its states, its log, and what it has cost. It may have ended already."""
    from binventory.cloud import session
    from binventory.counting import bundle as bundles

    if out:
        bundles.refuse_overwriting(out)
    aws = session.opened(region)
    watching.finish(aws, watching.followed(aws, name), out, as_json)


def stop(
    name: Annotated[str, typer.Argument(help="A training or tuning job.", metavar="NAME")],
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a job; one that has ended stays as it is.

    What it has learned since its last checkpoint is lost: in recipe full at most full.save_seconds (60) of training.
    """
    from binventory.cloud import following, session

    aws = session.opened(region)
    state = following.stop(aws, name)
    if as_json:
        terminal.print_json(watching.row(aws, state))
    else:
        terminal.print_table(("", ""), [("job", name), ("state", state.status)])


def register(app: typer.Typer) -> None:
    """Add these verbs to the family ``cloud``."""
    app.command("jobs")(list_jobs)
    app.command()(attach)
    app.command()(stop)
