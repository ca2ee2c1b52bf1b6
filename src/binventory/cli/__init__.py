"""The command line: one file for each family of verbs. Rooms above the ground floor are imported when a verb runs."""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper

import typer

from binventory import __version__
from binventory.cli import counting, data, learning, terminal
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


for verb in (counting.count, learning.train, learning.evaluate, data.catalogue, data.split, data.sql, data.draw):
    app.command()(verb)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on stderr and its exit status."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):  # a name that is not UTF-8, or a terminal that is not, ends no verb
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BinventoryError as error:
        terminal.say(f"error: {error}")
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    terminal.say(f"warning: {message}")
