"""What the waypoint is to do on a port of a Service: what the Routes say, or just pass on what it sees."""

from collections.abc import Sequence

from agent.ir.access_log import UNROUTED
from agent.ir.http import BackendPort, RouteSet, Rule, TLSRouteSet, WeightedBackend
from agent.model.core import ServicePort
from agent.model.multicluster import AnyService
from agent.model.routes import GRPCRoute, HTTPRoute, HTTPRouteMatch, TLSRoute
from agent.store.store import TrackedView
from agent.translate.labels import sees_all
from agent.translate.ports import PortKind, port_kind
from agent.translate.routes.binding import Binding
from agent.translate.routes.http import route_set
from agent.translate.routes.tls import tls_route_set

# The protocol of a backend that is spoken to as the client speaks.
SAME = "same"


def port_rules(
    view: TrackedView, service: AnyService, port: ServicePort, name: str, consumer: str, applying: Sequence[Binding]
) -> RouteSet | TLSRouteSet | None:
    """The rules of a port's listener, which is called `name`; None where nobody asks the waypoint for anything.

    `applying` are the bindings that apply for the clients of `consumer`.
    """
    route = applying[0].route if applying else None
    if isinstance(route, TLSRoute):
        return tls_route_set(view, name, consumer, applying)
    if isinstance(route, HTTPRoute | GRPCRoute):
        return route_set(view, name, consumer, port, applying)
    if route is None and is_observed(view, service, port):
        return _observing(service, port, name, consumer)
    return None


def is_observed(view: TrackedView, service: AnyService, port: ServicePort) -> bool:
    """Whether the waypoint shall see a port that no Route speaks of (DESIGN.md §3). ClientIP stays with the kernel."""
    is_http = port.protocol == "TCP" and port_kind(port) is PortKind.HTTP
    return is_http and not service.keeps_clients and sees_all(view, service)


def _observing(service: AnyService, port: ServicePort, name: str, consumer: str) -> RouteSet:
    """Everything to the Service itself, in the client's own version of HTTP."""
    backend = WeightedBackend(BackendPort.of(service.key, port.port, SAME), 1)
    return RouteSet(name, consumer, port.port, False, (Rule(UNROUTED, HTTPRouteMatch(), backends=(backend,)),))
