"""Writes docs/cli.md from the commands themselves. ``make docs``; a test holds that it was run."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.main import get_command

from binventory.cli import app

PAGE = Path(__file__).parent / "cli.md"
OPENING = """# The command line

Every verb prints a table on a terminal, plain lines when piped, and JSON with `--json`. Exit status: 0 done,
2 usage, 3 something given cannot be used (the rest was done), 4 something outside failed, 130
interrupted. Errors go to stderr in one sentence:
`error: WHAT. WHY. Try: NEXT STEP.`

Written by `make docs`.
"""


def page() -> str:
    """The whole reference as Markdown."""
    group = get_command(app)
    parts = [OPENING]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = typer.Context(command, info_name=f"binventory {name}")
        context.terminal_width = context.max_content_width = 100
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page(), encoding="utf-8") and None)
