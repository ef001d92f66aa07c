"""What agents report by their WeftNodes, by Route. Pure: it neither asks nor waits.

Every bound of the definition is applied here again: whoever has a node's credentials can write its WeftNode.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import msgspec

from agent.ir.plan import Condition, ParentStatus
from agent.kube.collection import Collection
from agent.model.change import Change, Delete, Keyed, Problem, Upsert
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.model.weft_node import KIND, MAX_REJECTED, MAX_ROUTES, MAX_TEXT, VERSION, RejectedResource, WeftNode
from agent.telemetry.escape import escape

# Of nodes that refuse a Route, a message names so many.
NAMED = 3


class Refused(NamedTuple):
    """That an Envoy refuses what was made of a Route in this generation, for one port of a parent."""

    route: Key
    generation: int
    parent: Key
    port: int
    text: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node reports."""

    node: str
    refused: tuple[Refused, ...]

    @property
    def key(self) -> Key:
        """The WeftNode."""
        return Key(KIND, "", self.node)


class NodeReports:
    """What every node reports."""

    def __init__(self) -> None:
        self._by_route: dict[Key, dict[str, list[Refused]]] = {}
        self._routes: dict[str, set[Key]] = {}

    def take(self, change: Change) -> set[Key]:
        """Note a change of a report; returns the Routes that were or are in it."""
        match change:
            case Upsert(NodeReport(node, refused)):
                return self._replace(node, refused)
            case Delete(Key(kind, _, node)) if kind == KIND:
                return self._replace(node, ())
        return set()

    def _replace(self, node: str, refused: Sequence[Refused]) -> set[Key]:
        before = self._routes.pop(node, set())
        for route in before:
            del self._by_route[route][node]
            if not self._by_route[route]:
                del self._by_route[route]
        found: dict[Key, list[Refused]] = defaultdict(list)
        for item in refused:
            found[item.route].append(item)
        for route, items in found.items():
            self._by_route.setdefault(route, {})[node] = items
        if found:
            self._routes[node] = set(found)
        return before | found.keys()

    def added(self, route: Key, parents: Sequence[ParentStatus]) -> tuple[ParentStatus, ...]:
        """A Route's statuses, with one condition more at each parent where nodes refuse it."""
        reports = self._by_route.get(route)
        return tuple(_with_refusals(route, status, reports) if reports else status for status in parents)


def _with_refusals(route: Key, status: ParentStatus, reports: dict[str, list[Refused]]) -> ParentStatus:
    """Reports of other generations are left out: a node that has the newest one reports it."""
    texts = {
        node: item.text
        for node, items in sorted(reports.items())
        for item in reversed(items)
        if item.generation == status.generation and _is_port_of(status.parent_ref, route.namespace, item)
    }
    if not texts:
        return status
    condition = Condition("Programmed", False, "RefusedByEnvoy", _message(texts), status.generation)
    return replace(status, conditions=(*status.conditions, condition))


def _is_port_of(ref: ParentReference, namespace: str, item: Refused) -> bool:
    """Whether a parentRef has the port. One with a sectionName is taken to: the message names the port."""
    parent = Key(ref.kind, ref.namespace or namespace, ref.name)
    return parent == item.parent and ref.port in (None, item.port)


def _message(texts: dict[str, str]) -> str:
    """Which nodes refuse, the first of them by name, and the reason of the first."""
    nodes = list(texts)
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    named = ", ".join(nodes[:NAMED]) + more
    return f"Envoy refuses it on {len(nodes)} node{'s' if nodes[1:] else ''} ({named}); {nodes[0]}: {texts[nodes[0]]}"


def report_collection() -> Collection:
    """The WeftNodes."""
    return Collection(KIND, (VERSION,), _read, defined=True)


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        node = msgspec.json.decode(raw, type=WeftNode)
    except (msgspec.DecodeError, RecursionError, OverflowError) as error:
        return Problem(where, KIND, "$", str(error))
    items = (item for rejected in node.status.rejected[:MAX_REJECTED] for item in _refused(rejected))
    return (NodeReport(node.metadata.name, tuple(items)),)


def _refused(rejected: RejectedResource) -> Iterator[Refused]:
    parent = rejected.parent
    if parent is not None:
        text = escape(f"{rejected.type} {rejected.name}: {rejected.message}")[: 2 * MAX_TEXT]
        key = Key(parent.kind, parent.namespace, parent.name)
        for route in rejected.routes[:MAX_ROUTES]:
            place = Key(route.kind, route.namespace, route.name)
            yield _shared(Refused(place, route.generation, key, parent.port, text))


@lru_cache(maxsize=2_000)
def _shared(item: Refused) -> Refused:
    """The same object for equal values: mostly all nodes refuse the same for the same reason."""
    return item
