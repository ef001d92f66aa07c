"""What the kernel does with a connection, by the plan: the same questions in the same order as bpf/decide.h."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.model.core import ServicePort
from agent.model.meta import Key
from agent.model.routes import AnyRoute, GRPCRoute, HTTPRoute, TLSRoute
from agent.plan.plan import FrontendName, FrontendPlan, PodPlan
from agent.plan.tables import Mode, PodFlag
from agent.reconcile.frontends import goes_to_waypoint
from agent.translate.ir import RouteSet, TLSRouteSet
from agent.translate.labels import SCOPE
from agent.translate.routes.binding import Binding, bindings, winners
from agent.translate.rules import port_rules
from agent.world import MODE_LABEL, View


class Path(StrEnum):
    """Which way a connection takes."""

    NONE = "none"
    KERNEL = "kernel"
    WAYPOINT = "waypoint"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which way, and why. `routes` are those that apply to the frontend for this client, oldest first."""

    path: Path
    why: str
    name: FrontendName | None = None
    plan: FrontendPlan | None = None
    routes: tuple[Key, ...] = ()


def decide(
    view: View,
    frontends: Mapping[FrontendName, FrontendPlan],
    pod: PodPlan,
    dialled: FrontendName,
) -> Decision:
    """What becomes of a pod's connection. `dialled` is an address, port and protocol, without a consumer."""
    if pod.mode is Mode.NONE:
        return Decision(Path.NONE, f"the client is in mode none: {enrolment(view, pod)}")
    name = frontend_of(frontends, pod, dialled)
    if name is None:
        return Decision(Path.NONE, f"{dialled} is no Service's address and port")
    plan = frontends[name]
    routes = tuple(applying(view, plan.service, name))
    keys = tuple(route.key for route in routes)
    if goes_to_waypoint(plan, pod.mode):
        deeper = "client" if pod.mode is Mode.L7 else "Service"
        because = _said(keys) if keys else f"the label {SCOPE} asks for it"
        return Decision(Path.WAYPOINT, f"{because}, and the {deeper} is in mode l7", name, plan, keys)
    if routes and isinstance(routes[0], HTTPRoute | GRPCRoute | TLSRoute):
        return Decision(Path.KERNEL, f"{_said(keys)}, but neither end is in mode l7", name, plan, keys)
    return Decision(Path.KERNEL, _said(keys), name, plan, keys)


def frontend_of(
    frontends: Mapping[FrontendName, FrontendPlan], pod: PodPlan, name: FrontendName
) -> FrontendName | None:
    """The row that decides: that of the client's namespace, when that has routes of its own; else everybody's."""
    own = FrontendName(name.address, name.port, name.protocol, pod.namespace)
    if pod.flags & PodFlag.CONSUMER_ROUTES and own in frontends:
        return own
    return name if name in frontends else None


def enrolment(view: View, pod: PodPlan) -> str:
    """Which label asks for a pod's mode."""
    asked = (("Pod", pod.namespace, pod.pod.name), ("Namespace", "", pod.namespace))
    for kind, namespace, name in asked:
        mode, _ = view.mode(kind, namespace, name)
        if mode is not None:
            return f"{Key(kind, namespace, name)} has the label {MODE_LABEL}={mode.label}"
    return f"neither it nor its Namespace has a label {MODE_LABEL}"


def applying(view: View, service: Key, name: FrontendName) -> list[AnyRoute]:
    """The Routes that apply to a Service's frontend, oldest first."""
    return list({binding.route.key: binding.route for binding in _bindings(view, service, name)}.values())


def rules_of(view: View, name: FrontendName, plan: FrontendPlan) -> RouteSet | TLSRouteSet | None:
    """The route set of a frontend's listener, None when it has none."""
    port = _port(view, plan.service, name)
    if port is None or plan.listener is None:
        return None
    service = view.service(plan.service)
    bound = _bindings(view, plan.service, name)
    return port_rules(view, service, port, plan.listener, name.consumer, bound) if service is not None else None


def _bindings(view: View, service: Key, name: FrontendName) -> list[Binding]:
    port = _port(view, service, name)
    if port is None:
        return []
    return winners(bindings(view, service), port, name.consumer, service.namespace)


def _port(view: View, service: Key, name: FrontendName) -> ServicePort | None:
    found = view.service(service)
    ports = found.spec.ports if found is not None else ()
    return next((port for port in ports if (port.port, port.protocol) == (name.port, name.protocol.name)), None)


def _said(routes: tuple[Key, ...]) -> str:
    if not routes:
        return "no Route applies to this port"
    return f"{', '.join(map(str, routes))} {'applies' if len(routes) == 1 else 'apply'} to this port"
