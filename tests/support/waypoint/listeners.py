"""Envoy's resources, rendered from listener IRs by the agent's functions. They are not published here."""

import itertools
from collections.abc import Iterable

from agent.ir.http import BackendPort, HTTPListenerIR, Pool, Rule
from agent.ir.policy import ServiceAccount
from agent.ir.requirements import AuditedRequirements, Requirements
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.options import FIRST_BYTE_SECONDS, Collector, Options
from agent.waypoint.xds.client_allow_list import client_allow_list, client_allow_list_name
from agent.waypoint.xds.cluster import cluster, endpoints, pool_endpoints
from agent.waypoint.xds.identities import client_identities
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.render import IDENTITIES
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.runtime import LAYER, runtime

# The servers' address is on the loopback interface, but not of its range: endpoints of that range are refused.
CLIENT, SERVERS = "127.0.0.1", "10.0.2.1"
PORTS = {"v1": 9001, "v2": 9002}


class Listeners:
    """Resources by name, listeners' ports, and which ports of `SERVERS` are behind a Service."""

    def __init__(self) -> None:
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}
        self.servers = {name: [port] for name, port in PORTS.items()}
        # Where spans go that listeners added from now on make.
        self.collector: Collector | None = None
        self.first_byte = FIRST_BYTE_SECONDS
        self.requirements: dict[BackendPort, Requirements] = {}
        self.audits: dict[BackendPort, tuple[AuditedRequirements, ...]] = {}
        self.accounts: dict[str, ServiceAccount] = {}
        # That of what servers of listeners added from now on are told; empty: they are told nothing.
        self.trust_domain = ""
        self._numbers = itertools.count(1)
        self.allow_clients(CLIENT)
        # Requests to Services of `app` are reported to the ADS server.
        self.resources[ResourceName(ResourceType.RUNTIME, LAYER)] = runtime(["app"])

    def allow_clients(self, *addresses: str, consumer: str = "") -> None:
        """Set the client allow-list, and with it what listeners know of the identities of clients."""
        name = client_allow_list_name(consumer)
        self.resources[ResourceName(ResourceType.EXTENSION, name)] = client_allow_list(name, addresses, self.accounts)
        if IDENTITIES in self.resources:
            self.resources[IDENTITIES] = client_identities(self.accounts, self.trust_domain)

    def add(
        self, rules: Iterable[Rule], *, name: str = "", grpc: bool = False, consumer: str = "", port: int = 80
    ) -> str:
        """Render a listener IR into `resources`. Returns the listener's name."""
        number = next(self._numbers)
        name = name or f"app/s{number}:{port}"
        listener_ir = HTTPListenerIR(name, consumer, port, grpc, tuple(rules), self.trust_domain)
        self.ports.setdefault(name, 20000 + number)
        options = Options(collector=self.collector, first_byte_seconds=self.first_byte)
        self.resources[ResourceName(ResourceType.LISTENER, name)] = listener(name, listener_ir, options)
        # Envoy asks for the identities when a listener of HTTP refers to them.
        self.resources[IDENTITIES] = client_identities(self.accounts, self.trust_domain)
        self.resources[ResourceName(ResourceType.ROUTE, name)] = route_configuration(
            listener_ir, self.requirements, self.audits
        )
        self.add_clusters(listener_ir.clusters)
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
