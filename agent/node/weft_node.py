"""What this node's WeftNode says, computed from what Envoys refuse and what was made of which Route. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from agent.ir.plan import Fragment
from agent.ir.resources import ResourceName
from agent.model.meta import Key
from agent.model.weft_node import (
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    Owner,
    ParentPort,
    RejectedResource,
    RouteGeneration,
    WeftNode,
    WeftNodeMetadata,
    WeftNodeStatus,
)
from agent.telemetry.escape import escape

Needs = Mapping[str, frozenset[ResourceName]]


class Refusal(NamedTuple):
    """A refused resource, and one port whose listener depends on it; without a port where there is no such listener."""

    resource: ResourceName
    message: str
    parent: tuple[Key, int] | None
    routes: tuple[Key, ...]


def refusals(fragments: Iterable[Fragment], needs: Needs, rejected: Mapping[ResourceName, str]) -> list[Refusal]:
    """What is refused, for each port that it concerns, in a fixed order. Frontends of one port count once.

    `needs` are the resources that each listener depends on.
    """
    # Mostly nothing is refused, and there are thousands of fragments.
    found = set(_refusals(fragments, needs, rejected)) if rejected else set()
    unused = rejected.keys() - {refusal.resource for refusal in found}
    found |= {Refusal(resource, rejected[resource], None, ()) for resource in unused}
    return sorted(found, key=lambda item: (str(item.resource), item.parent or (), item.routes))


def _refusals(fragments: Iterable[Fragment], needs: Needs, rejected: Mapping[ResourceName, str]) -> Iterator[Refusal]:
    for fragment in fragments:
        for name, plan in fragment.frontends.items():
            for resource in needs.get(plan.listener or "", frozenset()) & rejected.keys():
                yield Refusal(resource, rejected[resource], (plan.service, name.port), plan.routes)


def refused_routes(found: Iterable[Refusal]) -> dict[Key, str]:
    """The Routes concerned, each with the resource and Envoy's reason."""
    return {route: f"{refusal.resource}: {refusal.message}" for refusal in found for route in refusal.routes}


def weft_node(
    node: str, uid: str, fragments: Collection[Fragment], needs: Needs, rejected: Mapping[ResourceName, str]
) -> WeftNode:
    """The object of this node; `uid` is its Node's, empty where that is not known."""
    found = refusals(fragments, needs, rejected)
    listed = found[:MAX_REJECTED]
    routes = {route for refusal in listed for route in refusal.routes}
    generations = {
        key: max((status.generation for status in fragment.statuses[key]), default=0)
        for fragment in (fragments if routes else ())
        for key in fragment.statuses.keys() & routes
    }
    owners = (Owner("v1", "Node", node, uid),) if uid else ()
    status = WeftNodeStatus(tuple(_rejected(refusal, generations) for refusal in listed), len(found))
    return WeftNode(WeftNodeMetadata(node, owners), status)


def _rejected(refusal: Refusal, generations: Mapping[Key, int]) -> RejectedResource:
    parent = ParentPort(*refusal.parent[0], refusal.parent[1]) if refusal.parent else None
    routes = tuple(RouteGeneration(*key, generations.get(key, 0)) for key in refusal.routes[:MAX_ROUTES])
    name, message = _text(refusal.resource.name), _text(refusal.message)
    return RejectedResource(refusal.resource.kind.label, name, message, parent, routes)


def _text(text: str) -> str:
    """For people and terminals, and in ASCII, so that the bounds of characters are bounds of the object's bytes."""
    return escape(text).encode("ascii", "backslashreplace").decode()[:MAX_TEXT]
