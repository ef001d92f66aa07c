"""What agents report in their WeftNodes: rejections by Route, tunnels by node, and policies. Pure: no I/O.

All bounds of the schema are applied here again: whoever has a node's credentials can write its WeftNode.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import msgspec

from agent.controller.programmed import PolicyReports
from agent.ir.plan import Condition, ParentStatus
from agent.kube.collection import Collection
from agent.model.change import Change, Delete, Keyed, Problem, Upsert
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.model.weft_node import (
    KIND,
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    VERSION,
    NodePolicies,
    RejectedResource,
    Tunnels,
    WeftNode,
)
from agent.telemetry.escape import escape

# The number of nodes that a message names.
NAMED = 3


class RejectedRoute(NamedTuple):
    """An Envoy rejects what was made of a Route in this generation, for one port of a parent."""

    route: Key
    generation: int
    parent: Key
    port: int
    text: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node reports: rejections, its tunnels, and its policies; None where it reports none."""

    node: str
    rejected: tuple[RejectedRoute, ...]
    tunnels: Tunnels | None = None
    policies: NodePolicies | None = None

    @property
    def key(self) -> Key:
        """The WeftNode."""
        return Key(KIND, "", self.node)


class NodeReports:
    """The rejections, tunnels and policies that all nodes report."""

    def __init__(self) -> None:
        self.tunnels: dict[str, Tunnels | None] = {}
        """By node."""
        self.policies = PolicyReports()
        self._by_route: dict[Key, dict[str, list[RejectedRoute]]] = {}
        self._routes: dict[str, set[Key]] = {}

    def update(self, change: Change) -> set[Key]:
        """Apply a change of a WeftNode. Returns the Routes that were or are in it, and the policies
        that it may make a difference to.
        """
        match change:
            case Upsert(NodeReport(node, rejected, tunnels, policies)):
                self.tunnels[node] = tunnels
                return self._replace(node, rejected) | self.policies.replace(node, policies)
            case Delete(Key(kind, _, node)) if kind == KIND:
                self.tunnels.pop(node, None)
                return self._replace(node, ()) | self.policies.remove(node)
        return set()

    def _replace(self, node: str, rejected: Sequence[RejectedRoute]) -> set[Key]:
        before = self._routes.pop(node, set())
        for route in before:
            del self._by_route[route][node]
            if not self._by_route[route]:
                del self._by_route[route]
        found: dict[Key, list[RejectedRoute]] = defaultdict(list)
        for item in rejected:
            found[item.route].append(item)
        for route, items in found.items():
            self._by_route.setdefault(route, {})[node] = items
        if found:
            self._routes[node] = set(found)
        return before | found.keys()

    def with_rejections(self, route: Key, parents: Sequence[ParentStatus]) -> tuple[ParentStatus, ...]:
        """A Route's statuses, with one more condition at each parent where nodes reject it."""
        reports = self._by_route.get(route)
        return tuple(_with_rejections(route, status, reports) if reports else status for status in parents)


def _with_rejections(route: Key, status: ParentStatus, reports: dict[str, list[RejectedRoute]]) -> ParentStatus:
    """Reports of other generations are ignored: a node with the current generation reports that one."""
    texts = {
        node: item.text
        for node, items in sorted(reports.items())
        for item in reversed(items)
        if item.generation == status.generation and _is_port_of(status.parent_ref, route.namespace, item)
    }
    if not texts:
        return status
    condition = Condition("Programmed", False, "RejectedByEnvoy", _message(texts), status.generation)
    return replace(status, conditions=(*status.conditions, condition))


def _is_port_of(ref: ParentReference, namespace: str, item: RejectedRoute) -> bool:
    """Whether a parentRef includes the port. One with a sectionName is assumed to: the message names the port."""
    parent = Key(ref.kind, ref.namespace or namespace, ref.name)
    return parent == item.parent and ref.port in (None, item.port)


def _message(texts: dict[str, str]) -> str:
    """The number of nodes that reject the Route, the names of the first, and the first one's reason."""
    nodes = list(texts)
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    named = ", ".join(nodes[:NAMED]) + more
    return f"Envoy refuses it on {len(nodes)} node{'s' if nodes[1:] else ''} ({named}); {nodes[0]}: {texts[nodes[0]]}"


def report_collection() -> Collection:
    """The collection of WeftNodes."""
    return Collection(KIND, (VERSION,), _read, defined=True)


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        node = msgspec.json.decode(raw, type=WeftNode)
    except (msgspec.DecodeError, RecursionError, OverflowError) as error:
        return Problem(where, KIND, "$", str(error))
    rejected = node.status.rejected or ()
    items = (item for resource in rejected[:MAX_REJECTED] for item in _rejected_routes(resource))
    status = node.status
    return (NodeReport(node.metadata.name, tuple(items), status.tunnels or None, status.policies or None),)


def _rejected_routes(rejected: RejectedResource) -> Iterator[RejectedRoute]:
    parent = rejected.parent
    if parent is not None:
        text = escape(f"{rejected.type} {rejected.name}: {rejected.message}")[: 2 * MAX_TEXT]
        key = Key(parent.kind, parent.namespace, parent.name)
        for route in rejected.routes[:MAX_ROUTES]:
            route_key = Key(route.kind, route.namespace, route.name)
            yield _shared(RejectedRoute(route_key, route.generation, key, parent.port, text))


@lru_cache(maxsize=2_000)
def _shared(item: RejectedRoute) -> RejectedRoute:
    """Deduplicates equal values: mostly all nodes reject the same resource for the same reason."""
    return item
