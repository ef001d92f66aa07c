"""A Route that cannot be decoded: the part of it that is needed to write its status.

The API server accepted it, so the server has another schema: a later version, or a fork. Its status says what is wrong,
at the parents that can be decoded.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from agent.kube.decode import without_nulls
from agent.model.change import Problem
from agent.model.meta import Key
from agent.model.routes import ParentReference, UndecodableRoute


def undecodable_route(raw: bytes, kind: str, problem: Problem) -> tuple[UndecodableRoute, ...]:
    """The decodable part of a Route with this problem; empty without namespace and name."""
    try:
        document = without_nulls(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError, OverflowError):
        return ()
    metadata = _object(_object(document).get("metadata"))
    namespace, name, generation = metadata.get("namespace"), metadata.get("name"), metadata.get("generation", 0)
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(generation, int)):
        return ()
    parents = _parents(_object(document).get("spec"))
    return (UndecodableRoute(Key(kind, namespace, name), generation, parents, problem.field, problem.message),)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parents(spec: Any) -> tuple[ParentReference, ...] | None:
    """The parentRefs that can be decoded; None if there is no list of them."""
    items = spec.get("parentRefs", []) if isinstance(spec, dict) else None
    return tuple(_each(items)) if isinstance(items, list) else None


def _each(items: list[Any]) -> Iterator[ParentReference]:
    for item in items:
        try:
            yield msgspec.convert(item, ParentReference)
        except (msgspec.ValidationError, RecursionError, OverflowError):
            continue
