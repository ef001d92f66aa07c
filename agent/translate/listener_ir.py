"""What the waypoint does on a port of a Service: it applies the Routes, or only observes."""

from collections.abc import Sequence
from dataclasses import replace

from agent.ir.access_log import UNROUTED
from agent.ir.http import BackendPort, HTTPListenerIR, ListenerIR, Rule, WeightedBackend
from agent.model.core import ServicePort
from agent.model.multicluster import AnyService
from agent.model.routes import GRPCRoute, HTTPRoute, HTTPRouteMatch, TLSRoute
from agent.store.store import TrackedView
from agent.translate.client_identity import xfcc_trust_domain
from agent.translate.labels import sees_all
from agent.translate.ports import PortKind, may_be_http, port_kind
from agent.translate.routes.binding import Binding
from agent.translate.routes.http import http_listener_ir
from agent.translate.routes.tls import tls_listener_ir

# The protocol of a backend that gets requests in the client's version of HTTP.
SAME = "same"


def build_listener_ir(
    view: TrackedView, service: AnyService, port: ServicePort, name: str, consumer: str, effective: Sequence[Binding]
) -> ListenerIR | None:
    """The rules of a port's listener `name`; None where no Route, policy or label sends its traffic to the waypoint.

    `effective` are the bindings that apply for the clients of `consumer`.
    """
    route = effective[0].route if effective else None
    if isinstance(route, TLSRoute):
        return tls_listener_ir(view, name, consumer, effective)
    trust_domain = xfcc_trust_domain(view, service)
    if isinstance(route, HTTPRoute | GRPCRoute):
        return replace(http_listener_ir(view, name, consumer, port, effective), xfcc_trust_domain=trust_domain)
    # A port that is not marked is one for HTTP where policies look at requests.
    judged = may_be_http(port) and view.has_service_policies(service.key)
    if route is None and (judged or is_observed(view, service, port)):
        return replace(_observing(service, port, name, consumer), xfcc_trust_domain=trust_domain)
    return None


def is_observed(view: TrackedView, service: AnyService, port: ServicePort) -> bool:
    """Whether the waypoint observes a port without Routes (DESIGN.md §3). Services with ClientIP stay in the kernel."""
    is_http = port.protocol == "TCP" and port_kind(port) is PortKind.HTTP
    return is_http and not service.has_client_ip_affinity and sees_all(view, service)


def _observing(service: AnyService, port: ServicePort, name: str, consumer: str) -> HTTPListenerIR:
    """All requests go to the Service itself, in the client's version of HTTP."""
    backend = WeightedBackend(BackendPort.of(service.key, port.port, SAME, service.has_client_ip_affinity), 1)
    return HTTPListenerIR(name, consumer, port.port, False, (Rule(UNROUTED, HTTPRouteMatch(), backends=(backend,)),))
