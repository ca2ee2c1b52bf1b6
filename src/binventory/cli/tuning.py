"""The verb that tries recipes against each other."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import jobs as away
from binventory.cli import terminal
from binventory.cli.counting import tell_licence
from binventory.cli.data import (
    BestOption,
    ChooseOption,
    DataOption,
    FromOption,
    JsonOption,
    RangeOption,
    RecipeOption,
    SetOption,
    WeightsOption,
    WorkOption,
    catalogued,
)
from binventory.cli.learning import torch_needed

if TYPE_CHECKING:
    from binventory.counting.bundle import Bundle
    from binventory.data.catalogue import Catalogue
    from binventory.learning.full.network import Start
    from binventory.learning.objectives import Full, Quick
    from binventory.learning.space import Axis, Value
    from binventory.learning.tuning import Trial, Tuning
    from binventory.recipe import Recipe

_OTHER_SIZES = {"quick": (192, 320), "full": (160, 192, 224)}


@away.elsewhere(away.tune)
def tune(
    data: DataOption,
    recipe: RecipeOption = "quick",
    trials: Annotated[int, typer.Option(help="How many recipes to try in all, the given one first.", min=1)] = 20,
    jobs: Annotated[int, typer.Option(help="How many processes try them.", min=1)] = 1,
    ranges: RangeOption = None,
    choices: ChooseOption = None,
    settings: SetOption = None,
    base: FromOption = None,
    weights: WeightsOption = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A database that several machines share: postgresql://… Default: a file.", metavar="URL"),
    ] = None,
    work: WorkOption = None,
    out: BestOption = None,
    page: Annotated[str | None, typer.Option(help="Also write one HTML page with plots.", metavar="PAGE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Try recipes against each other on validate, by several processes; the same words go on where it was killed.

    The given recipe is trial 0, so that what is found is held against it; test is not looked into. quick varies
    picture size, penalty and class weights, full learning rate, batch size, momentum and picture size (extra tune).
    """
    from binventory import recipe as recipes
    from binventory.data import catalogue as catalogues
    from binventory.learning import space

    _optuna_needed(storage)
    terminal.refuse_folder("--out", out)
    terminal.refuse_folder("--page", page)
    chosen = recipes.load(recipe, settings or ())
    start, own_size = (_full_start if chosen.kind == "full" else _quick_start)(chosen, base, weights)
    axes = space.asked(chosen, space.usual(chosen, _sizes(chosen, start, own_size)), ranges or (), choices or ())
    _refuse_sizes(start, axes)
    found = catalogued(data, work, chosen)
    found = catalogues.split_sides(found, chosen.split, chosen.seed)
    terminal.tell(found.notes, found.rejects, found.work)
    objective = _objective(found, start, chosen)
    default = space.settings_of(chosen, axes, own_size)
    name = base or (weights.name if weights else "") or _name(start, chosen)
    tuned, folder = _tuned(chosen, axes, default, objective, found.work, trials, jobs, storage, name)
    _write(tuned, folder, out, page, ", ".join(Path(one).name for one in data))
    if as_json:
        _print_rows(tuned, folder)
    else:
        _print_tables(tuned, folder, out)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def _tuned(
    recipe: Recipe, axes: tuple[Axis, ...], default: dict[str, Value], objective: Quick | Full, work: Path,
    trials: int, jobs: int, storage: str | None, name: str,
) -> tuple[Tuning, Path]:  # fmt: skip
    """The tuning, done or gone on with, and its folder; Ctrl-C says how to go on."""
    from binventory.learning import trials as studies
    from binventory.learning import tune as tuning
    from binventory.learning.trials import Plan

    key = hashlib.sha256(f"{recipe} {axes} {objective.identity}".encode()).hexdigest()[:12]
    folder = work / "tune" / studies.folder_name(key, storage)
    folder.mkdir(parents=True, exist_ok=True)
    setting = f"{recipe.kind}.size"
    sizes = next((axis.values for axis in axes if axis.setting == setting), (default.get(setting, 0),))
    # A head is fitted in seconds and would wait for features; a training scales its own photos while others learn.
    first = [int(one) for one in sizes if recipe.kind == "quick" or one == default[setting]]
    objective.prepare(first, terminal.tracked)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    plan = Plan(key, recipe, axes, default, objective, trials, jobs, folder, storage, threads, uuid.uuid4().hex)
    terminal.say(f"study {key} in {folder}")
    try:
        return tuning.concluded(plan, name, *tuning.run(plan, terminal.say)), folder
    except KeyboardInterrupt:
        terminal.say("interrupted: what is finished is kept, and the same command goes on from there")
        raise


def _optuna_needed(storage: str | None) -> None:
    """Raise UsageError where the extra is missing that tuning needs, or the storage's URL is none."""
    from binventory.errors import UsageError

    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        why = f"{error.name} is not installed"
        raise UsageError("Recipes cannot be tuned", why, "pip install 'binventory[tune]'") from None
    if storage is not None:
        from binventory.learning import trials

        trials.refuse_storage(storage)


def _quick_start(recipe: Recipe, base: str | None, weights: Path | None) -> tuple[Bundle, int]:  # noqa: ARG001
    """The bundle whose trunk is looked through, and the side of its pictures."""
    from binventory.counting import bundle as bundles
    from binventory.errors import UsageError

    if weights is not None:
        raise UsageError("--weights goes with the recipe full alone", "quick trains no network", "--recipe full")
    start = bundles.load(base)
    tell_licence(start)
    return start, start.manifest.input.height


def _full_start(recipe: Recipe, base: str | None, weights: Path | None) -> tuple[Start, int]:
    """Where fine-tuning starts, and the side of its pictures."""
    from binventory.counting import bundle as bundles
    from binventory.errors import UsageError

    if base is not None and weights is not None:
        raise UsageError("--from and --weights exclude each other", "both were given", "one of them")
    with torch_needed():
        from binventory.learning.full import network

    start = network.from_bundle(bundles.load(base)) if base else network.from_timm(recipe.full, weights)
    return start, recipe.full.size


def _sizes(recipe: Recipe, start: Bundle | Start, own: int) -> Sequence[int]:
    """The picture sizes that are tried where nobody names any."""
    from binventory.counting.bundle import Bundle
    from binventory.learning import quick

    if isinstance(start, Bundle) and not quick.resizable(start):
        terminal.say(f"note: bundle {start.manifest.name} takes pictures of {own} px alone, so their size is not tuned")
        return (own,)
    return (own, *_OTHER_SIZES[recipe.kind])


def _refuse_sizes(start: Bundle | Start, axes: Sequence[Axis]) -> None:
    """Raise UsageError for a size that a finished trunk does not take."""
    from binventory.counting.bundle import Bundle
    from binventory.learning import quick

    for axis in axes:
        if isinstance(start, Bundle) and axis.setting == "quick.size":
            for size in axis.values:
                quick.sized(start, int(size))


def _objective(found: Catalogue, start: Bundle | Start, recipe: Recipe) -> Quick | Full:
    from binventory.counting.bundle import Bundle
    from binventory.learning import objectives, quick

    if isinstance(start, Bundle):
        sides = quick.sides_of(found, quick.trunk_seen(start.seen), start.manifest.name)
        quick.refuse_few(sides)
        return objectives.Quick(start, sides, recipe, found.work)
    from binventory.learning.full import run

    return objectives.Full(run.planned(found, start, recipe))


def _name(start: Bundle | Start, recipe: Recipe) -> str:
    from binventory.counting.bundle import Bundle

    return start.manifest.name if isinstance(start, Bundle) else recipe.full.backbone


def _write(tuned: Tuning, folder: Path, out: str | None, page: str | None, title: str) -> None:
    """The tuning and its best recipe into its folder, and elsewhere on wish."""
    from binventory import objects
    from binventory import recipe as recipes
    from binventory.learning import tuning

    best = recipes.to_toml(recipes.from_mapping(tuned.recipe)).encode()
    objects.write(str(folder / tuning.FILE), tuned.to_bytes())
    objects.write(str(folder / "best.toml"), best)
    if out:
        objects.write(out, best)
    if page:
        from binventory.learning.tuning_page import tuning_page

        objects.write(page, tuning_page(tuned, title).encode())
        terminal.say(f"page: {page}")


def _print_rows(tuned: Tuning, folder: Path) -> None:
    import msgspec

    from binventory.learning import tuning

    for one in tuned.trials:
        terminal.print_json({"trial": one.number, **msgspec.to_builtins(one)})
    terminal.print_json({
        "best": tuned.best, "gain": tuned.gain, "verdict": tuning.verdict(tuned), "importance": tuned.importance,
        "recipe": str(folder / "best.toml"), "tuning": str(folder / tuning.FILE),
    })  # fmt: skip


def _print_tables(tuned: Tuning, folder: Path, out: str | None) -> None:
    from binventory.learning import tuning

    names = [axis.setting for axis in tuned.axes]
    terminal.print_table(
        ("trial", *(name.removeprefix(f"{tuned.kind}.") for name in names), "log loss", "exact", "state", "seconds"),
        [(_numbered(one, tuned), *(_given(one.settings.get(name)) for name in names), _scored(one, "log_loss"),
          _scored(one, "accuracy"), one.state, f"{one.seconds:.1f}")
         for one in tuned.trials],
    )  # fmt: skip
    if tuned.importance:
        terminal.print_table(("setting", "importance"), [(k, f"{v:.0%}") for k, v in tuned.importance.items()])
    rows = [
        ("judged on", f"{tuned.photos:,} photos of validate in {tuned.runs:,} runs"),
        ("verdict", tuning.verdict(tuned)),
        *((f"trial {one.number} failed", one.why) for one in tuned.trials if one.why),
        ("best recipe", out or folder / "best.toml"),
        ("tuning", folder / tuning.FILE),
    ]
    terminal.print_table(("", ""), rows)


def _numbered(one: Trial, tuned: Tuning) -> str:
    mark = "best" if one.number == tuned.best else "default" if one.number == 0 else ""
    return f"{one.number} {mark}".rstrip()


def _given(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _scored(one: Trial, figure: str) -> str:
    value = getattr(one, figure)
    return "" if value is None else f"{value:.1%}" if figure == "accuracy" else f"{value:.4f}"
