"""Verbs that ask models in the cloud: one photo at an endpoint, or all below a prefix by a batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import counting, terminal
from binventory.cli.data import JsonOption
from binventory.cli.endpoints import (
    INSTANCE,
    GroupsOption,
    ImageOption,
    KmsOption,
    RegionOption,
    RoleOption,
    SubnetOption,
    TagOption,
    full_role,
    network,
    stored_model,
    waited,
)
from binventory.errors import BinventoryError
from binventory.records import Count, Photo

if TYPE_CHECKING:
    from binventory.cloud.batch import Outcome

_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


def query(
    photos: Annotated[list[str], typer.Argument(help="Photos, as count takes them.", metavar="PHOTO")],
    endpoint: Annotated[str, typer.Option("--endpoint", help="The endpoint to ask.", metavar="NAME")],
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send photos to an endpoint, one a call, and show what it answers, unread, and how long that took."""
    from binventory import objects
    from binventory.cloud import runtime
    from binventory.cloud.session import opened
    from binventory.counting.counter import read_photo
    from binventory.photo import SUFFIXES

    aws = opened(region)
    client, errors = aws.client("sagemaker-runtime"), []
    for address in [one for given in photos for one in objects.find(given, SUFFIXES)]:
        try:
            data = read_photo(address).data
            kind = next((kind for start, kind in _KINDS.items() if data.startswith(start)), "application/x-image")
            begun = time.perf_counter()
            answer = runtime.asked(client, endpoint, data, kind)
        except BinventoryError as error:
            errors.append(error)
            if as_json:
                terminal.print_json({"photo": address, "error": error.as_row()})
            else:
                terminal.say(f"error: {error}")
            continue
        milliseconds = (time.perf_counter() - begun) * 1000
        said = answer.body.decode(errors="replace").strip()
        if as_json:
            terminal.print_json({"photo": address, "milliseconds": round(milliseconds, 1), "type": answer.kind,
                                 "variant": answer.variant, "answer": said})  # fmt: skip
        else:
            terminal.print_table(("photo", "took", "answer"), [(address, f"{milliseconds:.0f} ms", said)])
    raise typer.Exit(terminal.status_of(errors))


def batch(
    source: Annotated[str, typer.Option("--from", help="The photos: all below this prefix.", metavar="S3")],
    target: Annotated[str, typer.Option("--to", help="Where answers and the model's archive go.", metavar="S3")],
    role: RoleOption,
    bundle: counting.BundleOption = None,
    image: ImageOption = None,
    instance: Annotated[str, typer.Option(help="The type of its machines.", metavar="TYPE")] = INSTANCE,
    instances: Annotated[int, typer.Option(help="How many machines share the photos.", min=1)] = 1,
    again: Annotated[bool, typer.Option("--again", help="Count anew what has been counted, and pay for it.")] = False,
    kms_key: KmsOption = None,
    subnets: SubnetOption = None,
    groups: GroupsOption = None,
    tags: TagOption = None,
    region: RegionOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a photo.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
) -> None:
    """Count all photos below an S3 prefix on machines that come, count and go, and gather the counts here.

    The same batch asked for again is followed, or gathered, and not paid for twice; Ctrl-C leaves it running. A photo
    that could not be counted is a row with its reason.
    """
    from binventory.cloud import alive as costs
    from binventory.cloud import batch as batches
    from binventory.cloud import deploying
    from binventory.cloud import endpoint as endpoints
    from binventory.cloud.session import opened
    from binventory.errors import UsageError

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other", "both were given", "one of them")
    aws = opened(region)
    role, given = full_role(aws, role), endpoints.as_tags(tags or [])
    photos = batches.listed(source)
    model = stored_model(aws, bundle, image, target, kms_key, None, given)
    wanted = endpoints.check(endpoints.Wanted("binventory-batch", role, model, endpoints.Instances(instance), None,
                                              network(subnets, groups), kms_key, given))  # fmt: skip
    deploying.modelled(aws, wanted)
    asked = batches.Batch(photos, source, target, wanted.id, instance, instances, kms_key, given)
    terminal.say(f"note: {len(photos):,} photos go to {instances} x {instance}")
    said: dict[str, float] = {}
    try:
        done = batches.run(aws, asked, again, lambda status, seconds: waited("batch", status, seconds, said))
    except KeyboardInterrupt:
        terminal.say("note: the batch goes on; the same command follows it again")
        raise
    errors: list[BinventoryError] = []
    rows = terminal.tracked(batches.outcomes(asked, done), "gathering", len(photos))
    counting.print_outcomes(counting.noted(_named(rows), errors), as_json, as_csv)
    each = costs.priced(aws.region)("transform", instance)
    if done.seconds and each is not None:
        dollars = each * instances * done.seconds / 3600
        terminal.say(f"batch: {done.job}, {done.seconds:,.0f} s, ${dollars:.2f}; answers: {done.answers}")
    else:
        terminal.say(f"batch: {done.job}; answers: {done.answers}")
    raise typer.Exit(terminal.status_of(errors))


def _named(rows: Iterator[Outcome]) -> Iterator[tuple[Photo, Count | BinventoryError]]:
    for photo, outcome in rows:
        yield Photo(photo, b""), outcome
