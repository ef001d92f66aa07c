"""Header modifiers of a rule or a backend as Envoy's lists of headers to add and to remove."""

from collections.abc import Iterable
from typing import Any

from agent.model.filters import Filter, HeaderFilter
from agent.plan.resources import Json

OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
APPEND = "APPEND_IF_EXISTS_OR_ADD"


def header_changes(filters: Iterable[Filter]) -> dict[str, Any]:
    """The changes of all filters, one after the other."""
    listed = list(filters)
    requests = [item.request_header_modifier for item in listed if item.request_header_modifier]
    responses = [item.response_header_modifier for item in listed if item.response_header_modifier]
    return {**_combined("request", requests), **_combined("response", responses)}


def _combined(kind: str, changes: Iterable[HeaderFilter]) -> Json:
    """Envoy removes, then overwrites, then appends, whatever the order of the list: what a later change removes or
    sets must not be added by an earlier one.
    """
    added: list[tuple[str, str, str]] = []
    removed: list[str] = []
    for change in changes:
        gone = {name.lower() for name in change.remove}
        replaced = gone | {item.name.lower() for item in change.set}
        added = [item for item in added if item[1].lower() not in replaced]
        added += [(OVERWRITE, item.name, item.value) for item in change.set if item.name.lower() not in gone]
        added += [(APPEND, item.name, item.value) for item in change.add if item.name.lower() not in gone]
        removed += change.remove
    return {
        **({f"{kind}_headers_to_add": [_option(*item) for item in added]} if added else {}),
        **({f"{kind}_headers_to_remove": removed} if removed else {}),
    }


def _option(action: str, name: str, value: str) -> Json:
    header = {"key": name, "value": _literal(value)}
    return {"header": header, "append_action": action, "keep_empty_value": True}


def _literal(value: str) -> str:
    """A header's value is text; Envoy would read `%…%` as a command."""
    return value.replace("%", "%%")
