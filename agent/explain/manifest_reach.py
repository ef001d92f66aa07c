"""`weft authz` by manifests: all pods are known, and all of their ports."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from agent.explain.protection import OTHER_PORT, Client, Verdict, ports_of
from agent.explain.query import QueryError
from agent.explain.reach import PortClients, Row, port_clients, reach
from agent.explain.servers import Servers, server_name
from agent.model.core import Pod, Service, ServicePort
from agent.model.meta import Key


@dataclass(frozen=True, slots=True)
class ManifestReach:
    """The rows of answers."""

    servers: Servers

    def service(self, name: Key) -> Service:
        """A Service with a selector. Raises `QueryError`."""
        service = self.servers.services.get(name)
        if service is None:
            raise QueryError(f"the manifests have no {name}")
        if not service.spec.selector:
            raise QueryError(f"{name} has no selector: the manifests do not say which pods are behind it")
        return service

    def clients(self, service: Service, ports: list[ServicePort]) -> Iterator[Row]:
        """Who may connect to ports of a Service, by the pods that it selects."""
        pods = [(key, pod, self.servers.protection(pod)) for key, pod in self.servers.pods_of_service(service).items()]
        for port in ports:
            for key, pod, protection in pods:
                target, missing = port.number_in(pod), f"no container has a port {port.target_port}"
                unknown = PortClients(port.port, port.protocol, None, (), missing)
                yield port_clients(port, target, protection) if target else unknown, server_name(key, pod)

    def pod(self, namespace: str, name: str) -> Pod:
        """A pod by its name or by that of its workload. Raises `QueryError`."""
        found = self.servers.find(namespace, name)
        if found is None:
            raise QueryError(f"the manifests have no Pod and no workload {namespace}/{name}")
        return found

    def targets(self, client: Client, pod: Pod) -> Iterator[Row]:
        """The ports of all other pods, also of the other pods of a workload."""
        for key, server in self.servers.pods.items():
            if key != pod.key:
                yield from self._targets_of(server, client, server_name(key, server))

    def _targets_of(self, pod: Pod, client: Client, name: str) -> Iterator[Row]:
        """Of each verdict on a client the ports of a pod that have it."""
        protection, services = self.servers.protection(pod), self.servers.service_ports(pod)
        ports = {*protection.ports, *services.values()}
        verdicts: dict[Verdict, list[int]] = defaultdict(list)
        for port in (*sorted(ports - {OTHER_PORT}), OTHER_PORT):
            verdicts[protection.verdict(client, port)].append(port)
        for verdict, alike in verdicts.items():
            yield reach(ports_of(alike, ports, services), verdict, protection), name
