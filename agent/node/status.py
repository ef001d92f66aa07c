"""The document of `weft status`: the agent's state as JSON. Pure."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from agent.datapath.frontends import Installed, frontend_key
from agent.explain.render import action_text, backends
from agent.internal_errors import InternalErrors
from agent.ir.envoy import Envoy
from agent.ir.plan import Condition, FrontendName, FrontendPlan, Output, ParentStatus, PodPlan
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.services import service_name
from agent.ir.tables import Mode
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.node.datapath_controller import DatapathController
from agent.node.weft_node import rejected_routes, rejections
from agent.waypoint.drainer import DrainStatus
from agent.waypoint.state_machine import WaypointStateMachine

Document = dict[str, Any]
N = TypeVar("N")
T = TypeVar("T")
# Kinds of Routes with rules about requests or server names, which only Envoy can apply.
L7_ROUTE_KINDS = {"HTTPRoute", "GRPCRoute", "TLSRoute"}


def entries(
    part: str, errors: InternalErrors, items: Collection[tuple[N, T]], make: Callable[[N, T], Document]
) -> list[Document]:
    """An entry for each item. An item whose entry raises is left out, and listed among the internal errors."""
    found: list[Document] = []
    for name, item in items:
        with errors.guard(part, name):
            found.append(make(name, item))
    errors.keep(part, [name for name, _ in items])
    return found


def pods(outputs: Iterable[Output], errors: InternalErrors) -> list[Document]:
    """Pods of this node with their modes, sorted by name."""
    plans = [(plan.pod, (cgroup, plan)) for output in outputs for cgroup, plan in output.pods.items()]
    found = entries("pod status", errors, plans, lambda _, item: _pod(*item))
    return sorted(found, key=lambda pod: (str(pod["pod"]), pod["cgroup"]))


def _pod(cgroup: int, plan: PodPlan) -> Document:
    return {
        "pod": f"{plan.pod.namespace}/{plan.pod.name}",
        "mode": plan.mode.label,
        "supported": plan.supported,
        "l4Only": plan.l4_only,
        "modeReason": plan.mode_reason,
        "addresses": list(plan.addresses),
        "serviceAccount": plan.identity.service_account or None,
        "workload": plan.identity.workload.name,
        "cgroup": cgroup,
    }


def pod_counts(plans: Iterable[PodPlan]) -> dict[str, int]:
    """The number of pods of this node in each mode, and of those that cannot be enrolled though they should be."""
    counts = dict.fromkeys((*(mode.label for mode in Mode), "l4 only", "unsupported"), 0)
    for plan in plans:
        mode = "l4 only" if plan.l4_only else plan.mode.label
        counts[mode if plan.supported else "unsupported"] += 1
    return counts


def frontends(
    desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[Any, Installed], errors: InternalErrors
) -> list[Document]:
    """The desired frontends, with what the kernel does now for clients in mode l4 and l7."""
    plans = sorted(desired.items(), key=lambda item: item[0])
    return entries(
        "frontend status", errors, plans, lambda name, plan: _frontend(name, plan, installed.get(frontend_key(name)))
    )


def with_frontends(
    document: Document,
    desired: Mapping[FrontendName, FrontendPlan],
    installed: Mapping[Any, Installed],
    errors: InternalErrors,
) -> Document:
    """A `status` with its frontends, and with the internal errors, including those of this function."""
    shown = frontends(desired, installed, errors)
    return document | {"frontends": shown, "internalErrors": [item.document() for item in errors.listed()]}


def _frontend(name: FrontendName, plan: FrontendPlan, installed: Installed | None) -> Document:
    l4, l7 = (action_text(action) for action in installed.actions) if installed else ("pending", "pending")
    return {
        "frontend": str(name),
        "service": service_name(plan.service),
        "mode": plan.mode.label,
        "l4": l4,
        "l7": l7,
        "listener": plan.listener,
        "onWaypointLoss": plan.on_loss.value,
        "backends": backends(plan.slots),
        "routes": [str(route) for route in plan.routes],
    }


def routes(outputs: Iterable[Output], rejected: Mapping[Key, str], errors: InternalErrors) -> list[Document]:
    """Routes with the conditions of each parent, and the reason where an Envoy rejects what was made of a Route."""
    found = {key: parents for output in outputs for key, parents in output.statuses.items()}
    items = [
        (key, (parents, rejected.get(key, ""))) for key, parents in sorted(found.items(), key=lambda item: item[0])
    ]
    return entries("route status", errors, items, _route)


def _route(key: Key, item: tuple[Iterable[ParentStatus], str]) -> Document:
    parents, rejected = item
    return {
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "parents": [_parent(status, rejected) for status in parents],
    }


def _parent(status: ParentStatus, rejected: str) -> Document:
    """The entry of a parent, with one condition more where this node's Envoy rejects the Route."""
    here = (Condition("Programmed", False, "RejectedByEnvoy", rejected, status.generation),) if rejected else ()
    return {
        "parent": parent_text(status.parent_ref),
        "conditions": [_condition(condition) for condition in (*status.conditions, *here)],
    }


def rejected_kinds(rejected: Iterable[ResourceName]) -> dict[str, int]:
    """The number of resources of each kind that an Envoy rejects or that cannot be encoded."""
    counts = {kind.label: 0 for kind in ResourceType}
    for name in rejected:
        counts[name.kind.label] += 1
    return counts


def ineffective_routes(
    pods: Mapping[int, PodPlan], frontends: Mapping[FrontendName, FrontendPlan]
) -> dict[str, set[Key]]:
    """Routes that need the waypoint, for clients of this node that are not sent there: by namespace of the clients.

    Neither end is in mode l7, or the clients are on the host's network (DESIGN.md §3).
    """
    # Mostly few of thousands of frontends have such Routes, and every scrape calls this.
    l7_frontends = {
        name: plan for name, plan in frontends.items() if any(route.kind in L7_ROUTE_KINDS for route in plan.routes)
    }
    found: dict[str, set[Key]] = {}
    for pod in pods.values():
        clients = f"{pod.namespace}, pods on the host's network" if pod.l4_only else pod.namespace
        if pod.mode is Mode.L4 and clients not in found:
            found[clients] = {
                route for plan in _without_waypoint(l7_frontends, frontends, pod) for route in plan.routes
            }
    effects = {
        clients: {route for route in routes if route.kind in L7_ROUTE_KINDS} for clients, routes in found.items()
    }
    return {clients: routes for clients, routes in sorted(effects.items()) if routes}


def _without_waypoint(
    l7_frontends: Mapping[FrontendName, FrontendPlan], frontends: Container[FrontendName], pod: PodPlan
) -> Iterator[FrontendPlan]:
    """The frontends of `l7_frontends` that a pod in mode l4 uses without being sent to the waypoint."""
    for name, plan in l7_frontends.items():
        own = replace(name, consumer=pod.namespace)
        seen = name == own or (not name.consumer and own not in frontends)
        if seen and (pod.l4_only or plan.mode is not Mode.L7):
            yield plan


def parent_text(ref: ParentReference) -> str:
    """A parentRef for people: `Service faces/smiley:80 (http)`."""
    text = f"{ref.kind} {ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind} {ref.name}"
    port = f":{ref.port}" if ref.port else ""
    section = f" ({ref.section_name})" if ref.section_name else ""
    return text + port + section


def _condition(condition: Condition) -> Document:
    return {
        "type": condition.type,
        "status": str(condition.status),
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
    }


@dataclass(frozen=True, slots=True)
class Envoys:
    """The Envoys' rejections, differences between what they serve and what they acknowledged, draining Envoys with
    their connections, and the state of the kernel's guard at each waypoint address.
    """

    rejected: Mapping[ResourceName, str]
    drift: list[str]
    draining: list[Document]
    guards: Mapping[str, str]


def draining(statuses: Mapping[Envoy, DrainStatus]) -> list[Document]:
    """Envoys that another Envoy has replaced, with the number of connections that they still have."""
    return [
        {
            "id": envoy.id,
            "addresses": list(envoy.addresses),
            "connections": drain.connections,
            "drained": drain.drained,
        }
        for envoy, drain in statuses.items()
    ]


def waypoint(machine: WaypointStateMachine, envoys: Envoys) -> Document:
    """The node's active Envoy and its listeners. `standby` has the addresses of the Envoy that will replace it."""
    standby = machine.failover.standby
    return {
        "addresses": list(machine.failover.active),
        "connected": bool(machine.connected),
        "lost": machine.lost,
        "standby": list(standby.addresses) if standby else None,
        "draining": envoys.draining,
        "guards": dict(envoys.guards),
        "drift": envoys.drift,
        "listeners": [
            {"name": name, "port": machine.ports.get(name), "state": phase} for name, phase in machine.phases().items()
        ],
        "rejected": {str(name): text for name, text in envoys.rejected.items()},
    }


def status(controller: DatapathController, node: str, envoys: Envoys, errors: InternalErrors) -> Document:
    """The document of `weft status` without the frontends and the internal errors."""
    outputs, datapath = list(controller.change_queue.outputs.values()), controller.datapath
    return {
        "node": node,
        "synced": controller.synced,
        "ready": controller.ready,
        "reconciling": controller.reconciling,
        "drift": controller.drift,
        "pods": pods(outputs, errors),
        "routes": routes(
            outputs,
            rejected_routes(rejections(outputs, controller.rendering.dependencies, envoys.rejected)),
            errors,
        ),
        "ineffectiveRoutes": [
            {"clients": clients, "routes": sorted(map(str, found))}
            for clients, found in ineffective_routes(datapath.desired_pods, datapath.desired).items()
        ],
        "waypoint": waypoint(controller.machine, envoys),
        "problems": sorted(str(problem) for problem in controller.change_queue.problems.values()),
        "warnings": sorted({warning for output in outputs for warning in output.warnings}),
        "failures": controller.failures,
        "tables": {name: {"rows": rows, "capacity": capacity} for name, (rows, capacity) in datapath.fill.items()},
    }
