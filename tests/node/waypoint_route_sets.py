"""What an Envoy shall have, rendered from route sets by the functions that the agent uses; nothing is published."""

import itertools
from collections.abc import Iterable

from agent.ir.http import BackendPort, Pool, RouteSet, Rule
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.options import FIRST_BYTE_SECONDS, Collector, Options
from agent.waypoint.xds.client_allow_list import admission, admission_name
from agent.waypoint.xds.cluster import cluster, endpoints, pool_endpoints
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.route import route_configuration

# The servers' address is on the loopback interface, but not of its range: endpoints of that range are refused.
CLIENT, SERVERS = "127.0.0.1", "10.0.2.1"
PORTS = {"v1": 9001, "v2": 9002}


class RouteSets:
    """Resources by name, listeners' ports, and which ports of `SERVERS` are behind a Service."""

    def __init__(self) -> None:
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}
        self.servers = {name: [port] for name, port in PORTS.items()}
        # Where spans go that listeners added from now on make.
        self.collector: Collector | None = None
        self.first_byte = FIRST_BYTE_SECONDS
        self._numbers = itertools.count(1)
        self.admit(CLIENT)

    def admit(self, *addresses: str, consumer: str = "") -> None:
        """Set who may connect."""
        name = admission_name(consumer)
        self.resources[ResourceName(ResourceType.EXTENSION, name)] = admission(name, addresses)

    def add(
        self, rules: Iterable[Rule], *, name: str = "", grpc: bool = False, consumer: str = "", port: int = 80
    ) -> str:
        """Render a route set into `resources`. Returns the listener's name."""
        number = next(self._numbers)
        name = name or f"app/s{number}:{port}"
        route_set = RouteSet(name, consumer, port, grpc, tuple(rules))
        self.ports.setdefault(name, 20000 + number)
        options = Options(collector=self.collector, first_byte_seconds=self.first_byte)
        self.resources[ResourceName(ResourceType.LISTENER, name)] = listener(name, route_set, options)
        self.resources[ResourceName(ResourceType.ROUTE, name)] = route_configuration(route_set)
        self.add_clusters(route_set.clusters)
        return name

    def add_clusters(self, clusters: Iterable[BackendPort | Pool]) -> None:
        """Clusters and their endpoints into `resources`."""
        for item in clusters:
            self.resources[ResourceName(ResourceType.CLUSTER, item.cluster)] = cluster(item)
            self.resources[ResourceName(ResourceType.ENDPOINT, item.cluster)] = self._endpoints(item)

    def _endpoints(self, item: BackendPort | Pool) -> Json:
        members = item.members if isinstance(item, Pool) else (item,)
        found = {member: [(SERVERS, port) for port in self.servers.get(member.service, ())] for member in members}
        return pool_endpoints(item, found) if isinstance(item, Pool) else endpoints(item, found[item])
