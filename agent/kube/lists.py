"""Lists of objects, as `kubectl get -o yaml` (`v1/List`) and the API server (`ServiceList`, …) write them."""

from collections.abc import Iterator
from typing import Any

from agent.model.change import Problem

_SUFFIX = "List"


def flattened(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every item of a list, also of lists in it, with its place (`FILE:LINE item 3`); any other document as it is.

    A list whose items cannot be told apart is a `Problem` instead.
    """
    waiting = [(where, document)]
    while waiting:
        place, item = waiting.pop()
        if not _is_list(item):
            yield place, item
            continue
        items = item.get("items")
        if items is not None and not isinstance(items, list):
            subject = f"{item['kind']} (no name)"
            yield place, Problem(place, subject, "items", f"Expected `array`, got `{type(items).__name__}`")
            continue
        inside = [(f"{place} item {number}", _typed(child, item)) for number, child in enumerate(items or ())]
        waiting += reversed(inside)


def _is_list(document: Any) -> bool:
    """`v1/List`, or `…List` of any API that has items; a kind of somebody's that is only named so has none."""
    if not isinstance(document, dict):
        return False
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str) or not kind.endswith(_SUFFIX):
        return False
    return version == "v1" if kind == _SUFFIX else "items" in document


def _typed(child: Any, parent: dict[Any, Any]) -> Any:
    """An item with its kind: the API server leaves kind and version out, which the list's own say."""
    kind = parent["kind"].removesuffix(_SUFFIX)
    if not kind or not isinstance(child, dict) or "kind" in child or "apiVersion" in child:
        return child
    return {"apiVersion": parent["apiVersion"], "kind": kind, **child}
