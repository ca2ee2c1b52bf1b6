"""Verbs that make bundles and judge them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import jobs, terminal
from binventory.cli.counting import (
    BundleOption,
    EndpointOption,
    PriorOption,
    far_counter,
    load_counter,
    refuse_with_endpoint,
    tell_licence,
)
from binventory.cli.data import (
    DataOption,
    FromOption,
    JsonOption,
    RecipeOption,
    SetOption,
    WeightsOption,
    WorkOption,
    catalogued,
    tell_missing,
)

if TYPE_CHECKING:
    from binventory.counting.bundle import Bundle
    from binventory.counting.priors import Prior
    from binventory.data.catalogue import Catalogue
    from binventory.learning.evaluate import Evaluation
    from binventory.learning.full.run import Place
    from binventory.recipe import Recipe
    from binventory.records import Counts


@jobs.elsewhere(jobs.train)
def train(
    data: DataOption,
    out: Annotated[str, typer.Option(help="The bundle to write: a directory, a .tar.gz or s3://.", metavar="BUNDLE")],
    recipe: RecipeOption = "quick",
    settings: SetOption = None,
    base: FromOption = None,
    weights: WeightsOption = None,
    work: WorkOption = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Full alone: where its checkpoint lies. Default: in the work folder.", metavar="DIR"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle from photos and their counts: catalogue, split, fit, calibrate. Cached work is not done again.

    quick fits a head to a finished trunk, in minutes. full fine-tunes a whole network (extra ``train``): it goes on
    where it was killed, and under torchrun with several processes.
    """
    from binventory import recipe as recipes
    from binventory.counting import bundle as bundles
    from binventory.data import catalogue as catalogues

    chosen = recipes.load(recipe, settings or ())
    if chosen.kind == "full" and _assisting(data, work, checkpoints):
        return
    bundles.refuse_overwriting(out)
    if chosen.kind == "full":
        make = _full(chosen, base, weights, data, work, checkpoints)
    else:
        make = _quick(chosen, base, weights, checkpoints)
    found = catalogued(data, work, chosen)
    found = catalogues.split_sides(found, chosen.split, chosen.seed)
    terminal.tell(found.notes, found.rejects, found.work)
    name = Path(out.rstrip("/")).name.removesuffix(".tar.gz")
    made = make(found, name)
    bundles.save(made, out)
    scored, left_out = made.manifest.figures["validate"], made.manifest.left_out
    if as_json:
        terminal.print_json({"bundle": out, "work": str(found.work), "validate": scored, "left_out": left_out})
    else:
        low, high = scored["accuracy_ci"]
        rows = [
            ("bundle", out),
            ("learnt from", " + ".join(f"{n['labelled']:,} {side}" for side, n in made.manifest.learnt_from.items())),
            *((f"left out: {rule}", f"{n:,}") for rule, n in left_out.items()),
            ("exact, on validate", f"{scored['accuracy']:.1%} ({low:.1%} to {high:.1%})"),
            ("commonest count", f"{scored['majority_accuracy']:.1%}"),
            ("within one", f"{scored['within_one']:.1%}"),
            ("RMSE", f"{scored['rmse']:.2f}"),
            ("work", found.work),
        ]
        terminal.print_table(("", ""), rows)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def _quick(
    recipe: Recipe, base: str | None, weights: Path | None, checkpoints: Path | None
) -> Callable[[Catalogue, str], Bundle]:
    """The training of a head on the trunk of a bundle, which is read first."""
    from binventory.counting import bundle as bundles
    from binventory.errors import UsageError
    from binventory.learning import quick

    for option, value in (("--weights", weights), ("--checkpoints", checkpoints)):
        if value is not None:
            raise UsageError(f"{option} goes with the recipe full alone", "quick trains no network", "--recipe full")
    start = bundles.load(base)
    tell_licence(start)

    def make(data: Catalogue, name: str) -> Bundle:
        made = quick.train(start, data, recipe, name, terminal.tracked)
        terminal.say(quick.told(made))
        return made

    return make


def _full(
    recipe: Recipe, base: str | None, weights: Path | None, data: list[str], work: Path | None, checkpoints: Path | None
) -> Callable[[Catalogue, str], Bundle]:
    """The fine-tuning of a network from a bundle, a file or timm's weights, which are read first."""
    from binventory.counting import bundle as bundles
    from binventory.errors import UsageError

    if base is not None and weights is not None:
        raise UsageError("--from and --weights exclude each other", "both were given", "one of them")
    with torch_needed():
        from binventory.learning.full import network, run

    start = network.from_bundle(bundles.load(base)) if base else network.from_timm(recipe.full, weights)
    place = _place(data, work, checkpoints)
    return lambda found, name: run.train(found, start, recipe, name, terminal.say, terminal.tracked, place)


def _place(data: list[str], work: Path | None, checkpoints: Path | None) -> Place:
    """Where things lie on this machine."""
    from binventory.data import catalogue as catalogues
    from binventory.learning.full.run import Place

    work = work or catalogues.work_for(data)
    return Place(tuple(catalogues.resolved(data)), work, checkpoints or work / "full")


def _assisting(data: list[str], work: Path | None, checkpoints: Path | None) -> bool:
    """Whether this process is one that torchrun started to help the first, and has done so."""
    if os.environ.get("RANK", "0") == "0":
        return False
    with torch_needed():
        from binventory.learning.full import run

    run.assist(_place(data, work, checkpoints), terminal.tracked)
    return True


@contextmanager
def torch_needed() -> Iterator[None]:
    """Raise UsageError where the extra is missing that fine-tuning needs."""
    from binventory.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            "Recipe full cannot run", f"{error.name} is not installed", "pip install 'binventory[train]'"
        ) from None


def evaluate(
    data: DataOption,
    bundle: BundleOption = None,
    endpoint: EndpointOption = None,
    split: Annotated[str, typer.Option(help="Judge the test side, or all photos: test or all.")] = "all",
    counts: Annotated[str | None, typer.Option(help="Judge photos of these true counts: 1-5.", metavar="RANGE")] = None,
    ids: Annotated[str | None, typer.Option(help="Judge these photos: a file, one id a line.", metavar="FILE")] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Weigh every true count alike.")] = False,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Judge photos that the bundle has learnt from, too.")
    ] = False,
    prior: PriorOption = None,
    work: WorkOption = None,
    out: Annotated[str | None, typer.Option(help="Also write one HTML page with pictures.", metavar="PAGE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a bundle on photos that it has not seen: accuracy with its interval over runs, beside baselines."""
    from binventory import objects
    from binventory import recipe as recipes
    from binventory.data import lists
    from binventory.errors import UsageError
    from binventory.learning import evaluate as evaluation

    if split not in ("test", "all"):
        raise UsageError(f"Split {split!r} does not exist", "photos are judged on the test side or all", "--split test")
    quantities = lists.parse_quantities(counts) if counts else None
    chosen_ids = frozenset(lists.read_ids(ids)) if ids else None
    counter, judged_bundle, mix = _far(endpoint, bundle, prior) if endpoint else _near(bundle, prior)
    links = judged_bundle.manifest.recipe.get("link", {})  # runs as they were when the bundle was made
    found = catalogued(data, work, recipes.from_mapping({"link": links}))
    terminal.tell(found.notes, found.rejects, found.work)
    if chosen_ids is not None:
        tell_missing(chosen_ids, found, str(ids))
    rows = evaluation.choose(found, split=split, quantities=quantities, ids=chosen_ids)
    judged = evaluation.evaluate(
        counter, judged_bundle, found, rows,
        quantities=quantities, balanced=balanced, include_seen=include_seen,
        prior=mix, named=evaluation.folders(data), split=split, track=terminal.tracked,
    )  # fmt: skip
    for error in judged.unreadable:
        terminal.say(f"rejected: {error}")
    if as_json:
        terminal.print_json(judged.as_row())
    else:
        _print_figures(judged)
    if out:
        from binventory.learning.page import evaluation_page

        title = f"{judged.bundle} on {', '.join(Path(one).name for one in data)}"
        objects.write(out, evaluation_page(judged, title).encode())
        terminal.say(f"page: {out}")
    raise typer.Exit(terminal.status_of([*(reject.error for reject in found.rejects), *judged.unreadable]))


def _near(bundle: str | None, prior: str | None) -> tuple[Counts, Bundle, Prior | None]:
    counter = load_counter(bundle, prior)
    return counter, counter.bundle, counter.prior


def _far(endpoint: str, bundle: str | None, prior: str | None) -> tuple[Counts, Bundle, Prior | None]:
    """Counts at an endpoint, and the bundle that it runs, of which what it has learnt from must be known."""
    from binventory.cloud import runtime
    from binventory.cloud.session import opened

    refuse_with_endpoint(bundle, prior)
    runs = runtime.bundle_of(opened(), endpoint)
    tell_licence(runs)
    return far_counter(endpoint, None, None), runs, None


def _print_figures(judged: Evaluation) -> None:
    scored = judged.figures
    low, high = scored.accuracy_ci
    rows = [
        ("photos judged", f"{scored.n:,} in {scored.runs:,} runs", ""),
        ("dropped, as learnt from", f"{judged.seen:,}", ""),
        ("exact", f"{scored.accuracy:.1%} ({low:.1%} to {high:.1%})", _against(judged, "majority", "accuracy")),
        ("within one", f"{scored.within_one:.1%}", _against(judged, "median", "within_one")),
        ("mean absolute error", f"{scored.mae:.2f}", _against(judged, "median", "mae")),
        ("RMSE", f"{scored.rmse:.2f}", _against(judged, "mean", "rmse")),
        ("bias", f"{scored.bias:+.2f}", ""),
        ("90 % interval holds", f"{scored.coverage_90:.1%}", f"{scored.mean_width_90:.1f} counts wide"),
    ]
    if scored.set_coverage_90 is not None and scored.set_width_90 is not None:
        rows.append(("its raw set holds", f"{scored.set_coverage_90:.1%}", f"{scored.set_width_90:.1f} counts wide"))
    terminal.print_table(("", judged.bundle, "beside it"), rows)
    terminal.print_table(
        ("true count", "photos", "exact", "within one", "bias"),
        [
            (k if k != "21" else ">20", one.n, f"{one.accuracy:.0%}", f"{one.within_one:.0%}", f"{one.bias:+.1f}")
            for k, one in scored.by_count.items()
        ],
    )


def _against(judged: Evaluation, baseline: str, figure: str) -> str:
    one = judged.figures.baselines[baseline]
    value = getattr(one, figure)
    share = figure in ("accuracy", "within_one")
    return f"{value:.1%} by always {one.answer:.3g}" if share else f"{value:.2f} by always {one.answer:.3g}"
