"""The family ``book``: its upkeep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import BookOption, SiteOption, asked, bin_named, kept, opened
from binventory.cli.data import JsonOption
from binventory.errors import UsageError

if TYPE_CHECKING:
    from binventory.book.upkeep import Backup

EPCIS = ".jsonld"
"""How the name of a GS1 EPCIS 2.0 document ends."""

app = typer.Typer(
    name="book",
    help="Upkeep of the book: migrate, backup, restore, check, mend, export, retain.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def migrate(site: SiteOption = None, book: BookOption = None, as_json: JsonOption = False) -> None:
    """Bring a book of an older version to this one; whole or not at all. Back it up first."""
    from binventory.book import site as sites
    from binventory.book import upkeep

    before, after = upkeep.migrate(sites.book_address(book, sites.load(site)))
    if as_json:
        terminal.print_json({"before": before, "after": after})
    else:
        terminal.say(
            "note: the book is of this version already" if before == after else f"migrated: {before} to {after}"
        )


@app.command()
def backup(
    file: Annotated[str, typer.Argument(help="The file to write, a .tar.", metavar="FILE")],
    without_photos: Annotated[bool, typer.Option("--without-photos", help="Entries alone.")] = False,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the book as it is at this moment into one file, photos and all; others may go on writing to it.

    The file fits SQLite and PostgreSQL alike, so it also moves a book from one to the other.
    """
    from binventory.book import upkeep

    with kept(site, book) as desk:
        made = upkeep.backup(desk.ledger, file, photos=not without_photos, track=terminal.tracked)
    _print(made, file, as_json)


@app.command()
def restore(
    file: Annotated[str, typer.Argument(help="A backup.", metavar="FILE")],
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill an empty book from a backup. The file is checked whole before anything of it is kept."""
    from binventory.book import upkeep

    with opened(site, book) as desk:
        made = upkeep.restore(desk.ledger, file, track=terminal.tracked)
    _print(made, file, as_json)


@app.command()
def check(site: SiteOption = None, book: BookOption = None, as_json: JsonOption = False) -> None:
    """Read every entry and photo, and hold what is shown against what follows from them. Exit 1 where they differ."""
    from binventory.book import upkeep

    with asked(site, book) as desk:
        found = list(upkeep.check(desk.ledger, track=terminal.tracked))
    for one in found:
        if as_json:
            terminal.print_json({"what": one.what, "harmless": one.harmless})
        else:
            terminal.say(f"{'note' if one.harmless else 'wrong'}: {one.what}")
    wrong = any(not one.harmless for one in found)
    if not wrong and not as_json:
        terminal.say("note: the book is as it should be")
    raise typer.Exit(int(wrong))


@app.command()
def mend(site: SiteOption = None, book: BookOption = None, as_json: JsonOption = False) -> None:
    """Make what follows from the entries anew, where a check found that it differs. Entries and photos stay."""
    from binventory.book import upkeep

    with kept(site, book) as desk:
        number = upkeep.mend(desk.ledger)
    if as_json:
        terminal.print_json({"bins": number})
    else:
        terminal.say(f"mended: {number:,} bins")


@app.command()
def export(
    out: Annotated[
        str,
        typer.Option("--out", help="CSV, TSV, Excel, JSON, JSON lines, Parquet, or EPCIS as .jsonld.", metavar="FILE"),
    ],
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only entries of this kind; repeats. Default: all.")
    ] = None,
    bin: Annotated[str | None, typer.Option("--bin", help="Only entries of this bin.")] = None,
    consignment: Annotated[str | None, typer.Option("--consignment", help="Only entries of this consignment.")] = None,
    plain: Annotated[
        bool, typer.Option("--as-imported", help="In the columns of expect, move or consign; of one such kind.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="The site's name in EPCIS.")] = "site",
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write entries to a file, an entry a row; or as GS1 EPCIS 2.0 events, where its name ends in .jsonld."""
    from binventory.book.entries import KINDS
    from binventory.book.exchange import epcis, exports

    kinds = tuple(kind or ())
    for one in kinds:
        if one not in KINDS:
            raise UsageError(f"--kind {one} does not exist", f"there are {', '.join(KINDS)}", "--kind count")
    if plain and (len(kinds) != 1 or kinds[0] not in exports.IMPORTED):
        why = f"it takes one kind of {', '.join(exports.IMPORTED)}"
        raise UsageError("--as-imported does not fit", why, "--kind expectation --as-imported")
    with asked(site, book) as desk:
        found = desk.ledger.entries(kinds=kinds, bin=bin and bin_named(bin), consignment=consignment)
        entries = terminal.tracked(found, "exporting", None)
        if out.endswith(EPCIS):
            told = list(entries)
            written = len(told)
            write_json(out, epcis.document(told, name))
        elif plain:
            written = exports.write_imported(out, kinds[0], entries)
        else:
            written = exports.write(out, entries, kinds or KINDS)
    if as_json:
        terminal.print_json({"rows": written, "file": out})
    else:
        terminal.print_table(("", ""), [("rows", f"{written:,}"), ("file", out)])


@app.command()
def retain(site: SiteOption = None, book: BookOption = None, as_json: JsonOption = False) -> None:
    """Remove the photos that are older than the policy's keep_photos_days; counts and verdicts stay.

    Those of bins that wait for a recount stay, too.
    """
    from binventory.book import retention

    with kept(site, book) as desk:
        removed = retention.retain(desk.ledger, desk.site.policy, datetime.now(UTC), track=terminal.tracked)
    if as_json:
        terminal.print_json({"removed": removed})
    else:
        terminal.say(f"removed: {removed:,} photos")


def write_json(out: str, document: object) -> None:
    """Write a JSON document for people and programs to read."""
    import msgspec

    from binventory import objects

    objects.write(out, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _print(made: Backup, file: str, as_json: bool) -> None:
    if made.missing:
        terminal.say(f"note: {made.missing:,} photos were not to be had")
    if as_json:
        terminal.print_json({"entries": made.entries, "photos": made.photos, "missing": made.missing, "file": file})
    else:
        terminal.print_table(
            ("", ""), [("entries", f"{made.entries:,}"), ("photos", f"{made.photos:,}"), ("file", file)]
        )
