"""Addresses that a Service, an import or a Route may not have: the author of a slice chooses what a client dials.

The kernel sends a client, and the waypoint a request, to whatever address an EndpointSlice names. The waypoint reaches
more than the slice's writer does (CVE-2021-25740): Envoy's own loopback, link-local servers of its node, itself. An API
server refuses most of these in slices (`ValidateEndpointIP`, pkg/apis/core/validation); a directory of manifests does
not, and no API server knows which pods are waypoints.
"""

import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from agent.model.core import Service, ServiceCIDR
from agent.model.discovery import MANAGED_BY, OF_PODS, EndpointSlice
from agent.model.meta import Object
from agent.model.multicluster import AnyService, ServiceImport
from agent.store.store import TrackedView
from agent.translate.options import Options

KINDS = {
    "is_loopback": "a loopback address",
    "is_link_local": "a link-local address",
    "is_multicast": "a multicast address",
    "is_unspecified": "the unspecified address",
}


@lru_cache(maxsize=65536)
def unroutable(address: str) -> str:
    """Why an address cannot be the address of an endpoint, empty when it can. A v4-mapped address is read as IPv4."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return next((text for kind, text in KINDS.items() if getattr(parsed, kind)), "")


def refused_import(view: TrackedView, item: ServiceImport, address: str, options: Options) -> str:
    """Why a ServiceImport may not have an address, empty when it may.

    No API server checks the addresses of an import (KEP-1645), and a client that dials an address of another object
    would reach the import's endpoints instead (CVE-2020-8554). So an import may have two kinds of address: that of a
    Service of its own namespace, which the API server allocated to that Service alone, and one in a range for imports
    that no other object is known to have.
    """
    services = (found for found in view.services_at(address) if isinstance(found, Service))
    if any(found.metadata.namespace == item.metadata.namespace for found in services):
        return ""
    parsed = ipaddress.ip_address(address)
    if not any(parsed in network for network in _import_ranges(view, options)):
        return (
            "no Service of this namespace has it, and it is in no range of --clusterset-cidr or else of a ServiceCIDR"
        )
    holder = next((found for found in view.holders(address) if _is_verified_holder(view, found)), None)
    return f"{holder.key} has it" if holder is not None else ""


def _import_ranges(view: TrackedView, options: Options) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    if options.clusterset_cidrs:
        return options.clusterset_cidrs
    return tuple(ipaddress.ip_network(cidr) for found in view.listed(ServiceCIDR) for cidr in found.spec.cidrs)


def _is_verified_holder(view: TrackedView, holder: Object) -> bool:
    """Any user may write a slice: only one that the control plane made from pods takes an address from an import."""
    if not isinstance(holder, EndpointSlice):
        return True
    owners = (view.service(key) for key in holder.owners if key.kind == "Service")
    selects = any(isinstance(owner, Service) and owner.spec.selector for owner in owners)
    return selects and holder.metadata.labels.get(MANAGED_BY) == OF_PODS


def refused_endpoint(view: TrackedView, address: str) -> str:
    """Why an address of a slice is not used as an endpoint, empty when it is used."""
    return unroutable(address) or ("an address of this node's waypoint" if view.is_waypoint(address) else "")


def endpoint_warnings(view: TrackedView, service: AnyService) -> Iterator[str]:
    """One warning for each slice with addresses that are not used."""
    for found in view.slices(service.key):
        refused = list(_refused(view, found))
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            yield f"{service.key}: EndpointSlice {found.metadata.name}: {refused[0]}{more}"


def _refused(view: TrackedView, found: EndpointSlice) -> Iterator[str]:
    for position, endpoint in enumerate(found.endpoints if found.address_type != "FQDN" else ()):
        reason = refused_endpoint(view, endpoint.addresses[0])
        if reason:
            yield f"endpoints[{position}].addresses[0]: {endpoint.addresses[0]} is not used: it is {reason}"
