"""The verb that stands by a folder in which photos land."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from binventory.cli import counting, terminal
from binventory.cli.booking import BookOption, SiteOption, WhoOption, named, opened, tell_photos
from binventory.cli.booking import counting as counter_for
from binventory.cli.data import JsonOption
from binventory.cli.verifying import COLUMNS, cells
from binventory.errors import BinventoryError


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder in which a camera's photos land.", metavar="DIR")],
    once: Annotated[bool, typer.Option("--once", help="End when all that is there now has been dealt with.")] = False,
    bundle: counting.BundleOption = None,
    endpoint: counting.EndpointOption = None,
    who: WhoOption = None,
    site: SiteOption = None,
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count every photo that lands in a folder, hold it against its bin's record, and book both, exactly once.

    A photo counts once it is closed and has not changed for two seconds. What is booked moves to filed/, what has no
    bin or no pixels to quarantine/ with its reason. Killed, the same command goes on. Ctrl-C or SIGTERM ends it.
    """
    from binventory.book import watch as watching

    terminal.refuse_remote(folder)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    counter, bundled = counter_for(bundle, endpoint)
    errors: list[BinventoryError] = []
    with opened(site, book) as desk:
        tell_photos(desk)
        if folder.is_dir() and not once:
            terminal.say(f"watching {folder}")
        landed = watching.watch(folder, desk.ledger, counter, bundled, desk.site, named(who), once=once, stop=stop)
        for one in landed:
            if one.error is not None:
                errors.append(one.error)
                if as_json:
                    terminal.print_json({"photo": one.name, "error": one.error.as_row()})
                else:
                    terminal.say(f"quarantined: {one.name}. {one.error}")
            elif one.verdict is not None:
                if as_json:
                    terminal.print_json(one.verdict.as_row(one.bin, one.name))
                else:
                    terminal.print_table(COLUMNS, [cells(one.bin, one.verdict)])
    raise typer.Exit(terminal.status_of(errors))
