"""What verbs print: a Rich table on a terminal, plain lines when piped, JSON or CSV on wish; progress on stderr."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from binventory.errors import BinventoryError, UsageError

if TYPE_CHECKING:
    from binventory.data.layout import Reject

T = TypeVar("T")
_QUIET_SECONDS = 2.0
_LINE_SECONDS = 10.0
_REJECTS_TOLD = 20


def say(line: str) -> None:
    """A line for the person, on stderr, where it disturbs no output that a program reads."""
    print(line, file=sys.stderr, flush=True)


def tracked(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Progress of a loop that takes over two seconds: a bar with rate and time left, or a line now and then."""
    if total == 0:
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:,.0f}/s" if task.speed else "")

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
        return
    begun = time.monotonic()
    told = begun + _QUIET_SECONDS
    for number, item in enumerate(items):
        now = time.monotonic()
        if now > told:
            say(f"{what}: {number:,}{_ahead(number, total, now - begun)}")
            told = now + _LINE_SECONDS
        yield item


def _ahead(number: int, total: int | None, seconds: float) -> str:
    """How many there are, how fast it goes, and how long it will take."""
    rate = number / seconds
    if not total or not number:
        return f" of {total:,}" if total else ""
    left = int((total - number) / rate)
    return f" of {total:,}, {rate:,.0f}/s, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


def refuse_remote(folder: Path) -> None:
    """Raise UsageError for an S3 address where only a folder will do."""
    if str(folder).startswith("s3:/"):
        raise UsageError(f"{folder} is no folder", "this verb writes to the disk", "--out DIR")


def refuse_folder(option: str, place: str | None) -> None:
    """Raise UsageError where a folder is named and a file will be written."""
    if place and "://" not in place and (place.endswith("/") or Path(place).is_dir()):
        raise UsageError(
            f"{option} {place} is a folder", "it names the file to write", f"{option} {place.rstrip('/')}/NAME"
        )


def print_json(row: Mapping[str, object]) -> None:
    """Print one JSON object on one line, at once."""
    import msgspec

    # Escaped to ASCII, so that no terminal's encoding and no odd byte in a file's name can break it.
    print(json.dumps(msgspec.to_builtins(row), separators=(",", ":")), flush=True)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV with a header; text that a spreadsheet would run as a formula is neutralised."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([neutral(cell) for cell in row])


def neutral(cell: object) -> object:
    """The cell, with a quote before text that starts with = + - @, tab or return, as spreadsheets want it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print rows as a Rich table on a terminal, else as lines with tabs between the cells. Numbers stand right."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(map(_plain, row)), flush=True)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = [list(map(_plain, row)) for row in rows]
    console = Console()
    widths = [max(map(len, column)) for column in zip(columns, *kept, strict=True)]
    room = console.width - sum(widths)
    tight = 3 * len(widths) > room >= len(widths) + 1  # without the space around its cells each row takes one line
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, padding=0 if tight else (0, 1))
    for number, column in enumerate(columns):
        digits = [row[number][:1] for row in kept if row[number]]
        right = bool(digits) and all(digit in "0123456789->" for digit in digits)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in kept:
        table.add_row(*map(Text, row))
    console.print(table)


def tell(notes: Iterable[str], rejects: Sequence[Reject], work: object) -> None:
    """Say on stderr what to know of the data, and what was refused, a sentence each, the first twenty."""
    for note in notes:
        say(f"note: {note}")
    for reject in rejects[:_REJECTS_TOLD]:
        say(f"rejected: {reject.error}")
    if rejects[_REJECTS_TOLD:]:
        say(f"and {len(rejects) - _REJECTS_TOLD:,} more: binventory sql 'select * from rejects' --work {work}")


def many(number: int, thing: str) -> str:
    """``1 line``, ``2 lines``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _plain(cell: object) -> str:
    """The cell as text that stays on its line: odd characters, as file names may hold them, are escaped."""
    text = str(cell)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def status_of(errors: Iterable[BinventoryError]) -> int:
    """The exit status of a verb that went on past errors: 0 without any, 4 where something outside failed, else 3."""
    return max((error.exit_status for error in errors), default=0)
