"""`weft top`: show connections by workload and Service, or the use of shared resources by namespace."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from agent.cli.agent_client import NoAgentError, get
from agent.cli.budgets import budget_table
from agent.cli.output import Exit, Output, console, fail, grid, print_json
from agent.settings import DEFAULT_STATE, STATUS_SOCKET

Row = dict[str, Any]
_COLUMNS = (
    *("CLIENT", "SERVICE", "PROTO", "OPEN", "NEW/S", "OPENED", "REFUSED", "FAILED"),
    *("SENT", "RECEIVED", "CONNECT", "RTT"),
)


class By(StrEnum):
    """The values of `--by`."""

    WORKLOAD = "workload"
    NAMESPACE = "namespace"


def top(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this namespace.")] = None,
    by: Annotated[
        By, typer.Option(help="workload: connections. namespace: the use of shared resources.")
    ] = By.WORKLOAD,
    once: Annotated[bool, typer.Option("--once", help="Print one table, and exit.")] = False,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds between refreshes.")] = 2.0,
    output: Annotated[Output, typer.Option("-o", "--output", help="text, or json, which exits at once.")] = Output.TEXT,
) -> None:
    """Show connections by client workload and Service, busiest first. The sums survive restarts of the agent.

    Bytes and round-trip times are those of closed connections. With --by namespace: each namespace's use of the
    kernel's tables and of the waypoint's listeners, its limit now, and the number of rejected objects.
    """
    get_rows = partial(_get_rows, state, namespace, by)
    try:
        rows = get_rows()
        if output is Output.JSON:
            print_json(rows)
        elif once:
            console.print(_table(by, rows, [], 0))
        else:
            _refresh(get_rows, partial(_table, by), rows, seconds)
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _get_rows(state: Path, namespace: str | None, by: By) -> list[Row]:
    kind = "flows" if by is By.WORKLOAD else "budgets"
    rows = get(state / STATUS_SOCKET, f"/{kind}")[kind]
    return [row for row in rows if namespace in (None, row["namespace"])]


def _table(by: By, rows: list[Row], earlier: list[Row], seconds: float) -> Table:
    """The table of these rows; `earlier` are those of so many seconds ago."""
    if by is By.NAMESPACE:
        return budget_table(rows)
    return table(rows, {_name(row): row["opened"] for row in earlier}, seconds)


def _refresh(
    get_rows: Callable[[], list[Row]],
    draw: Callable[[list[Row], list[Row], float], Table],
    rows: list[Row],
    seconds: float,
) -> None:
    """Refresh in place on a terminal; otherwise print one table after the other."""
    with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as live:
        show = partial(live.update, refresh=True) if live else console.print
        show(draw(rows, [], 0))
        while True:
            earlier, read = rows, time.monotonic()
            time.sleep(seconds)
            rows = get_rows()
            show(draw(rows, earlier, time.monotonic() - read))


def _name(row: Row) -> tuple[str, ...]:
    return row["namespace"], row["workload"], row["service"], row["protocol"]


def table(rows: list[Row], before: dict[tuple[str, ...], int], seconds: float) -> Table:
    """The rows, sorted by rate. Rates are since `before`, `seconds` ago."""
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
