"""An AuthorizationPolicy that cannot be decoded: the part of it that says which pods it selects.

It must not count as absent, because its pods would then admit every client.
"""

from typing import Any

import msgspec

from agent.model.authorization import AUDIT, AUDITED, KIND, LabelSelector, UndecodableAuthorizationPolicy
from agent.model.change import Problem
from agent.model.meta import Key


def undecodable_policy(document: Any, problem: Problem) -> tuple[UndecodableAuthorizationPolicy, ...]:
    """The decodable part of a parsed policy with this problem; empty without a name."""
    metadata = _object(_object(document).get("metadata"))
    namespace, name, generation = metadata.get("namespace", "default"), metadata.get("name"), metadata.get("generation")
    if not (isinstance(namespace, str) and isinstance(name, str)):
        return ()
    known = generation if isinstance(generation, int) else 0
    selectors, services = _targets(_object(_object(document).get("spec")).get("targetRefs"))
    key, there = Key(KIND, namespace, name), tuple(Key("Service", namespace, service) for service in services)
    audited, uid = _object(metadata.get("annotations")).get(AUDIT) == AUDITED, metadata.get("uid")
    named, where = uid if isinstance(uid, str) else "", (problem.field, problem.message)
    return (UndecodableAuthorizationPolicy(key, known, selectors, *where, there, audited, named),)


def _targets(refs: Any) -> tuple[tuple[LabelSelector, ...] | None, tuple[str, ...]]:
    """The selectors of all targetRefs, and the names of the Services among them; None and no names where one of them
    cannot be decoded, or where there are none.
    """
    if not isinstance(refs, list) or not refs:
        return None, ()
    selectors, services = [], []
    try:
        for ref in map(_object, refs):
            if ref.get("kind") == "Service" and "selector" not in ref:
                services.append(msgspec.convert(ref.get("name"), str))
            else:
                selectors.append(msgspec.convert(ref.get("selector"), LabelSelector))
    except (msgspec.ValidationError, RecursionError, OverflowError):
        return None, ()
    return tuple(selectors), tuple(services)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
