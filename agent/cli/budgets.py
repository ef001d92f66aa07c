"""`weft top --by namespace`: the use of shared resources."""

from typing import Any

from rich.table import Table

from agent.cli.output import grid

Row = dict[str, Any]
_COLUMNS = ("RESOURCE", "NAMESPACE", "USED", "LIMIT", "CAPACITY", "REJECTED")


def budget_table(rows: list[Row]) -> Table:
    """The rows in the agent's order: by resource, the largest use first."""
    return grid(_COLUMNS, ([_owner(row[column.lower()], column) for column in _COLUMNS] for row in rows))


def _owner(value: object, column: str) -> object:
    """A cell. Rows that an earlier agent installed have no namespace until the first pass has ended."""
    return "(unknown)" if column == "NAMESPACE" and not value else value
