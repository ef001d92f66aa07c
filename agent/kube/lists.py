"""Lists of objects: those of `kubectl get -o yaml` (`v1/List`) and of the API server (`ServiceList`, …)."""

from collections.abc import Iterator
from typing import Any

from agent.model.change import Problem

_SUFFIX = "List"


def flattened(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every item of a list, of nested lists too, with its location (`FILE:LINE item 3`). Another document is returned
    as it is.

    A list whose items cannot be separated is a `Problem`.
    """
    waiting = [(where, document)]
    while waiting:
        location, item = waiting.pop()
        if not _is_list(item):
            yield location, item
            continue
        items = item.get("items")
        if items is not None and not isinstance(items, list):
            subject = f"{item['kind']} (no name)"
            yield location, Problem(location, subject, "items", f"Expected `array`, got `{type(items).__name__}`")
            continue
        inside = [(f"{location} item {number}", _typed(child, item)) for number, child in enumerate(items or ())]
        waiting += reversed(inside)


def _is_list(document: Any) -> bool:
    """Whether it is a `v1/List`, or a `…List` with items of any API."""
    if not isinstance(document, dict):
        return False
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str) or not kind.endswith(_SUFFIX):
        return False
    return version == "v1" if kind == _SUFFIX else "items" in document


def _typed(child: Any, parent: dict[Any, Any]) -> Any:
    """An item with the kind and apiVersion of its list, which the API server leaves out."""
    kind = parent["kind"].removesuffix(_SUFFIX)
    if not kind or not isinstance(child, dict) or "kind" in child or "apiVersion" in child:
        return child
    return {"apiVersion": parent["apiVersion"], "kind": kind, **child}
