"""Lists and watch events as an API server sends them."""

import json
from typing import Any

from agent.model.change import Change, Delete, Problem, Resolved, Upsert


def item(name: str, version: int, namespace: str = "", **labels: str) -> dict[str, Any]:
    """A Namespace or Service, as a list has it: without kind and apiVersion."""
    meta = {"name": name, "resourceVersion": str(version), "labels": labels, "managedFields": [{"manager": "x"}]}
    return {"metadata": meta | ({"namespace": namespace} if namespace else {})}


def page(*items: Any, version: int = 10, more: str = "") -> bytes:
    return json.dumps({"metadata": {"resourceVersion": str(version), "continue": more}, "items": items}).encode()


def event(what: str, value: Any) -> bytes:
    return json.dumps({"type": what, "object": value}).encode()


def texts(changes: list[Change]) -> list[str]:
    """Changes as short texts."""
    words = []
    for change in changes:
        match change:
            case Upsert(value):
                words.append(f"+{value.key.name}")
            case Delete(key):
                words.append(f"-{key.name}")
            case Problem():
                words.append(f"problem {change.where}")
            case Resolved(where):
                words.append(f"resolved {where}")
    return words
