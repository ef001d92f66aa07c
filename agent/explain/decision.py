"""What the kernel does with a connection, by the plan: the same questions in the same order as bpf/decide.h."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.datapath.frontends import goes_to_waypoint
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.model.meta import Key
from agent.model.routes import GRPCRoute, HTTPRoute, TLSRoute
from agent.translate.labels import SCOPE

FOR_WAYPOINT = frozenset(kind.__name__ for kind in (HTTPRoute, GRPCRoute, TLSRoute))


class TrafficPath(StrEnum):
    """The path of a connection."""

    NONE = "none"
    KERNEL = "kernel"
    WAYPOINT = "waypoint"


@dataclass(frozen=True, slots=True)
class Decision:
    """The path and the reason for it; `name` and `plan` are those of the frontend, if there is one."""

    path: TrafficPath
    reason: str
    name: FrontendName | None = None
    plan: FrontendPlan | None = None


def decide(frontends: Mapping[FrontendName, FrontendPlan], pod: PodPlan, dialled: FrontendName) -> Decision:
    """The path of a pod's connection. `dialled` is an address, port and protocol, without a consumer."""
    if pod.mode is Mode.NONE:
        return Decision(TrafficPath.NONE, f"the client is in mode none: {pod.mode_reason}")
    name = frontend_of(frontends, pod, dialled)
    if name is None:
        return Decision(TrafficPath.NONE, f"{dialled} is no Service's address and port")
    plan = frontends[name]
    routes = _routes_text(plan.routes)
    if goes_to_waypoint(plan, pod.mode):
        deeper = "client" if pod.mode is Mode.L7 else "Service"
        reason = routes if plan.routes else f"the label {SCOPE} requires it"
        if pod.l4_only:
            return Decision(
                TrafficPath.NONE, f"{reason}, but the client is on the host's network: a waypoint cannot identify it"
            )
        return Decision(TrafficPath.WAYPOINT, f"{reason}, and the {deeper} is in mode l7", name, plan)
    if plan.routes and plan.routes[0].kind in FOR_WAYPOINT:
        return Decision(TrafficPath.KERNEL, f"{routes}, but neither end is in mode l7", name, plan)
    return Decision(TrafficPath.KERNEL, routes, name, plan)


def frontend_of(
    frontends: Mapping[FrontendName, FrontendPlan], pod: PodPlan, name: FrontendName
) -> FrontendName | None:
    """The frontend that decides: that of the client's namespace, when it has consumer routes; else the general one."""
    own = FrontendName(name.address, name.port, name.protocol, pod.namespace)
    if pod.flags & PodFlag.CONSUMER_ROUTES and own in frontends:
        return own
    return name if name in frontends else None


def _routes_text(routes: tuple[Key, ...]) -> str:
    if not routes:
        return "no Route applies to this port"
    return f"{', '.join(map(str, routes))} {'applies' if len(routes) == 1 else 'apply'} to this port"
