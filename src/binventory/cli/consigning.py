"""The verb that says what of a consignment may leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.booking import BookOption, SiteOption, WhoOption, named, opened, percent
from binventory.cli.data import JsonOption
from binventory.cli.keeping import EPCIS, write_json
from binventory.cli.recording import WholeOption, enter, read
from binventory.cli.terminal import many
from binventory.errors import InputError, UsageError
from binventory.records import shown, span

if TYPE_CHECKING:
    from binventory.book.consigning import Consigned


def consign(
    file: Annotated[
        str,
        typer.Argument(
            help="What the sender declares: CSV, TSV, Excel, JSON, JSON lines or Parquet; - for standard input.",
            metavar="FILE",
        ),
    ],
    max_wrong: Annotated[
        float | None,
        typer.Option(
            "--max-wrong", min=0, max=1, help="The share of what leaves that may be wrong. Default: the site's."
        ),
    ] = None,
    discrepancies: Annotated[
        str | None,
        typer.Option(
            "--discrepancies",
            help="Also write what people found otherwise than declared, in a receiver's "
            "words: CSV, Excel, JSON, or EPCIS as .jsonld.",
            metavar="FILE",
        ),
    ] = None,
    whole: WholeOption = False,
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """What of a consignment may leave now, and what is to be recounted first, in which order.

    Columns: bin or sscc, quantity, and if known consignment (else the file's name), sku, name, gtin, at. Only what a
    person found right or what may pass without a look leaves; so after a recount the same command says more. Exit 1
    where something is to be recounted first, 3 where a row is bad.
    """  # fmt: skip
    from binventory.book import consigning
    from binventory.book.exchange import imports

    with opened(site, book) as desk:
        entries, bad = read(desk, [file], imports.read_consignment, whole)
        names = list(dict.fromkeys(one.consignment for one in entries if one.consignment))
        enter(desk, entries, whole)
        share = desk.site.policy.max_wrong if max_wrong is None else max_wrong
        found = [consigning.weighed(desk.ledger, name, desk.site.policy, share, named(who)) for name in names]
    if discrepancies:
        _write_discrepancies(discrepancies, found)
    for one in found:
        if as_json:
            terminal.print_json(one.as_row())
        else:
            _print(one)
    if not found and not bad:
        raise InputError(f"{file} declares nothing", "no row of it names a bin and a quantity", "check the file")
    held = any(one.release.recount or one.release.wrong for one in found)
    raise typer.Exit(terminal.status_of(one.error for _, one in bad) or int(held))


def _write_discrepancies(out: str, found: Sequence[Consigned]) -> None:
    """Write them as a table, or as EPCIS events where the file's name ends so."""
    from binventory.book.exchange import epcis, tables

    terminal.refuse_folder("--discrepancies", out)
    if out.endswith(EPCIS):
        if len(found) > 1:
            raise UsageError("--discrepancies does not fit", "an EPCIS document is of one consignment here",
                             "a file for each consignment, or --discrepancies FILE.csv")  # fmt: skip
        one = found[0]
        write_json(out, epcis.discrepancies(one.discrepancies, one.name, "site", one.found_at or datetime.now(UTC)))
    else:
        rows = ({"consignment": one.name} | told.as_row() for one in found for told in one.discrepancies)
        tables.write(out, ("consignment", "bin", "sscc", "declared", "found", "difference", "word", "code"), rows)
    terminal.say(f"discrepancies: {out}")


def _shown(consigned: Consigned, bin: str) -> str:
    """What the photo of a tote shows, if there is one."""
    verdict = consigned.verdicts.get(bin)
    return "none" if verdict is None else f"{verdict.verdict}: {shown(verdict.count)} ({span(verdict.interval)})"


def _print(consigned: Consigned) -> None:
    """What may go, what is recounted first, and what people found otherwise."""
    found, totes = consigned.release, {tote.bin: tote for tote in consigned.totes}
    terminal.print_table(
        ("", ""),
        [
            ("consignment", consigned.name),
            ("all right with probability", percent(found.p_all_right)),
            ("may go", f"{len(found.release):,}"),
            ("of these wrong, expected", percent(found.wrong_share)),
            ("nine times in ten at most", f"{round(found.wrong_at_most * len(found.release)):,}"),
            ("recounted first", f"{len(found.recount):,} ({many(round(found.minutes), 'minute')})"),
            ("found wrong", f"{len(found.wrong):,}"),
        ],
    )
    if found.recount:
        rows = [
            (number, bin, f"{totes[bin].minutes:.1f}", percent(totes[bin].p_right), _shown(consigned, bin))
            for number, bin in enumerate(found.recount, start=1)
        ]
        terminal.print_table(("", "recount", "minutes", "declared right", "photo"), rows)
    if consigned.discrepancies:
        told = [
            (one.bin, "" if one.declared is None else one.declared, one.found, one.word)
            for one in consigned.discrepancies
        ]
        terminal.print_table(("bin", "declared", "found", "discrepancy"), told)
