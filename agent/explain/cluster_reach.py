"""`weft authz` by what an agent knows: the pods of its node, and of other nodes the endpoints of Services, with the
policies that their nodes report.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.explain.protection import Client, Protection, protection_of
from agent.explain.query import QueryError
from agent.explain.reach import Row, port_clients, reach
from agent.ir.policy import Policy
from agent.ir.services import service_name
from agent.model.core import Pod, Service, ServicePort, normalized_address
from agent.model.discovery import EndpointSlice
from agent.model.meta import Key
from agent.store.store import Store, TrackedView
from agent.translate.guarded import guarded_at
from agent.translate.options import Options
from agent.translate.parameters import mesh_parameters
from agent.translate.workload import workload_of

# Reads as the end of "no rule of …".
UNKNOWN = Policy(Key("policies", "", "that this node does not know"))


@dataclass(frozen=True, slots=True)
class ClusterReach:
    """The rows of answers."""

    store: Store
    options: Options

    def service(self, name: Key) -> Service:
        """A Service. Raises `QueryError`."""
        found = TrackedView(self.store).get(Service, name.namespace, name.name)
        if found is None:
            raise QueryError(f"the cluster has no {name}")
        return found

    def clients(self, service: Service, ports: list[ServicePort]) -> Iterator[Row]:
        """Who may connect to ports of a Service, at each of its endpoints."""
        view = TrackedView(self.store)
        for found in view.slices(service.key):
            for port in ports:
                for address, target in _endpoints(found, port):
                    name, protection = self._server(view, address)
                    yield port_clients(port, target, protection), name

    def pod(self, namespace: str, name: str) -> Pod:
        """A pod of this node, by its name or by that of its workload. Raises `QueryError`."""
        pods = TrackedView(self.store).pods(namespace)
        found = next((pod for pod in pods if name in (pod.metadata.name, workload_of(pod).name)), None)
        if found is None:
            raise QueryError(f"the agent knows no pod {namespace}/{name}: its node's agent does")
        return found

    def targets(self, client: Client, pod: Pod) -> Iterator[Row]:
        """Each port of each Service, at each of its endpoints but the pod itself."""
        view, own = TrackedView(self.store), set(map(normalized_address, pod.addresses))
        for leading, address, target in self._endpoints(view):
            if address not in own:
                name, protection = self._server(view, address)
                yield reach(((leading,), (target,), None), protection.verdict(client, target), protection), name

    def _endpoints(self, view: TrackedView) -> Iterator[tuple[str, str, int]]:
        """Every port of a Service or import, with the addresses and ports of its endpoints."""
        for key in self.store.keys(EndpointSlice):
            found = view.get(EndpointSlice, key.namespace, key.name)
            if found is None:
                continue  # it was deleted since the first row
            for owner in found.owners:
                service = view.service(owner)
                for port in service.spec.ports if service else ():
                    for address, target in _endpoints(found, port):
                        yield f"{service_name(owner)}:{port.port}", address, target

    def _server(self, view: TrackedView, address: str) -> tuple[str, Protection]:
        return view.once(("server", address), lambda: self._server_at(view, address))

    def _server_at(self, view: TrackedView, address: str) -> tuple[str, Protection]:
        """The name of the pod with an address, and what decides who may connect to it. What decides at another node is
        refused where this node does not know it, as its waypoint does.
        """
        here = [pod for pod in view.holders(address) if isinstance(pod, Pod) and not pod.finished]
        for pod in here:
            return f"{pod.metadata.namespace}/{workload_of(pod).name}", protection_of(view, pod, self.options)
        default = mesh_parameters(view).spec.authorization.default
        found = guarded_at(view, address)
        if found is None:
            return address, Protection((), "its node reports no policy of it", default)
        return address, Protection(found.policies if found.policies and found.current else (UNKNOWN,), "", default)


def _endpoints(found: EndpointSlice, port: ServicePort) -> Iterator[tuple[str, int]]:
    """The addresses of a slice with the port to which a port of its Service leads."""
    for item in found.ports:
        if item.port and (item.name, item.protocol) == (port.name, port.protocol):
            for endpoint in found.endpoints:
                yield normalized_address(endpoint.addresses[0]), item.port
