"""The annotation `weft.dev/client-identity` of a Service: its servers get the SPIFFE IDs of their clients."""

from collections.abc import Iterator

from agent.ir.http import ListenerIR, TLSListenerIR
from agent.ir.plan import OnLoss
from agent.ir.services import service_name
from agent.ir.tables import Mode
from agent.model.client_identity import (
    CLIENT_IDENTITY,
    PROXY_PROTOCOL,
    XFCC,
    unknown_identity_values,
    wants_proxy_protocol,
    wants_xfcc,
)
from agent.model.multicluster import AnyService
from agent.model.routes import TLSRoute
from agent.store.store import TrackedView
from agent.translate.enrolment import service_mode
from agent.translate.parameters import mesh_parameters
from agent.translate.ports import PortKind, port_kind
from agent.translate.routes.binding import MERGED, bindings


def xfcc_trust_domain(view: TrackedView, service: AnyService) -> str:
    """The trust domain of the SPIFFE IDs that servers of a Service get with requests; empty: they get none."""
    return mesh_parameters(view).spec.trust_domain if wants_xfcc(service.metadata) else ""


def proxy_trust_domain(view: TrackedView, service: AnyService) -> str:
    """The same with connections that are forwarded as bytes to servers of this Service, whichever the client dials."""
    return mesh_parameters(view).spec.trust_domain if wants_proxy_protocol(service.metadata) else ""


def identity_warnings(view: TrackedView, service: AnyService, on_loss: OnLoss) -> Iterator[str]:
    """Values of the annotation that have no effect, and connections to the Service that have no header although its
    servers may require one. `on_loss` is the Service's, of ports with Routes.
    """
    unknown = unknown_identity_values(service.metadata)
    field = f"{service.key}: metadata.annotations[{CLIENT_IDENTITY}]"
    if unknown:
        yield f"{field}: {','.join(unknown)[:40]!r} is neither {XFCC} nor {PROXY_PROTOCOL}; ignored"
    if wants_proxy_protocol(service.metadata):
        yield from (f"{field}: {message}" for message in _without_header(view, service, on_loss))


def proxy_warnings(service: AnyService, rules: ListenerIR) -> Iterator[str]:
    """Backends of a Service's TLSRoutes whose servers get no header: each backend has the annotation of its own
    Service.
    """
    if not wants_proxy_protocol(service.metadata) or not isinstance(rules, TLSListenerIR):
        return
    others = sorted({service_name(item.key) for item in rules.backends if not item.proxy_trust_domain})
    if others:
        yield (
            f"{service.key}: metadata.annotations[{CLIENT_IDENTITY}]: {', '.join(others)} get no header of the PROXY"
            " protocol: the waypoint uses the annotation of each backend"
        )


def _without_header(view: TrackedView, service: AnyService, on_loss: OnLoss) -> Iterator[str]:
    """Which connections to a Service with the PROXY protocol begin without a header."""
    nothing = "have no header of the PROXY protocol"
    if service.without_frontend:
        yield f"connections {nothing}: the Service {service.without_frontend}"
        return
    bound = bindings(view, service.key, service.key.namespace)
    expected = [port for port in service.spec.ports if port.protocol == "TCP"]
    passed = {port.port for item in bound if isinstance(item.route, TLSRoute) for port in item.effective_ports}
    if wants_xfcc(service.metadata):
        requests = {port for item in bound if isinstance(item.route, MERGED) for port in item.effective_ports}
        expected = [port for port in expected if port not in requests and port_kind(port) is not PortKind.HTTP]
    others = [str(port.port) for port in expected if port.port not in passed]
    if others:
        yield f"connections to ports {', '.join(others)} {nothing}: no TLSRoute applies there"
    mode = service_mode(view, service.key)[0]
    if passed and mode is not Mode.L7 and not view.has_service_policies(service.key):
        yield f"connections of clients that are not in mode l7 {nothing}: the Service is in mode {mode.label}"
    if passed and on_loss is OnLoss.KERNEL:
        yield f"connections {nothing} while the waypoint is lost: {OnLoss.KERNEL} is asked for"
