"""Output of the commands: tables for people, JSON for programs, and errors with exit codes.

Nothing else in `agent.cli` writes to the terminal. Every text is escaped here (`agent.telemetry.escape`), and is never
interpreted as rich's markup.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.telemetry.escape import escape, escape_lines

# If stdout is no terminal, another program reads the lines: they are not wrapped.
console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 240)


class Output(StrEnum):
    """The values of `-o`."""

    TEXT = "text"
    JSON = "json"


class Exit(IntEnum):
    """Exit codes of `weft`, beside 0 for success. 2 means an invalid command line."""

    FAILED = 1
    USAGE = 2
    NOT_AS_DESIRED = 3
    NO_AGENT = 4


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Print an error and exit."""
    print_error(f"weft: {message}")
    raise SystemExit(int(code))


def print_error(text: str) -> None:
    """Print lines on stderr."""
    sys.stderr.write(f"{escape_lines(text)}\n")


def print_line(text: str, heading: str = "", style: str = "") -> None:
    """Print one line on stdout, without wrapping. `heading` comes first, in bold."""
    console.print(Text.assemble((escape(heading), "bold"), (escape(text), style)), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(escape_lines(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def print_json_line(value: Any) -> None:
    """Print one JSON document on one line of stdout, and flush."""
    sys.stdout.write(escape(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with a title; without rows, one line."""
    found = list(rows)
    if not found:
        print_line(": none", heading=title)
        return
    table = grid(columns, found)
    table.title, table.title_justify = Text(title, "bold"), "left"
    console.print(table)


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table without borders. A cell that is a tuple has a line for each of its items."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> Text:
    lines = value if isinstance(value, tuple) else (value,)
    return Text("\n".join(escape(str(line)) for line in lines))
