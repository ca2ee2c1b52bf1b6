"""Writes docs/cli.md from the commands themselves. ``make docs``; a test holds that it was run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from binventory.cli import app

PAGE = Path(__file__).parent / "cli.md"
OPENING = """# The command line

Every verb prints a table on a terminal, plain lines when piped, and JSON with `--json`. Exit status: 0 done,
1 the answer is no (`cloud alive`: something costs money), 2 usage, 3 something given cannot be used (the rest was
done), 4 something outside failed, 130 interrupted, 143 stopped in order by SIGTERM.
Errors go to stderr in one sentence:
`error: WHAT. WHY. Try: NEXT STEP.`

Written by `make docs`.
"""


def page() -> str:
    """The whole reference as Markdown."""
    return "\n".join([OPENING, *_parts(get_command(app), "binventory")])


def _parts(group: Any, name: str) -> Iterator[str]:
    """A part for each verb of a group, those of groups below it by both words."""
    for command in group.commands.values():
        called = f"{name} {command.name}"
        if hasattr(command, "commands"):
            yield from _parts(command, called)
            continue
        context = typer.Context(command, info_name=called)
        context.terminal_width = context.max_content_width = 100
        title = called.removeprefix("binventory ")
        yield f"## {title}\n\n```text\n{command.get_help(context).strip()}\n```\n"


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page(), encoding="utf-8") and None)
