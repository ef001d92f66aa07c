"""What `weft status` shows: the agent's state as one JSON document, made from values and nothing else."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from agent.datapath.frontends import Installed, frontend_key
from agent.explain.render import action_text, backends
from agent.internal_errors import InternalErrors
from agent.ir.plan import Condition, Fragment, FrontendName, FrontendPlan, ParentStatus, PodPlan
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.services import service_name
from agent.ir.tables import Mode
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.node.loop import Core
from agent.node.weft_node import refusals, refused_routes
from agent.waypoint.state_machine import WaypointStateMachine

Document = dict[str, Any]
N = TypeVar("N")
T = TypeVar("T")
# Routes that say something about requests or server names.
AT_WAYPOINT = {"HTTPRoute", "GRPCRoute", "TLSRoute"}


def entries(
    part: str, errors: InternalErrors, items: Collection[tuple[N, T]], make: Callable[[N, T], Document]
) -> list[Document]:
    """An entry for each item, but for those with which that fails: these are among the internal errors."""
    found: list[Document] = []
    for name, item in items:
        with errors.guard(part, name):
            found.append(make(name, item))
    errors.keep(part, [name for name, _ in items])
    return found


def pods(fragments: Iterable[Fragment], errors: InternalErrors) -> list[Document]:
    """Pods of this node with their modes, by name."""
    plans = [(plan.pod, (cgroup, plan)) for fragment in fragments for cgroup, plan in fragment.pods.items()]
    found = entries("pod report", errors, plans, lambda _, item: _pod(*item))
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


def modes(plans: Iterable[PodPlan]) -> dict[str, int]:
    """How many pods of this node are in each mode, and how many should be in the mesh and cannot."""
    counts = dict.fromkeys((*(mode.label for mode in Mode), "l4 only", "unsupported"), 0)
    for plan in plans:
        mode = "l4 only" if plan.l4_only else plan.mode.label
        counts[mode if plan.supported else "unsupported"] += 1
    return counts


def frontends(
    desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[Any, Installed], errors: InternalErrors
) -> list[Document]:
    """Frontends as wanted, with what the kernel now does for clients of either mode."""
    plans = sorted(desired.items(), key=lambda item: item[0])
    return entries(
        "frontend report", errors, plans, lambda name, plan: _frontend(name, plan, installed.get(frontend_key(name)))
    )


def completed(
    document: Document,
    desired: Mapping[FrontendName, FrontendPlan],
    installed: Mapping[Any, Installed],
    errors: InternalErrors,
) -> Document:
    """A `status` with its frontends, and with the internal errors, those of this report too."""
    shown = frontends(desired, installed, errors)
    return document | {"frontends": shown, "errors": [item.document() for item in errors.listed()]}


def _frontend(name: FrontendName, plan: FrontendPlan, installed: Installed | None) -> Document:
    l4, l7 = (action_text(action) for action in installed.actions) if installed else ("pending", "pending")
    return {
        "frontend": str(name),
        "service": service_name(plan.service),
        "mode": plan.mode.label,
        "l4": l4,
        "l7": l7,
        "listener": plan.listener,
        "onLoss": plan.on_loss.value,
        "backends": backends(plan.slots),
        "routes": [str(route) for route in plan.routes],
    }


def routes(fragments: Iterable[Fragment], refused: Mapping[Key, str], errors: InternalErrors) -> list[Document]:
    """Routes with what each of their parents' entries says, and which of them an Envoy refuses, with the reason."""
    found = {key: parents for fragment in fragments for key, parents in fragment.statuses.items()}
    items = [(key, (parents, refused.get(key, ""))) for key, parents in sorted(found.items(), key=lambda item: item[0])]
    return entries("route report", errors, items, _route)


def _route(key: Key, told: tuple[Iterable[ParentStatus], str]) -> Document:
    parents, refused = told
    return {
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "parents": [_parent(status, refused) for status in parents],
    }


def _parent(status: ParentStatus, refused: str) -> Document:
    """A condition more where this node's Envoy refuses what was made of the Route: it is no other node's."""
    here = (Condition("Programmed", False, "RefusedByEnvoy", refused, status.generation),) if refused else ()
    return {
        "parent": parent_text(status.parent_ref),
        "conditions": [_condition(condition) for condition in (*status.conditions, *here)],
    }


def rejected_kinds(rejected: Iterable[ResourceName]) -> dict[str, int]:
    """How many resources of each kind an Envoy refuses, or cannot be encoded."""
    counts = {kind.label: 0 for kind in ResourceType}
    for name in rejected:
        counts[name.kind.label] += 1
    return counts


def without_effect(pods: Mapping[int, PodPlan], frontends: Mapping[FrontendName, FrontendPlan]) -> dict[str, set[Key]]:
    """Routes that need the waypoint, for clients of this node that do not go there: by namespace of the clients.

    Neither end is in mode l7, or the clients are on the host's network (DESIGN.md §3).
    """
    # Of thousands of frontends mostly few have any; this is asked by every scrape.
    needy = {name: plan for name, plan in frontends.items() if any(route.kind in AT_WAYPOINT for route in plan.routes)}
    found: dict[str, set[Key]] = {}
    for pod in pods.values():
        clients = f"{pod.namespace}, pods on the host's network" if pod.l4_only else pod.namespace
        if pod.mode is Mode.L4 and clients not in found:
            found[clients] = {route for plan in _kernel_s(needy, frontends, pod) for route in plan.routes}
    effects = {clients: {route for route in routes if route.kind in AT_WAYPOINT} for clients, routes in found.items()}
    return {clients: routes for clients, routes in sorted(effects.items()) if routes}


def _kernel_s(
    needy: Mapping[FrontendName, FrontendPlan], frontends: Container[FrontendName], pod: PodPlan
) -> Iterator[FrontendPlan]:
    """Of the frontends that need the waypoint those that a pod in mode l4 sees and is not sent there for."""
    for name, plan in needy.items():
        own = replace(name, consumer=pod.namespace)
        seen = name == own or (not name.consumer and own not in frontends)
        if seen and (pod.l4_only or plan.mode is not Mode.L7):
            yield plan


def parent_text(ref: ParentReference) -> str:
    """A parentRef as users know it: `Service faces/smiley:80 (http)`."""
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
    """What Envoys refused, what they do not serve as they acknowledged, those that others took over from, with how many
    are still connected to them, and how the kernel's guard stands at each address.
    """

    rejected: Mapping[ResourceName, str]
    drift: list[str]
    draining: list[Document]
    guards: Mapping[str, str]


def waypoint(machine: WaypointStateMachine, envoys: Envoys) -> Document:
    """The node's Envoy, as far as the agent knows it; `standby` is one that is to take over."""
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


def status(core: Core, node: str, envoys: Envoys, errors: InternalErrors) -> Document:
    """Everything that `weft status` shows, but for the frontends and the internal errors."""
    fragments, datapath = list(core.intake.fragments.values()), core.datapath
    return {
        "node": node,
        "synced": core.synced,
        "ready": core.ready,
        "reconciling": core.reconciling,
        "drift": core.drift,
        "pods": pods(fragments, errors),
        "routes": routes(
            fragments, refused_routes(refusals(fragments, core.rendering.dependencies, envoys.rejected)), errors
        ),
        "ineffectiveRoutes": [
            {"clients": clients, "routes": sorted(map(str, found))}
            for clients, found in without_effect(datapath.desired_pods, datapath.desired).items()
        ],
        "waypoint": waypoint(core.machine, envoys),
        "problems": sorted(str(problem) for problem in core.intake.problems.values()),
        "warnings": sorted({warning for fragment in fragments for warning in fragment.warnings}),
        "failures": core.failures,
        "fill": {name: {"rows": rows, "capacity": room} for name, (rows, room) in datapath.fill.items()},
    }
