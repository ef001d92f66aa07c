"""How commands print: tables for people, JSON for programs, and errors with an exit code that means something."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

# Not a terminal: lines are for other programs, so nothing is folded.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)


class Output(StrEnum):
    """What `-o` takes."""

    TEXT = "text"
    JSON = "json"


class Exit(IntEnum):
    """Exit codes of `weft`, beside 0 for success; 2 is a command line that makes no sense."""

    FAILED = 1
    USAGE = 2
    NOT_AS_DESIRED = 3
    NO_AGENT = 4


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Say what is wrong, and end."""
    sys.stderr.write(f"weft: {message}\n")
    raise SystemExit(int(code))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with a title; nothing but a line when there are no rows."""
    found = list(rows)
    if not found:
        console.print(f"[bold]{title}[/bold]: none")
        return
    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for row in found:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)
