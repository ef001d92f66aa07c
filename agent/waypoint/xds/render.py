"""Envoy's configuration, made from what translation wants of the waypoint. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.ir.http import BackendPort, EndpointAddress, HTTPListenerIR, ListenerIR, Pool
from agent.ir.plan import Output
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.options import Options
from agent.waypoint.xds import identities, spiffe_ids
from agent.waypoint.xds.client_allow_list import client_allow_list, client_allow_list_name
from agent.waypoint.xds.cluster import cluster, pool_endpoints
from agent.waypoint.xds.cluster import endpoints as load_assignment
from agent.waypoint.xds.identities import client_identities
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.passthrough import passthrough_listener
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.spiffe_ids import client_spiffe_ids
from agent.waypoint.xds.tracing import COLLECTOR, collector_cluster

Endpoints = Mapping[BackendPort, tuple[EndpointAddress, ...]]
IDENTITIES = ResourceName(ResourceType.EXTENSION, identities.NAME)
SPIFFE_IDS = ResourceName(ResourceType.EXTENSION, spiffe_ids.NAME)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Envoy's resources for an output, in protobuf's JSON form. A listener lacks its `address`, because its port is
    allocated later. `dependencies` of a listener are the resources that Envoy must acknowledge before traffic may be
    sent to it. `logged` are the namespaces whose requests Envoy reports to the agent.
    """

    resources: Mapping[ResourceName, Json]
    dependencies: Mapping[str, frozenset[ResourceName]]
    logged: frozenset[str] = frozenset()


def render(output: Output, options: Options) -> Rendered:
    """All resources of an output. The tracing collector is no dependency: requests matter more than spans."""
    resources = {
        _client_allow_list(consumer): client_allow_list(client_allow_list_name(consumer), found, output.accounts)
        for consumer, found in output.client_allow_lists.items()
    }
    if output.client_allow_lists:
        resources[IDENTITIES] = client_identities(output.accounts, output.trust_domain)
    if output.trust_domain:
        resources[SPIFFE_IDS] = client_spiffe_ids(output.accounts, output.trust_domain)
    dependencies = {}
    for name, rules in output.listeners.items():
        own = dict(_served(rules, output, options))
        dependencies[name] = frozenset(own) | _clients(rules)
        resources |= own
    if output.listeners and options.collector is not None:
        resources[ResourceName(ResourceType.CLUSTER, COLLECTOR)] = collector_cluster(options.collector)
    return Rendered(resources, dependencies, output.logged)


def _client_allow_list(consumer: str) -> ResourceName:
    return ResourceName(ResourceType.EXTENSION, client_allow_list_name(consumer))


def _clients(rules: ListenerIR) -> frozenset[ResourceName]:
    """The resources that tell a listener who its clients are. Envoy asks for those only that a listener refers to."""
    found = {_client_allow_list(rules.consumer)}
    if isinstance(rules, HTTPListenerIR):
        found.add(IDENTITIES)
    elif any(item.proxy_trust_domain for item in rules.backends):
        found.add(SPIFFE_IDS)
    return frozenset(found)


def _served(rules: ListenerIR, output: Output, options: Options) -> Iterator[tuple[ResourceName, Json]]:
    if isinstance(rules, HTTPListenerIR):
        yield ResourceName(ResourceType.LISTENER, rules.name), listener(rules.name, rules, options)
        yield (
            ResourceName(ResourceType.ROUTE, rules.name),
            route_configuration(rules, output.requirements, output.audits),
        )
    else:
        yield ResourceName(ResourceType.LISTENER, rules.name), passthrough_listener(rules, output.requirements, options)
    for item in rules.clusters:
        yield ResourceName(ResourceType.CLUSTER, item.cluster), cluster(item)
        yield ResourceName(ResourceType.ENDPOINT, item.cluster), _assignment(item, output.endpoints)


def _assignment(backend: BackendPort | Pool, addresses: Endpoints) -> Json:
    if isinstance(backend, Pool):
        return pool_endpoints(backend, {member: addresses[member] for member in backend.members})
    return load_assignment(backend, addresses[backend])
