"""How commands print: tables for people, JSON for programs, and errors with an exit code that means something.

Nothing else in `agent.cli` writes to the terminal: here every text is escaped (`agent.telemetry.escape`), and is never
taken for rich's markup.
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

# Not a terminal: lines are for other programs, so nothing is folded.
console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 240)


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
    print_error(f"weft: {message}")
    raise SystemExit(int(code))


def print_error(text: str) -> None:
    """Lines on stderr."""
    sys.stderr.write(f"{escape_lines(text)}\n")


def print_line(text: str, heading: str = "", style: str = "") -> None:
    """One line on stdout, never folded; `heading` comes first, in bold."""
    console.print(Text.assemble((escape(heading), "bold"), (escape(text), style)), soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(escape_lines(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def print_json_line(value: Any) -> None:
    """One JSON document on one line of stdout, at once."""
    sys.stdout.write(escape(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with a title; nothing but a line when there are no rows."""
    found = list(rows)
    if not found:
        print_line(": none", heading=title)
        return
    table = grid(columns, found)
    table.title, table.title_justify = Text(title, "bold"), "left"
    console.print(table)


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows without lines around them. A cell that is a tuple has a line for each of its items."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> Text:
    lines = value if isinstance(value, tuple) else (value,)
    return Text("\n".join(escape(str(line)) for line in lines))
