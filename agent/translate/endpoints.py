"""Backends of a Service port, from its EndpointSlices, as kube-proxy chooses them."""

import ipaddress
from collections.abc import Iterator

from agent.model.core import Endpoint, EndpointSlice, Service, ServicePort
from agent.translate.options import Options
from agent.world import View

Address = tuple[str, int]


def endpoints(view: View, service: Service, port: ServicePort, version: int, options: Options) -> tuple[Address, ...]:
    """Addresses of one IP version, with target ports, that take new connections: sorted, each once.

    The ready ones; when there is none, those that still serve while they terminate (KEP-1669). With
    `internalTrafficPolicy: Local` only those of this node, when its name is known.
    """
    local = service.spec.internal_traffic_policy == "Local" and options.node
    ready: set[Address] = set()
    fallback: set[Address] = set()
    for endpoint, target in _candidates(view, service, port, f"IPv{version}"):
        if local and endpoint.node_name != options.node:
            continue
        address = (str(ipaddress.ip_address(endpoint.addresses[0])), target)
        if _is_ready(endpoint):
            ready.add(address)
        elif endpoint.conditions.terminating and endpoint.conditions.serving is not False:
            fallback.add(address)
    return tuple(sorted(ready or fallback))


def _is_ready(endpoint: Endpoint) -> bool:
    """discovery/v1: a missing `ready` means ready."""
    return endpoint.conditions.ready is not False


def _candidates(view: View, service: Service, port: ServicePort, address_type: str) -> Iterator[tuple[Endpoint, int]]:
    """Endpoints of every slice of this type of the Service that has this port, with the target port there."""
    for found in view.slices(service.metadata.namespace, service.metadata.name):
        target = _target(found, port)
        if target is not None and found.address_type == address_type:
            for endpoint in found.endpoints:
                yield endpoint, target


def _target(found: EndpointSlice, port: ServicePort) -> int | None:
    """The slice's port of that name and protocol; slices may differ in the number."""
    for candidate in found.ports:
        if candidate.name == port.name and candidate.protocol == port.protocol:
            return candidate.port
    return None
