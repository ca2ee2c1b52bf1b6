"""Verbs for photos and their records, before any model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal

if TYPE_CHECKING:
    from binventory.data.catalogue import Catalogue
    from binventory.recipe import Recipe

DataOption = Annotated[
    list[str],
    typer.Option("--data", help="A folder or s3:// prefix of photos; may be given several times.", metavar="DIR"),
]
WorkOption = Annotated[
    Path | None,
    typer.Option("--work", help="Where catalogue, sides and caches lie. Default: named by the data, in your cache."),
]
RecipeOption = Annotated[str, typer.Option("--recipe", help="quick, full, or a TOML file.", metavar="RECIPE")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting over the recipe: section.field=value.", metavar="SETTING"),
]
FromOption = Annotated[
    str | None, typer.Option("--from", help="The bundle whose trunk to start from.", metavar="BUNDLE")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Full alone: the backbone's pretrained weights, a timm state dict (.safetensors).", metavar="FILE"
    ),
]
RangeOption = Annotated[
    list[str] | None,
    typer.Option("--range", help="What a setting may be: section.field=LOW:HIGH[:log].", metavar="RANGE"),
]
ChooseOption = Annotated[
    list[str] | None,
    typer.Option("--choose", help="What a setting may be: section.field=ONE,ANOTHER.", metavar="CHOICES"),
]
BestOption = Annotated[str | None, typer.Option(help="Also write the best recipe, as TOML.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def catalogue(
    data: DataOption,
    work: WorkOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Catalogue photos and records: what is there, what it says, which photos show one bin, what was refused."""
    from binventory import recipe

    found = catalogued(data, work, recipe.load("quick", settings or ()))
    labelled = [row.count for row in found.rows if row.count is not None]
    summary = {
        "photos": len(found.rows),
        "unpictured": len(found.unpictured),
        "labelled": len(labelled),
        "runs": len({row.run for row in (*found.rows, *found.unpictured)}),
        "links": len(found.links),
        "rejects": len(found.rejects),
        "work": str(found.work),
    }
    if as_json:
        terminal.print_json(summary)
    else:
        terminal.print_table(("", ""), summary.items())
    terminal.tell(found.notes, found.rejects, found.work)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def explore(
    data: DataOption,
    work: WorkOption = None,
    settings: SetOption = None,
    out: Annotated[str | None, typer.Option(help="Also write one HTML page with pictures.", metavar="PAGE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the data are and where their traps lie: counts, pictures, twins, records, and what would leak."""
    from binventory import objects
    from binventory import recipe as recipes
    from binventory.counting.priors import REFERENCE
    from binventory.data import explore as explored
    from binventory.data.traps import traps

    recipe = recipes.load("quick", settings or ())
    catalogue = catalogued(data, work, recipe)
    terminal.tell(catalogue.notes, catalogue.rejects, catalogue.work)
    found = explored.explore(catalogue, recipe.split, recipe.seed, REFERENCE)
    if as_json:
        terminal.print_json({**found.as_row(), "traps": traps(found), "work": str(catalogue.work)})
    else:
        names = ("photos", "labelled", "runs", "records", "products", "rejects")
        terminal.print_table(("", ""), [(name, f"{getattr(found, name):,}") for name in names])
        terminal.print_table(("what to know", ""), [(trap.name, trap.text) for trap in traps(found)])
    if out:
        from binventory.learning.exploration import exploration_page

        title = ", ".join(Path(one).name for one in data)
        objects.write(out, exploration_page(found, title, terminal.tracked).encode())
        terminal.say(f"page: {out}")
    raise typer.Exit(terminal.status_of(reject.error for reject in catalogue.rejects))


def split(
    data: DataOption,
    work: WorkOption = None,
    hold_out: Annotated[
        str | None,
        typer.Option(help="A file of ids, one a line, whose runs stay out of train and validate.", metavar="FILE"),
    ] = None,
    sides: Annotated[
        str | None, typer.Option(help="A CSV id,side with sides of your own for new photos.", metavar="FILE")
    ] = None,
    recipe: RecipeOption = "quick",
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give every photo its side, whole runs together: train, validate, calibrate or test. Sides once given stay."""
    from binventory import recipe as recipes
    from binventory.data import catalogue as catalogues
    from binventory.data import lists

    chosen = recipes.load(recipe, settings or ())
    kept_out = lists.read_ids(hold_out) if hold_out else []
    given = lists.read_sides(sides) if sides else {}
    found = catalogued(data, work, chosen)
    tell_missing(kept_out, found, str(hold_out))
    tell_missing(given, found, str(sides))
    found = catalogues.split_sides(found, chosen.split, chosen.seed, kept_out, given)
    stay = sum(row.side != given[row.id] for row in found.rows if row.id in given)
    if stay:
        terminal.say(f"note: {stay:,} photos had other sides before {sides}, and keep them: sides are final")
    photos, alone = catalogues.tally(found.rows), catalogues.tally(found.unpictured)
    none = {"photos": 0, "labelled": 0, "runs": 0}
    runs = catalogues.tally((*found.rows, *found.unpictured))
    tally = {
        side: photos.get(side, none) | {"runs": runs[side]["runs"], "unpictured": alone.get(side, none)["photos"]}
        for side in runs
    }
    if as_json:
        for side, numbers in tally.items():
            terminal.print_json({"side": side, **numbers})
    else:
        columns = ("side", "photos", "labelled", "runs", "records alone")
        terminal.print_table(columns, [(side, *numbers.values()) for side, numbers in tally.items()])
    if "held" in tally:
        terminal.say("note: held photos belong to no side, since they would join two: reasons in the table sides")
    terminal.tell(found.notes, found.rejects, found.work)
    raise typer.Exit(terminal.status_of(reject.error for reject in found.rejects))


def sql(
    query: Annotated[
        str, typer.Argument(help="SQL over photos, records, items, rejects, notes, links, runs, sides and cleaned.")
    ],
    data: Annotated[list[str] | None, typer.Option(help="The data that was catalogued.", metavar="DIR")] = None,
    work: WorkOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write the answer as Parquet.", metavar="FILE")] = None,
) -> None:
    """Ask the catalogue in SQL (DuckDB's). It can change nothing, and read or write no other file."""
    from binventory.data import catalogue as catalogues
    from binventory.data import tables
    from binventory.errors import UsageError

    if work is None and not data:
        raise UsageError("sql needs a catalogue", "neither --data nor --work was given", "--data DIR")
    place = work or catalogues.work_for(data or [])
    if parquet:
        tables.export(place, query, parquet)
        terminal.say(f"written: {parquet}")
        return
    columns, rows = tables.query(place, query)
    if as_json:
        for row in rows:
            terminal.print_json(dict(zip(columns, row, strict=True)))
    elif as_csv:
        terminal.print_csv(columns, rows)
    else:
        terminal.print_table(columns, rows)


def draw(
    out: Annotated[Path, typer.Option(help="The folder to draw into, in the bucket's layout.", metavar="DIR")],
    bins: Annotated[int, typer.Option(help="How many bins.", min=1)] = 800,
    seed: Annotated[int, typer.Option(help="Another seed draws other bins.", min=0)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Draw bins in code, photos and records, to try things without real ones. Bins already there are kept."""
    from binventory.data import drawn

    terminal.refuse_remote(out)
    written = sum(terminal.tracked(drawn.write(out, bins, seed), "drawing bins", bins))
    if as_json:
        terminal.print_json({"bins": bins, "written": written, "data": str(out)})
    else:
        terminal.print_table(("", ""), [("bins", bins), ("newly drawn", written), ("data", out)])


def tell_missing(ids: Collection[str], found: Catalogue, place: str) -> None:
    """Say which of the ids that a file lists are not in the data. Raises RecordError where none is."""
    from binventory.errors import RecordError

    if ids and not {row.id for row in (*found.rows, *found.unpictured)} & set(ids):
        raise RecordError(f"{place} names nothing of the data", f"none of its {len(set(ids)):,} ids is there",
                          "check the list: one id a line")  # fmt: skip
    missing = sorted(set(ids) - {row.id for row in (*found.rows, *found.unpictured)})
    if missing:
        few = ", ".join(missing[:3]) + (" …" if missing[3:] else "")
        terminal.say(f"note: {len(missing):,} of {len(set(ids)):,} ids in {place} are not in the data ({few})")


def catalogued(data: list[str], work: Path | None, recipe: Recipe) -> Catalogue:
    """The catalogue of the data, brought up to date, with progress."""
    from binventory.data import catalogue as catalogues
    from binventory.errors import UsageError

    if not all(data):
        raise UsageError("--data is empty", "it names no folder", "--data DIR")
    return catalogues.build(data, work or catalogues.work_for(data), recipe.link, terminal.tracked)
