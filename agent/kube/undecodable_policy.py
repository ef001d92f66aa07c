"""An AuthorizationPolicy that cannot be decoded: the part of it that says which pods it selects.

It must not count as absent, because its pods would then admit every client.
"""

from typing import Any

import msgspec

from agent.model.authorization import KIND, LabelSelector, UndecodableAuthorizationPolicy
from agent.model.change import Problem
from agent.model.meta import Key


def undecodable_policy(document: Any, problem: Problem) -> tuple[UndecodableAuthorizationPolicy, ...]:
    """The decodable part of a parsed policy with this problem; empty without a name."""
    metadata = _object(_object(document).get("metadata"))
    namespace, name, generation = metadata.get("namespace", "default"), metadata.get("name"), metadata.get("generation")
    if not (isinstance(namespace, str) and isinstance(name, str)):
        return ()
    known = generation if isinstance(generation, int) else 0
    selectors = _selectors(_object(_object(document).get("spec")).get("targetRefs"))
    return (
        UndecodableAuthorizationPolicy(Key(KIND, namespace, name), known, selectors, problem.field, problem.message),
    )


def _selectors(refs: Any) -> tuple[LabelSelector, ...] | None:
    """The selectors of all targetRefs; None where one of them cannot be decoded, or where there are none."""
    if not isinstance(refs, list) or not refs:
        return None
    try:
        return tuple(msgspec.convert(_object(ref).get("selector"), LabelSelector) for ref in refs)
    except (msgspec.ValidationError, RecursionError, OverflowError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
