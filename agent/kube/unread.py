"""A Route that cannot be read, as far as it can: enough of it to tell whoever wrote it.

The API server took it, so its schema is another than ours: of a later version, or of a fork. It is told in its status
what is wrong, at the parents that it names in a way we know.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from agent.kube.decode import without_nulls
from agent.model.change import Problem
from agent.model.meta import Key
from agent.model.routes import ParentReference, UnreadRoute


def unread_route(raw: bytes, kind: str, problem: Problem) -> tuple[UnreadRoute, ...]:
    """What is to be told of a Route that has this problem; nothing where it does not even say which it is."""
    try:
        document = without_nulls(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError, OverflowError):
        return ()
    metadata = _object(_object(document).get("metadata"))
    namespace, name, generation = metadata.get("namespace"), metadata.get("name"), metadata.get("generation", 0)
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(generation, int)):
        return ()
    parents = _parents(_object(document).get("spec"))
    return (UnreadRoute(Key(kind, namespace, name), generation, parents, problem.field, problem.message),)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parents(spec: Any) -> tuple[ParentReference, ...] | None:
    """Every parentRef that can be read by itself, None where there is no list of them to read."""
    items = spec.get("parentRefs", []) if isinstance(spec, dict) else None
    return tuple(_each(items)) if isinstance(items, list) else None


def _each(items: list[Any]) -> Iterator[ParentReference]:
    for item in items:
        try:
            yield msgspec.convert(item, ParentReference)
        except (msgspec.ValidationError, RecursionError, OverflowError):
            continue
