"""The command line: one file for each family of verbs. Rooms above the ground floor are imported when a verb runs."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from io import TextIOWrapper

import typer
from typer.exceptions import TyperException

from binventory import __version__
from binventory.cli import (
    cleaning,
    cloud,
    consigning,
    counting,
    data,
    fetching,
    keeping,
    landing,
    learning,
    recording,
    reporting,
    reviewing,
    serving,
    taking,
    terminal,
    tuning,
    verifying,
)
from binventory.errors import BinventoryError

app = typer.Typer(
    name="binventory",
    help="Count the items in photos of warehouse bins, and say how sure the count is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def start(
    version: bool = typer.Option(False, "--version", is_eager=True, help="Print the version and end."),
) -> None:
    """Count the items in photos of warehouse bins, and say how sure the count is."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


for verb in (
    counting.count, learning.train, learning.evaluate, fetching.fetch, fetching.select,
    data.catalogue, data.explore, cleaning.clean, data.split, data.sql, data.draw,
    tuning.tune, reporting.report, serving.serve,
    recording.expect, recording.move, verifying.verify, landing.watch, consigning.consign, taking.stock, taking.plan,
):  # fmt: skip
    app.command()(verb)
for family in (reviewing.app, keeping.app, cloud.app):
    app.add_typer(family)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on stderr and its exit status."""
    warnings.showwarning = _show_warning
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):  # a name that is not UTF-8, or a terminal that is not, ends no verb
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # The fit's matrices are thin: more threads only wait for each other, and for the other process.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        status = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except BinventoryError as error:
        terminal.say(f"error: {error}")
        status = error.exit_status
    except TyperException as error:
        terminal.say(_usage(error.format_message()))
        status = error.exit_code
    except typer.Abort:
        status = 130
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        status = 0  # the reader of our output has gone, as with `| head`
    except OSError as error:
        terminal.say(f"error: A file cannot be read or written. {error.strerror or error}. Try: check disk and path.")
        status = 4
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.exit(status)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer has nowhere to go
    sys.exit(status)


def _usage(message: str) -> str:
    """Typer's message as our one sentence; the whole help where nothing was asked."""
    if message.startswith("Usage:"):
        return message
    verb, group = "", typer.main.get_command(app)
    for word in sys.argv[1:]:
        known = getattr(group, "commands", {})
        if word not in known:
            break
        verb, group = f"{verb} {word}", known[word]
    stop = "" if message.endswith((".", "?", "!")) else "."
    return f"error: {message}{stop} Try: binventory{verb} --help."


def _nowhere() -> TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    terminal.say(f"warning: {message}")
