"""Backends of a Service port, from its EndpointSlices, as kube-proxy chooses them (`pkg/proxy/topology.go`).

Ready endpoints; when there is none, those that still serve while they terminate (KEP-1669). Where every ready endpoint
has a hint of what node it is for, those for this node, or else, where every one has a hint of what zone, those for this
zone; a hint that nobody near follows changes nothing (KEP-2433, KEP-3015). `trafficDistribution` itself is for whoever
writes the slices: it is done by hints. With `internalTrafficPolicy: Local` only this node's count, and no hints.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent.ir.addresses import canonical
from agent.ir.http import BackendPort
from agent.model.core import Endpoint, EndpointSlice, Node, ServicePort
from agent.model.multicluster import AnyService
from agent.store.store import TrackedView
from agent.translate.addresses import refused_endpoint
from agent.translate.options import Options

Address = tuple[str, int]
DISTRIBUTIONS = ("PreferSameZone", "PreferSameNode", "PreferClose")


class _Candidate(NamedTuple):
    """An endpoint, and the port that it serves the Service's port on."""

    endpoint: Endpoint
    target: int


def endpoints(
    view: TrackedView, service: AnyService, port: ServicePort, version: int, options: Options
) -> tuple[Address, ...]:
    """Addresses of one IP version, with target ports, that take new connections: sorted, each once."""
    return _addresses(_selected(view, service, _candidates(view, service, port, (f"IPv{version}",)), options))


def endpoints_of_either_family(
    view: TrackedView, service: AnyService, port: ServicePort, options: Options
) -> tuple[Address, ...]:
    """The same for a proxy, to whom an address is as good as another: one choice among both families.

    An endpoint that terminates is not used while one of the other family is ready.
    """
    return _addresses(_selected(view, service, _candidates(view, service, port, ("IPv4", "IPv6")), options))


def backend_endpoints(view: TrackedView, backend: BackendPort, options: Options) -> tuple[Address, ...]:
    """The endpoints of either family of a backend's TCP port; none when its Service is not there."""
    service = view.service(backend.key)
    if service is None:
        return ()
    ports = (port for port in service.spec.ports if (port.port, port.protocol) == (backend.port, "TCP"))
    return tuple(item for port in ports for item in endpoints_of_either_family(view, service, port, options))


def distribution_warning(view: TrackedView, service: AnyService, options: Options) -> str:
    """Why a Service's traffic is not kept near although somebody asked for it; empty when it is, or nobody did."""
    spec = service.spec
    field = f"{service.key}: spec.trafficDistribution"
    if spec.traffic_distribution and spec.traffic_distribution not in DISTRIBUTIONS:
        return f"{field}: {spec.traffic_distribution[:40]!a} is none of {', '.join(DISTRIBUTIONS)}"
    slices = [found for found in view.slices(service.key) if found.address_type != "FQDN"]
    ready = [item for found in slices for item in found.endpoints if _is_ready(item)]
    if not ready or _is_local(service, options):
        return ""
    zoned, placed = (all(hints(item) for item in ready) for hints in (_zones, _nodes))
    if spec.traffic_distribution and not zoned and not placed:
        return f"{field}: is not in effect: not every ready endpoint has hints in its EndpointSlice"
    if zoned and not placed and not _zone(view, options):
        return f"{service.key}: zone hints of its EndpointSlices are not used: this node's zone is not known"
    return ""


def _selected(
    view: TrackedView, service: AnyService, candidates: Iterable[_Candidate], options: Options
) -> list[_Candidate]:
    local = _is_local(service, options)
    found = [item for item in candidates if not local or item.endpoint.node_name == options.node]
    ready = [item for item in found if _is_ready(item.endpoint)]
    if not ready:
        return [item for item in found if _serves_its_end(item.endpoint)]
    return ready if local else _near(view, ready, options)


def _near(view: TrackedView, ready: list[_Candidate], options: Options) -> list[_Candidate]:
    """Those whose hints name this node, else this zone, else all of them."""
    if all(_nodes(item.endpoint) for item in ready):
        near = [item for item in ready if options.node in _nodes(item.endpoint)]
        if near:
            return near
    if all(_zones(item.endpoint) for item in ready):
        zone = _zone(view, options)
        return [item for item in ready if zone in _zones(item.endpoint)] or ready
    return ready


def _zone(view: TrackedView, options: Options) -> str:
    """This node's zone: that of the settings, else what its Node says. Read only where a hint asks for it."""
    found = None if options.zone else view.get(Node, "", options.node)
    return found.zone if found is not None else options.zone


def _is_local(service: AnyService, options: Options) -> bool:
    """Whether only this node's endpoints count; that takes the node's name."""
    return service.spec.internal_traffic_policy == "Local" and bool(options.node)


def _nodes(endpoint: Endpoint) -> tuple[str, ...]:
    return tuple(hint.name for hint in endpoint.hints.for_nodes)


def _zones(endpoint: Endpoint) -> tuple[str, ...]:
    return tuple(hint.name for hint in endpoint.hints.for_zones)


def _is_ready(endpoint: Endpoint) -> bool:
    """discovery/v1: a missing `ready` means ready. A Service that publishes not-ready addresses has them ready here."""
    return endpoint.conditions.ready is not False


def _serves_its_end(endpoint: Endpoint) -> bool:
    """discovery/v1: a missing `serving` means serving, a missing `terminating` that it does not terminate."""
    return endpoint.conditions.terminating is True and endpoint.conditions.serving is not False


def _addresses(candidates: Iterable[_Candidate]) -> tuple[Address, ...]:
    """Each address once, as it is written shortest; slices may overlap."""
    found = {(canonical(item.endpoint.addresses[0]), item.target) for item in candidates}
    return tuple(sorted(found))


def _candidates(
    view: TrackedView, service: AnyService, port: ServicePort, address_types: tuple[str, ...]
) -> Iterator[_Candidate]:
    """Endpoints of every slice of these types of the Service that has this port, with the target port there, but for
    addresses that are nobody's endpoint.
    """
    for found in view.slices(service.key):
        target = _target(found, port)
        if target is not None and found.address_type in address_types:
            for endpoint in found.endpoints:
                if not refused_endpoint(view, endpoint.addresses[0]):
                    yield _Candidate(endpoint, target)


def _target(found: EndpointSlice, port: ServicePort) -> int | None:
    """The slice's port of that name and protocol; slices may differ in the number."""
    for candidate in found.ports:
        if candidate.name == port.name and candidate.protocol == port.protocol:
            return candidate.port
    return None
