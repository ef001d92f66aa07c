"""Backends of a Service port, from its EndpointSlices, as kube-proxy chooses them (`pkg/proxy/topology.go`).

- Ready endpoints. When there is none, endpoints that serve while they terminate (KEP-1669).
- Where every ready endpoint has a hint for nodes: those for this node. Else, where every ready endpoint has a hint for
  zones: those for this zone. Where no endpoint is for this node or zone, hints change nothing (KEP-2433, KEP-3015).
- `trafficDistribution` is read by the controller that writes the slices, which sets the hints.
- With `internalTrafficPolicy: Local` only endpoints of this node are used, and hints are not.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent.ir.addresses import canonical
from agent.ir.http import BackendPort, EndpointAddress
from agent.model.core import Node, ServicePort
from agent.model.discovery import Endpoint, EndpointSlice
from agent.model.meta import Key
from agent.model.multicluster import AnyService
from agent.store.store import TrackedView
from agent.translate.addresses import refused_endpoint
from agent.translate.options import Options

AddressTypes = tuple[str, ...]
DISTRIBUTIONS = ("PreferSameZone", "PreferSameNode", "PreferClose")


class _Candidate(NamedTuple):
    """An endpoint, its canonical address, and the position of its slice among the Service's."""

    address: str
    endpoint: Endpoint
    position: int


def endpoints(
    view: TrackedView, service: AnyService, port: ServicePort, version: int, options: Options
) -> tuple[EndpointAddress, ...]:
    """Addresses of one IP version, with target ports, that take new connections: sorted, each once."""
    return _addresses(view, service, port, (f"IPv{version}",), options)


def endpoints_of_either_family(
    view: TrackedView, service: AnyService, port: ServicePort, options: Options
) -> tuple[EndpointAddress, ...]:
    """The same for a proxy, which can connect by either family: one choice among the endpoints of both.

    An endpoint that terminates is not used while one of the other family is ready.
    """
    return _addresses(view, service, port, ("IPv4", "IPv6"), options)


def backend_endpoints(view: TrackedView, backend: BackendPort, options: Options) -> tuple[EndpointAddress, ...]:
    """The endpoints of both families of a backend's TCP port; none when its Service does not exist."""
    service = view.service(backend.key)
    if service is None:
        return ()
    ports = (port for port in service.spec.ports if (port.port, port.protocol) == (backend.port, "TCP"))
    return tuple(item for port in ports for item in endpoints_of_either_family(view, service, port, options))


def distribution_warning(view: TrackedView, service: AnyService, options: Options) -> str:
    """Why a Service's `trafficDistribution` or hints have no effect; empty when they have, or there are none."""
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
        return f"{service.key}: zone hints of its EndpointSlices are not used: this node's zone is unknown"
    return ""


def _addresses(
    view: TrackedView, service: AnyService, port: ServicePort, address_types: AddressTypes, options: Options
) -> tuple[EndpointAddress, ...]:
    """Each address once; slices may overlap. Ports that the same slices have share the choice of endpoints."""
    targets = {
        position: target
        for position, found in enumerate(_slices(view, service.key))
        if found.address_type in address_types and (target := _target(found, port)) is not None
    }
    chosen = view.once(
        ("selected", service.key, address_types, *targets),
        lambda: [
            (item.address, item.position)
            for item in _selected(view, service, _candidates(view, service.key, targets), options)
        ],
    )
    return tuple(sorted({(address, targets[position]) for address, position in chosen}))


def _selected(
    view: TrackedView, service: AnyService, candidates: Iterable[_Candidate], options: Options
) -> list[_Candidate]:
    """Those that take new connections."""
    local = _is_local(service, options)
    found = [item for item in candidates if not local or item.endpoint.node_name == options.node]
    ready = [item for item in found if _is_ready(item.endpoint)]
    if not ready:
        return [item for item in found if _serves_while_terminating(item.endpoint)]
    return ready if local else _near(view, ready, options)


def _near(view: TrackedView, ready: list[_Candidate], options: Options) -> list[_Candidate]:
    """Endpoints whose hints name this node, else this zone, else all of them."""
    if all(_nodes(item.endpoint) for item in ready):
        near = [item for item in ready if options.node in _nodes(item.endpoint)]
        if near:
            return near
    if all(_zones(item.endpoint) for item in ready):
        zone = _zone(view, options)
        return [item for item in ready if zone in _zones(item.endpoint)] or ready
    return ready


def _zone(view: TrackedView, options: Options) -> str:
    """This node's zone: that of the settings, else that of its Node. Read only where endpoints have hints for zones."""
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


def _serves_while_terminating(endpoint: Endpoint) -> bool:
    """discovery/v1: a missing `serving` means serving, a missing `terminating` that it does not terminate."""
    return endpoint.conditions.terminating is True and endpoint.conditions.serving is not False


def _candidates(view: TrackedView, service: Key, positions: Iterable[int]) -> Iterator[_Candidate]:
    """The endpoints of these slices of a Service."""
    slices = _slices(view, service)
    for position in positions:
        for address, endpoint in _usable(view, slices[position]):
            yield _Candidate(address, endpoint, position)


def read_slices(view: TrackedView, service: AnyService) -> Iterator[None]:
    """Read the addresses of a Service's slices, a slice in each step: new ones take 10 µs each [m]."""
    for found in _slices(view, service.key):
        if found.address_type != "FQDN":
            _usable(view, found)
            yield


def _slices(view: TrackedView, service: Key) -> list[EndpointSlice]:
    """The slices of a Service, the same for all steps of a unit: endpoints are known by the position of their slice."""
    return view.once(("slices", service), lambda: view.slices(service))


def _usable(view: TrackedView, found: EndpointSlice) -> tuple[tuple[str, Endpoint], ...]:
    """The endpoints of a slice by their addresses, but for addresses that are nobody's endpoint."""
    return view.once(
        found.key,
        lambda: tuple(
            (canonical(item.addresses[0]), item)
            for item in found.endpoints
            if not refused_endpoint(view, item.addresses[0])
        ),
    )


def _target(found: EndpointSlice, port: ServicePort) -> int | None:
    """The slice's port of that name and protocol; slices may differ in the number."""
    for candidate in found.ports:
        if candidate.name == port.name and candidate.protocol == port.protocol:
            return candidate.port
    return None
