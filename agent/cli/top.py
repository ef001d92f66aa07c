"""`weft top`: who talks to whom, and how much."""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from agent.cli.ask import NoAgentError, ask
from agent.cli.output import Exit, Output, console, fail, grid, print_json
from agent.settings import DEFAULT_STATE, STATUS_SOCKET

Row = dict[str, Any]
_COLUMNS = (
    *("CLIENT", "SERVICE", "PROTO", "OPEN", "NEW/S", "OPENED", "REFUSED", "FAILED"),
    *("SENT", "RECEIVED", "CONNECT", "RTT"),
)


def top(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Of the client workloads.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show what there is, and end.")] = False,
    seconds: Annotated[float, typer.Option(min=0.5, help="How often it is shown anew.")] = 2.0,
    output: Annotated[Output, typer.Option("-o", "--output", help="text, or json, which ends at once.")] = Output.TEXT,
) -> None:
    """Show connections by client workload and Service, busiest first: all since the kernel first met them.

    Bytes and round trips are those of connections that have closed.
    """
    try:
        rows = _ask(state, namespace)
        if output is Output.JSON:
            print_json(rows)
        elif once:
            console.print(table(rows, {}, 0))
        else:
            _refresh(state, namespace, rows, seconds)
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _ask(state: Path, namespace: str | None) -> list[Row]:
    rows = ask(state / STATUS_SOCKET, "/flows")["flows"]
    return [row for row in rows if namespace in (None, row["namespace"])]


def _refresh(state: Path, namespace: str | None, rows: list[Row], seconds: float) -> None:
    """On a terminal in place, else one table below the other."""
    with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as live:
        show = partial(live.update, refresh=True) if live else console.print
        show(table(rows, {}, 0))
        while True:
            before, asked = {_name(row): row["opened"] for row in rows}, time.monotonic()
            time.sleep(seconds)
            rows = _ask(state, namespace)
            show(table(rows, before, time.monotonic() - asked))


def _name(row: Row) -> tuple[str, ...]:
    return row["namespace"], row["workload"], row["service"], row["protocol"]


def table(rows: list[Row], before: dict[tuple[str, ...], int], seconds: float) -> Table:
    """The rows, busiest first; rates are since `before`, `seconds` ago."""
    rates = {_name(row): (row["opened"] - before.get(_name(row), 0)) / seconds if seconds else 0.0 for row in rows}
    ordered = sorted(rows, key=lambda row: (-rates[_name(row)], -row["opened"], _name(row)))
    return grid(_COLUMNS, (_cells(row, f"{rates[_name(row)]:.1f}" if seconds else "") for row in ordered))


def _cells(row: Row, rate: str) -> list[str]:
    followed = row["protocol"] == "TCP"
    return [
        f"{row['namespace']}/{row['workload']}",
        row["service"],
        row["protocol"],
        str(row["established"] - row["closed"]) if followed else "",
        rate,
        *(str(row[name]) for name in ("opened", "refused", "failed")),
        *(amount(row[name]) if followed else "" for name in ("sent", "received")),
        _mean(row["connectMicroseconds"], row["established"]),
        _mean(row["rttMicroseconds"], row["closed"]),
    ]


def amount(number: float) -> str:
    """Bytes for people: `17 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _mean(microseconds: int, times: int) -> str:
    return f"{microseconds / times / 1000:.2f} ms" if times else ""
