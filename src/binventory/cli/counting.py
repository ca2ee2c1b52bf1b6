"""Verbs that turn photos into counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.errors import BinventoryError, OutsideError, UsageError
from binventory.records import Count, Counts, Photo, shown, span

if TYPE_CHECKING:
    from binventory.counting.bundle import Bundle
    from binventory.counting.counter import Counter

BundleOption = Annotated[
    str | None,
    typer.Option("--bundle", help="A bundle: directory, .tar.gz, s3:// address or shipped name.", metavar="BUNDLE"),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint", help="Count at this SageMaker endpoint instead, in the environment's region.", metavar="NAME"
    ),
]
PriorOption = Annotated[
    str | None,
    typer.Option("--prior", help="The mix of counts to expect: training, reference or even. Default: the bundle's."),
]


def count(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, folders, patterns, s3:// addresses, or - for standard input.")
    ],
    bundle: BundleOption = None,
    endpoint: EndpointOption = None,
    prior: PriorOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a photo.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Also draw contact sheets into this folder.")] = None,
) -> None:
    """Count the items in photos: the likeliest count, its confidence, and a 90 % interval.

    A photo that cannot be read is a row with its reason, and the rest goes on; the exit status is then 3.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other", "both were given", "one of them")
    counter: Counts = far_counter(endpoint, bundle, prior) if endpoint else near_counter(bundle, prior)
    named = list(addresses(photos))
    errors: list[BinventoryError] = []
    rows = noted(terminal.tracked(counted(counter, named), "counting", len(named)), errors)
    if pictures:
        rows = _pictured(rows, pictures, errors)
    print_outcomes(rows, as_json, as_csv)
    raise typer.Exit(terminal.status_of(errors))


def print_outcomes(rows: Iterable[Outcome], as_json: bool, as_csv: bool) -> None:
    """Print a row a photo: as JSON, CSV or table."""
    if as_json:
        for photo, outcome in rows:
            terminal.print_json(_row(photo, outcome))
    elif as_csv:
        terminal.print_csv(_COLUMNS, (_cells(photo, outcome) for photo, outcome in rows))
    else:
        terminal.print_table(_COLUMNS, (_cells(photo, outcome) for photo, outcome in rows))


def near_counter(bundle: str | None, prior: str | None) -> Counter:
    """The counter of a bundle here, what to know of it told. Raises BundleError, UsageError."""
    counter = load_counter(bundle, prior)
    if counter.bundle.manifest.note:
        terminal.say(f"note: {' '.join(filter(str.isprintable, counter.bundle.manifest.note.split()))}")
    return counter


def far_counter(endpoint: str, bundle: str | None, prior: str | None) -> Counts:
    """Counts at an endpoint. Raises UsageError for options that only a bundle here can follow, MissingError."""
    from binventory.cloud import runtime
    from binventory.cloud.session import opened
    from binventory.counting.remote import Remote

    refuse_with_endpoint(bundle, prior)
    aws = opened()
    return Remote(runtime.sender(aws, endpoint), most_bytes=runtime.most_bytes(aws, endpoint))


def refuse_with_endpoint(bundle: str | None, prior: str | None) -> None:
    """Raise UsageError for options that an endpoint cannot follow."""
    if bundle is not None or prior is not None:
        option = "--bundle" if bundle is not None else "--prior"
        raise UsageError(f"--endpoint and {option} exclude each other", "an endpoint counts with its own bundle, under "
                         "that bundle's own mix of counts", "one of them")  # fmt: skip


def load_counter(bundle: str | None, prior: str | None) -> Counter:
    """The counter of a bundle under a prior by name. Raises BundleError, UsageError."""
    from binventory.counting import priors
    from binventory.counting.counter import Counter

    counter = Counter.load(bundle)
    tell_licence(counter.bundle)
    return counter if prior is None else counter.under(priors.named(prior, counter.bundle.manifest.trained_prior))


def tell_licence(bundle: Bundle) -> None:
    """Say under which licence a bundle stands, the first time that it is used here."""
    import hashlib

    from platformdirs import user_cache_path

    from binventory import objects

    manifest = bundle.manifest
    key = hashlib.sha256(f"{manifest.name} {manifest.licence}".encode()).hexdigest()[:24]
    note = user_cache_path("binventory") / "licence" / key
    if note.is_file():
        return
    words = " ".join(filter(str.isprintable, f"bundle {manifest.name} stands under {manifest.licence}".split()))
    terminal.say(f"licence: {words} (said once)")
    with suppress(OutsideError):  # a machine without a writable cache hears it each time
        objects.write(str(note), b"")


Outcome = tuple[Photo, Count | BinventoryError]
_COLUMNS = ("photo", "count", "confidence", "90 % interval", "problem")


def addresses(given: Iterable[str]) -> Iterator[str | tuple[str, BinventoryError]]:
    """Every photo that the arguments stand for; an argument that stands for none is its own error."""
    from binventory import objects
    from binventory.photo import SUFFIXES

    for one in given:
        try:
            yield from objects.find(one, SUFFIXES)
        except BinventoryError as error:
            yield one, error


def counted(counter: Counts, named: Iterable[str | tuple[str, BinventoryError]]) -> Iterator[Outcome]:
    """Photos and their outcomes in order; a photo's bytes are dropped when its outcome is there."""
    from binventory.counting.counter import opened
    from binventory.flow import ahead

    waiting: deque[Photo] = deque()

    def found(one: str | tuple[str, BinventoryError]) -> tuple[str, Photo | BinventoryError]:
        return one if isinstance(one, tuple) else (one, opened(one))

    def remembered() -> Iterator[Photo | BinventoryError]:
        for name, photo in ahead(found, named, threads=8):
            waiting.append(photo if isinstance(photo, Photo) else Photo(name, b""))
            yield photo

    for outcome in counter.count_each(remembered()):
        yield waiting.popleft(), outcome


def noted(outcomes: Iterable[Outcome], errors: list[BinventoryError]) -> Iterator[Outcome]:
    """The same outcomes, the errors among them gathered as they pass."""
    for photo, outcome in outcomes:
        if isinstance(outcome, BinventoryError):
            errors.append(outcome)
        yield photo, outcome


def _pictured(outcomes: Iterable[Outcome], folder: Path, errors: list[BinventoryError]) -> Iterator[Outcome]:
    """The same outcomes, drawn into contact sheets as they pass; a sheet that cannot be written stops no count."""
    from binventory import photo as photos
    from binventory.counting import sheet
    from binventory.flow import chunks

    for number, chunk in enumerate(chunks(outcomes, sheet.PER_SHEET), start=1):
        yield from chunk
        drawn = (
            (photo.name, None if isinstance(outcome, BinventoryError) else photos.decode(photo.data), outcome)
            for photo, outcome in chunk
        )
        try:
            for path in sheet.write_sheets(drawn, folder, number):
                terminal.say(f"contact sheet: {path}")
        except BinventoryError as error:
            terminal.say(f"error: {error}")
            errors.append(error)
            yield from outcomes
            return


def _row(photo: Photo, outcome: Count | BinventoryError) -> dict[str, object]:
    if isinstance(outcome, BinventoryError):
        return {"photo": photo.name, "error": outcome.as_row()}
    return outcome.as_row(photo.name)


def _cells(photo: Photo, outcome: Count | BinventoryError) -> tuple[str, ...]:
    if isinstance(outcome, BinventoryError):
        return photo.name, "", "", "", str(outcome)
    return photo.name, shown(outcome.count), f"{outcome.confidence:.0%}", span(outcome.interval), ""
