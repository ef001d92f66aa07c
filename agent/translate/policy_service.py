"""The Service of a policy of the level Application: whether requests to it go through waypoints, which judge them."""

from collections.abc import Iterator

from agent.model.core import Service, ServicePort
from agent.model.meta import Key
from agent.model.routes import GRPCRoute, HTTPRoute
from agent.store.store import TrackedView
from agent.translate.ports import may_be_http
from agent.translate.routes.binding import bindings, effective_bindings

TARGET_NOT_FOUND, INVALID = "TargetNotFound", "Invalid"
"""Reasons of `Accepted` (GEP-713)."""


def service_error(view: TrackedView, key: Key) -> tuple[str, str]:
    """Why no request can go through waypoints to a Service, with the reason of the condition; empty where some can."""
    service = view.get(Service, key.namespace, key.name)
    if service is None:
        return TARGET_NOT_FOUND, f"{key} does not exist: the policy selects no pod"
    if not service.spec.selector:
        return INVALID, f"{key} has no selector: the policy selects no pod, and nothing is enforced"
    if service.without_frontend:
        message = "so no request goes through a waypoint, and its pods admit no client; give it a cluster IP"
        return INVALID, f"{key} {service.without_frontend}, {message}"
    if not any(_is_judged(view, service, port) for port in service.spec.ports):
        return INVALID, f"{key} has no HTTP port, by appProtocol, the ports' names or Routes: its pods admit no client"
    return "", ""


def closed_ports(view: TrackedView, key: Key) -> Iterator[str]:
    """What happens at the ports of a Service at which waypoints judge no HTTP requests, if there are any."""
    service = view.get(Service, key.namespace, key.name)
    ports = service.spec.ports if service is not None else ()
    closed = [str(port.port) for port in ports if service is not None and not _is_judged(view, service, port)]
    if closed:
        yield (
            f"not HTTP, by appProtocol, name or a Route: {', '.join(closed)}; only a TLSRoute leads to such a port, and"
            " only for clients of rules without httpAttributes"
        )


def _is_judged(view: TrackedView, service: Service, port: ServicePort) -> bool:
    """By the Route of the port, or else as it is marked."""
    effective = effective_bindings(bindings(view, service.key, service.metadata.namespace), port)
    return isinstance(effective[0].route, HTTPRoute | GRPCRoute) if effective else may_be_http(port)
