"""The facts about objects that cannot be decoded, and must not count as absent."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.kube.lists import flattened
from agent.kube.undecodable_parameters import undecodable_parameters
from agent.kube.undecodable_policy import undecodable_policy
from agent.model import authorization, parameters
from agent.model.change import Keyed, Problem

Facts = tuple[Keyed, ...]
FACTS_OF_KIND: Mapping[str, Callable[[Any, Problem], Facts]] = {
    authorization.KIND: undecodable_policy,
    parameters.KIND: undecodable_parameters,
}
"""The facts about a parsed object with a problem, of the kinds that have them."""


def facts(document: Any, kind: Any, problem: Problem) -> Facts:
    """The facts about a parsed object of this kind; none of most kinds."""
    found = FACTS_OF_KIND.get(kind) if isinstance(kind, str) else None
    return found(document, problem) if found else ()


def facts_json(raw: bytes, kind: str, problem: Problem) -> Facts:
    """The same, from JSON."""
    if kind not in FACTS_OF_KIND:
        return ()
    try:
        return facts(msgspec.json.decode(raw), kind, problem)
    except (msgspec.DecodeError, RecursionError, OverflowError):
        return ()


def facts_of_document(document: Any, problem: Problem) -> Facts:
    """The same of a document of any kind, when a bug stops its reading: a list has at most one problem, so all of its
    objects have it.
    """
    items = [item for _, item in flattened(document, "") if isinstance(item, dict)]
    return tuple(fact for item in items for fact in facts(item, item.get("kind"), problem))
