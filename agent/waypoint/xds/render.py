"""Envoy's configuration, made from what translation wants of the waypoint. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.ir.http import Address, BackendPort, Pool, RouteSet, TLSRouteSet
from agent.ir.plan import Fragment
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.options import Options
from agent.waypoint.xds.client_allow_list import admission, admission_name
from agent.waypoint.xds.cluster import cluster, pool_endpoints
from agent.waypoint.xds.cluster import endpoints as load_assignment
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.passthrough import passthrough_listener
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.tracing import COLLECTOR, collector_cluster

Endpoints = Mapping[BackendPort, tuple[Address, ...]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What Envoy is to have of a fragment, in protobuf's JSON form; a listener lacks its `address`, because its port is
    allocated later. `dependencies` of a listener are the resources that must be acknowledged before traffic may be sent
    to it.
    """

    resources: Mapping[ResourceName, Json]
    dependencies: Mapping[str, frozenset[ResourceName]]


def render(fragment: Fragment, options: Options) -> Rendered:
    """All resources of a fragment. The tracing collector is no dependency: requests matter more than spans."""
    resources = {_admission(consumer): _admits(consumer, found) for consumer, found in fragment.admitted.items()}
    dependencies = {}
    for name, rules in fragment.route_sets.items():
        own = dict(_served(rules, fragment.endpoints, options))
        dependencies[name] = frozenset(own) | {_admission(rules.consumer)}
        resources |= own
    if fragment.route_sets and options.collector is not None:
        resources[ResourceName(ResourceType.CLUSTER, COLLECTOR)] = collector_cluster(options.collector)
    return Rendered(resources, dependencies)


def _admission(consumer: str) -> ResourceName:
    return ResourceName(ResourceType.EXTENSION, admission_name(consumer))


def _admits(consumer: str, addresses: Iterable[str]) -> Json:
    return admission(admission_name(consumer), addresses)


def _served(
    rules: RouteSet | TLSRouteSet, endpoints: Endpoints, options: Options
) -> Iterator[tuple[ResourceName, Json]]:
    if isinstance(rules, RouteSet):
        yield ResourceName(ResourceType.LISTENER, rules.name), listener(rules.name, rules, options)
        yield ResourceName(ResourceType.ROUTE, rules.name), route_configuration(rules)
    else:
        yield ResourceName(ResourceType.LISTENER, rules.name), passthrough_listener(rules, options)
    for item in rules.clusters:
        yield ResourceName(ResourceType.CLUSTER, item.cluster), cluster(item)
        yield ResourceName(ResourceType.ENDPOINT, item.cluster), _assignment(item, endpoints)


def _assignment(backend: BackendPort | Pool, addresses: Endpoints) -> Json:
    if isinstance(backend, Pool):
        return pool_endpoints(backend, {member: addresses[member] for member in backend.members})
    return load_assignment(backend, addresses[backend])
