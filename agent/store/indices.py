"""Under what others look for a value: keys of the store's indices."""

from agent.model.change import Keyed
from agent.model.core import EndpointSlice, Node, Pod, Service, ServiceCIDR, shortest
from agent.model.facts import PodCgroup, PodSandbox
from agent.model.multicluster import ServiceImport
from agent.model.routes import Route
from agent.store.parents import parent_services

ReadKey = tuple[str, ...]


def indices(value: Keyed | None) -> set[ReadKey]:
    """Under what a value is looked for."""
    match value:
        case EndpointSlice():
            return {("slices", *owner) for owner in value.owners}
        case Service():
            return {("address", address) for address in value.allocated_ips}
        case ServiceImport():
            return {("address", address) for address in value.cluster_ips}
        case Pod():
            return _pod_indices(value)
        case Route():
            return _route_indices(value)
        case _:
            return _node_indices(value)


def _node_indices(value: Keyed | None) -> set[ReadKey]:
    """The same for what is said of this node and of the cluster."""
    match value:
        case PodCgroup() | PodSandbox():
            return {(value.kind, value.pod_uid)}
        case Node():
            return {("holders", shortest(item.address)) for item in value.status.addresses}
        case ServiceCIDR():
            return {("service-cidrs",)}
        case _:
            return set()


def _pod_indices(value: Pod) -> set[ReadKey]:
    addresses = () if value.finished else value.addresses
    found: set[ReadKey] = {("holders", shortest(address)) for address in addresses}
    return found | {("mirrors", value.static_hash)} if value.static_hash else found


def _route_indices(value: Route) -> set[ReadKey]:
    services = {service for _, _, service in parent_services(value)}
    namespace = value.metadata.namespace
    found: set[ReadKey] = {("routes", *service) for service in services}
    if any(service.namespace != namespace for service in services):
        found.add(("consumers", namespace))
    return found
