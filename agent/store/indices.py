"""Under what others look for a value: keys of the store's indices."""

from agent.model.authorization import AuthorizationPolicy, UndecodableAuthorizationPolicy, policy_key
from agent.model.change import Keyed
from agent.model.client_identity import wants_proxy_protocol, wants_xfcc
from agent.model.core import Node, Pod, Service, ServiceCIDR, normalized_address
from agent.model.discovery import EndpointSlice
from agent.model.facts import NodeReport, PodCgroup, PodSandbox
from agent.model.multicluster import ServiceImport
from agent.model.parameters import XMesh
from agent.model.routes import Route
from agent.store.parents import parent_services

ReadKey = tuple[str, ...]


def indices(value: Keyed | None) -> set[ReadKey]:
    """The index keys of a value."""
    match value:
        case EndpointSlice():
            return {("slices", *owner) for owner in value.owners}
        case Service():
            return {("address", address) for address in value.allocated_ips} | _identity_read_keys(value)
        case ServiceImport():
            return {("address", address) for address in value.cluster_ips} | _identity_read_keys(value)
        case Pod():
            return _pod_indices(value)
        case Route():
            return _route_indices(value)
        case _:
            return _node_indices(value)


def _identity_read_keys(value: Service | ServiceImport) -> set[ReadKey]:
    wanted = wants_xfcc(value.metadata) or wants_proxy_protocol(value.metadata)
    return {("identity-services",)} if wanted else set()


def _node_indices(value: Keyed | None) -> set[ReadKey]:
    """The same for facts about this node, and for objects of the cluster."""
    match value:
        case PodCgroup() | PodSandbox():
            return {(value.kind, value.pod_uid)}
        case Node():
            held: set[ReadKey] = {("holders", normalized_address(item.address)) for item in value.status.addresses}
            return held | {_listed(value)}
        case ServiceCIDR() | XMesh():
            return {_listed(value)}
        case _:
            return _policy_indices(value)


def _policy_indices(value: Keyed | None) -> set[ReadKey]:
    """The same for what says who may connect to pods."""
    match value:
        case AuthorizationPolicy() | UndecodableAuthorizationPolicy():
            enforced = () if value.is_audited else value.services
            of_services: set[ReadKey] = {("service-policies", *service) for service in enforced}
            return {("policies", policy_key(value).namespace), ("policies",)} | of_services
        case NodeReport():
            return {_listed(value), ("policies",)} if value.guarded else {_listed(value)}
        case _:
            return set()


def _listed(value: Keyed) -> ReadKey:
    """Of a kind whose values are listed as a whole."""
    return "kind", type(value).__name__


def _pod_indices(value: Pod) -> set[ReadKey]:
    addresses = () if value.finished else value.addresses
    found: set[ReadKey] = {("holders", normalized_address(address)) for address in addresses}
    return found | {("mirrors", value.static_hash)} if value.static_hash else found


def _route_indices(value: Route) -> set[ReadKey]:
    services = {service for _, _, service in parent_services(value)}
    namespace = value.metadata.namespace
    found: set[ReadKey] = {("routes", *service) for service in services}
    found |= {("routes", *service, namespace) for service in services}
    if any(service.namespace != namespace for service in services):
        found.add(("consumers", namespace))
    return found
