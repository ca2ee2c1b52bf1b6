"""The verb that chooses what not to learn from."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from binventory.cli import terminal
from binventory.cli.counting import BundleOption, tell_licence
from binventory.cli.data import DataOption, JsonOption, RecipeOption, SetOption, WorkOption, catalogued

if TYPE_CHECKING:
    from binventory.data.catalogue import Catalogue
    from binventory.learning.cleaning import Gain, Material

_SIDES = ("train", "validate", "calibrate", "test")


def clean(
    data: DataOption,
    bundle: BundleOption = None,
    recipe: RecipeOption = "quick",
    settings: SetOption = None,
    work: WorkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose by rule which photos are left out of learning, and measure what that gains. Nothing is deleted.

    What is cleaned is left out of the train side alone: validate, calibrate and test stay as they are, because the
    counter will meet such photos, too. --set clean.rules=[] puts everything back.
    """
    from binventory import recipe as recipes
    from binventory.counting import bundle as bundles
    from binventory.data import catalogue as catalogues
    from binventory.data import clean as rules
    from binventory.learning import cleaning

    chosen = recipes.load(recipe, settings or ())
    base = bundles.load(bundle)
    tell_licence(base)
    found = catalogued(data, work, chosen)
    found = catalogues.split_sides(found, chosen.split, chosen.seed)
    terminal.tell(found.notes, found.rejects, found.work)
    asked = list(dict.fromkeys(chosen.clean.rules))
    rejections = rules.rejections(catalogues.facts(found.work), found.links, chosen.clean)
    material = cleaning.material(found, base, chosen, terminal.tracked) if asked else None
    if material and "label unlikely" in asked:
        rejections += cleaning.unlikely(material, chosen, terminal.tracked)
    rejected: dict[str, set[str]] = {rule: {one.id for one in rejections if one.rule == rule} for rule in asked}
    if asked:
        rejected[cleaning.TOGETHER] = {one.id for one in rejections}
    gains = cleaning.gains(material, rejected, chosen, terminal.tracked) if material else {}
    found = catalogues.clean(found, rejections)
    _tell(found, material, base.manifest.name, bool(asked))
    rows = list(_tallied(found, rejected))
    if as_json:
        for rule, photos, without in rows:
            gain = gains[rule].as_row() if rule in gains else None
            terminal.print_json({"rule": rule, "photos": photos, "without_photo": without, "gain": gain})
    else:
        columns = ("rule", *_SIDES, "elsewhere", "no photo", "exact, on validate", "log loss", "leaving them out")
        learnt = {row.id for row in found.side("train")}
        cells = [
            (rule, *(photos.get(side, 0) for side in (*_SIDES, "")), without,
             *_gained(gains.get(rule), learnt.isdisjoint(rejected[rule])))
            for rule, photos, without in rows
        ]  # fmt: skip
        terminal.print_table(columns, cells)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def _tallied(found: Catalogue, rejected: Mapping[str, Collection[str]]) -> Iterator[tuple[str, dict[str, int], int]]:
    """For each rule, how many photos of each side it rejects ("" for held ones and those that were refused), and how
    many records without a photo."""
    side_of = {row.id: row.side if row.side in _SIDES else "" for row in found.rows}
    without = {row.id for row in found.unpictured} - {reject.id for reject in found.rejects}
    for rule, ids in rejected.items():
        photos = Tally(side_of.get(id, "") for id in ids if id not in without)
        yield rule, dict(photos), sum(id in without for id in ids)


def _gained(gain: Gain | None, untouched: bool) -> tuple[str, str, str]:
    """The last three cells. ``untouched``: whether none of the photos would be learnt from anyway."""
    if gain is None:
        return "", "", "changes nothing" if untouched else "cannot be measured"
    low, high = gain.accuracy_ci
    better, worse = gain.log_loss_ci
    return (
        f"{100 * gain.accuracy:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points",
        f"{gain.log_loss:+.4f} ({better:+.4f} to {worse:+.4f})",
        gain.verdict,
    )


def _tell(found: Catalogue, material: Material | None, name: str, judged: bool) -> None:
    """Say what could not be judged, and what comes of what was. ``judged``: whether any rule was asked for."""
    if material is None:
        if found.rows and judged:
            terminal.say(
                f"note: labels are not judged, nor is any gain measured: too few labelled photos of train and validate "
                f"are unknown to the trunk of bundle {name}; another --bundle may know fewer"
            )
    elif material.train.seen.any():
        terminal.say(
            f"note: the trunk of bundle {name} has learnt from {material.train.seen.sum():,} of these photos, and does "
            "not judge their labels; another --bundle may"
        )
    out = len(found.left_out("train"))
    terminal.say(f"left out of learning: {out:,} of {len(found.side('train')):,} labelled photos of the train side")
    if out:
        terminal.say("train leaves them out from now on; --set clean.rules=[] puts them back")
