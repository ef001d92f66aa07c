"""The content of this node's WeftNode: what Envoys reject and the Routes concerned, waypoints, protected pods. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from agent.ir.authorization import ServerPlan
from agent.ir.plan import Output
from agent.ir.resources import ResourceName
from agent.model.authorization import KIND as POLICY
from agent.model.core import normalized_address
from agent.model.meta import Key
from agent.model.weft_node import (
    MAX_ADDRESSES,
    MAX_GUARDED,
    MAX_POLICIES,
    MAX_REJECTED,
    MAX_ROUTES,
    MAX_TEXT,
    MAX_WAYPOINTS,
    Guarded,
    NodePolicies,
    Owner,
    ParentPort,
    PolicyGeneration,
    RejectedResource,
    RouteGeneration,
    Tunnels,
    WeftNode,
    WeftNodeMetadata,
    WeftNodeStatus,
)
from agent.telemetry.escape import escape

Dependencies = Mapping[str, frozenset[ResourceName]]


class Rejection(NamedTuple):
    """A rejected resource, and a port whose listener depends on it. `parent` is None where no listener does."""

    resource: ResourceName
    message: str
    parent: tuple[Key, int] | None
    routes: tuple[Key, ...]


def rejections(
    outputs: Iterable[Output], dependencies: Dependencies, rejected: Mapping[ResourceName, str]
) -> list[Rejection]:
    """The rejections, for each port that they concern, in a fixed order. Frontends of one port count once.

    `dependencies` are the resources that each listener depends on.
    """
    # Mostly nothing is rejected, and there are thousands of outputs.
    found = set(_rejections(outputs, dependencies, rejected)) if rejected else set()
    unused = rejected.keys() - {rejection.resource for rejection in found}
    found |= {Rejection(resource, rejected[resource], None, ()) for resource in unused}
    return sorted(found, key=lambda item: (str(item.resource), item.parent or (), item.routes))


def _rejections(
    outputs: Iterable[Output], dependencies: Dependencies, rejected: Mapping[ResourceName, str]
) -> Iterator[Rejection]:
    for output in outputs:
        for name, plan in output.frontends.items():
            for resource in dependencies.get(plan.listener or "", frozenset()) & rejected.keys():
                yield Rejection(resource, rejected[resource], (plan.service, name.port), plan.routes)


def rejected_routes(found: Iterable[Rejection]) -> dict[Key, str]:
    """The Routes concerned, each with the rejected resource and Envoy's reason."""
    return {route: f"{rejection.resource}: {rejection.message}" for rejection in found for route in rejection.routes}


def weft_node(node: str, uid: str, status: WeftNodeStatus) -> WeftNode:
    """The WeftNode of this node. `uid` is the uid of its Node, empty where that is not known."""
    return WeftNode(WeftNodeMetadata(node, (Owner("v1", "Node", node, uid),) if uid else ()), status)


def with_rejections(
    status: WeftNodeStatus,
    outputs: Collection[Output],
    dependencies: Dependencies,
    rejected: Mapping[ResourceName, str],
) -> WeftNodeStatus:
    """A status with what Envoys reject."""
    found = rejections(outputs, dependencies, rejected)
    listed = found[:MAX_REJECTED]
    routes = {route for rejection in listed for route in rejection.routes}
    generations = {
        key: max((status.generation for status in output.statuses[key]), default=0)
        for output in (outputs if routes else ())
        for key in output.statuses.keys() & routes
    }
    items = tuple(_rejected(rejection, generations) for rejection in listed)
    return msgspec.structs.replace(status, rejected=items, rejected_count=len(found))


def guard_status(
    waypoints: Iterable[str],
    enforced: bool | None,
    servers: Iterable[ServerPlan],
    tunnels: Tunnels | UnsetType | None = None,
    node_policies: NodePolicies | UnsetType = UNSET,
) -> WeftNodeStatus:
    """What other nodes need to know: the waypoints and whether they enforce policies (None: that is not known), the
    pods that policies select, the tunnels, and the policies.
    """
    addresses: dict[tuple[str, tuple[PolicyGeneration, ...]], set[str]] = defaultdict(set)
    for plan in servers:
        policies = tuple(
            PolicyGeneration(key.name, generation)
            for key, generation in zip(plan.policies, plan.generations, strict=True)
            if key.kind == POLICY
        )
        # Others would refuse too many clients by some of the policies alone.
        if len(policies) <= MAX_POLICIES:
            addresses[plan.pod.namespace, policies].update(map(normalized_address, plan.addresses))
    entries = [
        Guarded(namespace, part, policies)
        for (namespace, policies), found in addresses.items()
        for part in _parts(sorted(found))
    ]
    entries.sort(key=lambda entry: (entry.namespace, entry.addresses))
    listed = tuple(sorted(set(map(normalized_address, filter(None, waypoints)))))
    return WeftNodeStatus(
        waypoints=listed[:MAX_WAYPOINTS],
        waypoint_policies=UNSET if enforced is None else enforced,
        guarded=tuple(entries[:MAX_GUARDED]),
        tunnels=tunnels,
        policies=node_policies,
    )


def _parts(addresses: list[str]) -> Iterator[tuple[str, ...]]:
    """The addresses in parts that fit into an entry."""
    for start in range(0, len(addresses), MAX_ADDRESSES):
        yield tuple(addresses[start : start + MAX_ADDRESSES])


def _rejected(rejection: Rejection, generations: Mapping[Key, int]) -> RejectedResource:
    parent = ParentPort(*rejection.parent[0], rejection.parent[1]) if rejection.parent else None
    routes = tuple(RouteGeneration(*key, generations.get(key, 0)) for key in rejection.routes[:MAX_ROUTES])
    name, message = _text(rejection.resource.name), _text(rejection.message)
    return RejectedResource(rejection.resource.kind.label, name, message, parent, routes)


def _text(text: str) -> str:
    """The text for terminals. It is ASCII, so that the schema's limits on characters are limits on bytes."""
    return escape(text).encode("ascii", "backslashreplace").decode()[:MAX_TEXT]
