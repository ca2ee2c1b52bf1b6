"""From what a user typed to a job that runs: parts sent to S3, the request checked, asked for, and priced."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from binventory import objects, s3
from binventory import recipe as recipes
from binventory.cloud import contract, images, jobs, prices, refusals
from binventory.cloud.jobs import Channel, JobPlan, Machines, TuningPlan, Walls
from binventory.cloud.session import Account, Session, ask
from binventory.cloud.wish import Wish
from binventory.errors import InputError, MissingError, UsageError
from binventory.recipe import Recipe, parse_value, to_mapping

_SETUP_SECONDS = 8 * 60
"""About what is paid for around the training itself: the image, the data, the export, the upload."""
_MOST_WEIGHTS = 4 * 1024**3
_SHIPPED = ("abid", "open")


@dataclass(frozen=True, slots=True)
class Parts:
    """What is sent to S3 before a job: addresses, the files that go there, and the key of KMS that encrypts them."""

    files: tuple[tuple[str, Path], ...]
    kms_key: str = ""


def plan(
    aws: Session, wish: Wish, recipe: Recipe, data: Sequence[str], base: str | None, weights: str | None, folder: Path
) -> tuple[JobPlan, Parts]:
    """A job that trains by a recipe, and what must lie on S3 before it starts.

    ``folder``: where the archive of the source is packed. Raises UsageError or InputError where parts do not fit.
    """
    from binventory.cloud import source

    refuse_unplaced(wish)
    if recipe.kind == "quick" and wish.instances > 1:
        raise UsageError(f"{wish.instances} instances do no more than one", "recipe quick learns on one alone",
                         "leave out --instances, or --recipe full")  # fmt: skip
    for one in data:
        if not objects.is_remote(one):
            raise InputError(f"{one} does not lie on S3", "a job reads its photos from there",
                             f"binventory cloud upload --data {one} --to {wish.to}/data")  # fmt: skip
    if wish.isolated and wish.wheelhouse is None:
        raise UsageError("--isolated needs --wheelhouse", "without a network the job can fetch no packages",
                         "--wheelhouse DIR")  # fmt: skip
    acting, tags = role(wish.role, aws), tuple(tag(one) for one in wish.tags)
    archive = folder / "sourcedir.tar.gz"
    digest = source.pack(archive, wish.wheelhouse)
    files = [(f"{wish.to}/source/{digest[:16]}/{archive.name}", archive)]
    channels = [
        Channel("train" if not number else f"train-{number + 1}", _prefix(one), "FastFile" if wish.streamed else "File")
        for number, one in enumerate(data)
    ]
    given = {"recipe": recipe.kind} | dict(changed(recipe))
    if base in _SHIPPED:
        given["from"] = str(base)
    elif base:
        channels.append(Channel("model", _sent(base, wish.to, files)))
    if weights:
        channels.append(Channel("weights", _sent(weights, wish.to, files)))
    address = files[0][0]
    if wish.isolated:  # the toolkit cannot reach S3, so SageMaker brings the source
        channels.append(Channel("code", address.rpartition("/")[0] + "/"))
        address = f"/opt/ml/input/data/code/{archive.name}"
    instance = wish.instance or ("ml.m5.xlarge" if recipe.kind == "quick" else "ml.g5.xlarge")
    seconds = round(wish.max_hours * 3600)
    made = JobPlan(
        name=named(wish, recipe.kind).name,
        role=acting, image=wish.image or images.training(aws.region, instance), to=wish.to,
        source=address, program=source.PROGRAM, channels=tuple(channels), settings=tuple(given.items()),
        machines=Machines(instance, wish.instances, wish.volume, seconds, 2 * seconds if wish.spot else 0),
        walls=Walls(wish.subnets, wish.groups, wish.kms_key, wish.kms_key, wish.isolated, wish.isolated),
        tags=tags,
    )  # fmt: skip
    return made, Parts(tuple(files), wish.kms_key)


def named(wish: Wish, kind: str) -> Wish:
    """The wish with a name: its own, or a new one that says what kind of job it is."""
    return wish if wish.name else replace(wish, name=jobs.name(kind, datetime.now(UTC), secrets.token_hex(2)))


def role(given: str, aws: Session) -> str:
    """A role's ARN; of a bare name, that in the account whose credentials these are."""
    if given.startswith("arn:"):
        return given
    account: Account = aws.account()
    return account.role(given)


def tag(text: str) -> tuple[str, str]:
    """A tag from ``KEY=VALUE``. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"Tag {text!r} has no value", "tags read KEY=VALUE", "--tag team=receiving")
    return key, value


def checked(operation: str, request: Mapping[str, Any], name: str) -> None:
    """Raise InputError where SageMaker would refuse a request by its own model: patterns, enumerations, bounds."""
    contract.refuse("sagemaker", operation, request, f"Job {name} cannot be started")


def send(aws: Session, parts: Parts) -> None:
    """Put a job's parts on S3. What is named by its content and there already is sent again, to the same end.

    Raises MissingError where the bucket does not exist, InputError where it lies in another region or refuses.
    """
    for bucket in {address.split("/")[2] for address, _ in parts.files}:
        refuse_bucket(aws, bucket)
    aws.lend()
    for address, path in parts.files:
        s3.write(address, path.read_bytes(), parts.kms_key or None)


def start(aws: Session, kind: Literal["training", "tuning"], request: Mapping[str, Any]) -> bool:
    """Ask for a job; whether it is new. The very same one, asked for before under this name, is not made again.

    Raises UsageError where another job has the name, else as ``session.told``.
    """
    sagemaker = aws.client("sagemaker")
    noun, key = _NOUNS[kind]
    what = f"Job {request[key]} cannot be started"
    try:
        ask(sagemaker, f"create_{noun}", what, **request)
        return True
    except refusals.TakenError:
        there = ask(sagemaker, f"describe_{noun}", what, **{key: request[key]})
        if _same(there, request):
            return False
        raise UsageError(what, "another job has that name", "another --name") from None


def refuse_bucket(aws: Session, bucket: str) -> None:
    """Raise MissingError for a bucket that does not exist, InputError for one that SageMaker could not use here."""
    what = f"Bucket {bucket} cannot be used"
    try:
        there = ask(aws.client("s3"), "head_bucket", what, Bucket=bucket)
    except MissingError:
        raise MissingError(what, "there is none of that name", f"aws s3 mb s3://{bucket}, or another --to") from None
    region = there.get("BucketRegion") or aws.region
    if region != aws.region:
        raise InputError(what, f"it lies in {region}, the job in {aws.region}", f"--region {region}, or another --to")


_NOUNS = {
    "training": ("training_job", "TrainingJobName"),
    "tuning": ("hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
}


def estimate(machines: Machines, region: str, recipe: Recipe, trials: int = 1) -> str:
    """What a job will cost, in a sentence, before it starts. Pure."""
    each = prices.bill("training", machines.instance, machines.count, region, 3600)
    if each.dollars is None:
        return f"no estimate of what it costs: {each.note}"
    said = f"{machines.count} x {machines.instance} cost ${each.dollars:.2f} an hour ({each.note})"
    minutes = recipe.full.minutes if recipe.kind == "full" else 0.0
    if minutes:
        around = _SETUP_SECONDS / 60
        likely = each.dollars * (minutes + around) / 60 * trials
        said += f"; {minutes:g} minutes of training and about {around:g} around them"
        said += f", {trials} times: ${likely:.2f}" if trials > 1 else f": ${likely:.2f}"
    most = each.dollars * machines.seconds / 3600 * trials
    said += f"; at most ${most:.2f}, by the limit of {machines.seconds / 3600:g} h"
    said += f" each for {trials} trials" if trials > 1 else ""
    return said + ("; spot instances cost less, often a third" if machines.wait else "")


def tuned(
    job: JobPlan, recipe: Recipe, trials: int, parallel: int, strategy: str, ranges: Sequence[str],
    choices: Sequence[str],
) -> TuningPlan:  # fmt: skip
    """A tuning job over a training job.

    ``ranges``: ``SETTING=LOW:HIGH[:log]``, ``choices``: ``SETTING=ONE,ANOTHER``, in place of the usual ones. Raises
    UsageError for a strategy or range that is none, or one that the recipe refuses.
    """
    named = {"bayesian": "Bayesian", "hyperband": "Hyperband"}
    if strategy.lower() not in named:
        raise UsageError(f"Strategy {strategy!r} does not exist", "there are bayesian and hyperband",
                         "--strategy bayesian")  # fmt: skip
    chosen = (*(_range(one) for one in ranges), *(_choices(one) for one in choices)) or jobs.RANGES[recipe.kind]
    for one in chosen:
        for value in one.values or (f"{one.low:g}", f"{one.high:g}"):
            recipes.load(recipe.kind, [f"{one.setting}={value}"])
    kind: Any = named[strategy.lower()]
    if kind == "Hyperband" and recipe.kind == "quick":
        raise UsageError("Hyperband cannot tune quick", "it ends trials early, and quick has no epochs",
                         "--strategy bayesian")  # fmt: skip
    return TuningPlan(job, trials, parallel, kind, chosen, (1, recipe.full.epochs), recipe.seed % 2**31)


def _range(text: str) -> jobs.Range:
    setting, _, span = text.partition("=")
    ends = re.fullmatch(r"([^:]+):([^:]+?)(:log)?", span)
    try:
        low, high = (float(ends[1]), float(ends[2])) if ends else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    log = bool(ends and ends[3])
    if not ends or not low < high or (log and low <= 0):
        raise UsageError(f"Range {text!r} is none", "ranges read SETTING=LOW:HIGH or SETTING=LOW:HIGH:log",
                         "--range full.lr=1e-4:1e-3:log")  # fmt: skip
    whole = not re.search(r"[.eE]", ends[1] + ends[2])
    return jobs.Range(setting, (), low, high, whole, "Logarithmic" if log else "Linear")


def _choices(text: str) -> jobs.Range:
    setting, _, listed = text.partition("=")
    values = tuple(one.strip() for one in listed.split(",") if one.strip())
    if len(values) < 2:
        raise UsageError(f"{text!r} leaves no choice", "choices read SETTING=ONE,ANOTHER", "--choose full.batch=16,32")
    return jobs.Range(setting, values)


def changed(recipe: Recipe) -> list[tuple[str, str]]:
    """What a recipe says that the defaults of its kind do not: names and values as ``--set`` takes them. Pure."""

    def differing(values: Mapping[str, Any], usual: Mapping[str, Any], section: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for key, value in values.items():
            if isinstance(value, dict):
                found += differing(value, usual[key], f"{section}{key}.")
            elif value != usual[key] and f"{section}{key}" != "kind":
                plain = isinstance(value, str) and parse_value(value) == value
                found.append((f"{section}{key}", value if plain else json.dumps(value)))
        return found

    return differing(to_mapping(recipe), to_mapping(Recipe(kind=recipe.kind)), "")


def refuse_unplaced(wish: Wish) -> None:
    """Raise UsageError where a job has no place on S3, or no role to act by."""
    if not objects.is_remote(wish.to):
        what = f"{wish.to} is no place on S3" if wish.to else "No place on S3 is named"
        raise UsageError(what, "a job's source, checkpoints and bundle lie there",
                         "--to s3://BUCKET/PREFIX")  # fmt: skip
    if not wish.role:
        raise UsageError("No role is named", "a job acts by a role that SageMaker may take", "--role NAME, as in "
                         "docs/aws.md, or BINVENTORY_ROLE=NAME")  # fmt: skip


def _prefix(address: str) -> str:
    """A prefix that stands for what lies below it alone: SageMaker would take ``bins2/`` for ``bins``, too."""
    return address.rstrip("/") + "/"


def _sent(given: str, to: str, files: list[tuple[str, Path]]) -> str:
    """The address of a file that a job needs; a local one is added to those that are sent."""
    if objects.is_remote(given):
        return given
    import hashlib

    path = Path(given)
    if path.is_dir():
        raise InputError(f"{given} is a folder", "a job takes a bundle as one file", "a .tar.gz or s3:// address")
    digest = hashlib.sha256(objects.read(given, _MOST_WEIGHTS)).hexdigest()[:16]
    address = f"{to}/source/{digest}/{path.name}"
    files.append((address, path))
    return address


def _same(there: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a job that is there was asked for by this very request; tags are told elsewhere."""
    return all(_within(value, there.get(name)) for name, value in request.items() if name != "Tags")


def _within(asked: Any, there: Any) -> bool:
    """Whether an answer holds what was asked; a service adds its own defaults."""
    if isinstance(asked, Mapping):
        return isinstance(there, Mapping) and all(_within(value, there.get(name)) for name, value in asked.items())
    if isinstance(asked, list):
        return isinstance(there, list) and len(asked) == len(there) and all(map(_within, asked, there))
    return bool(asked == there) or (asked is False and there is None)
