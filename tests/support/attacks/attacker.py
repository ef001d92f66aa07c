"""Who attacks: a namespace, with objects in it that an API server takes, drawn at random."""

from collections.abc import Iterator
from random import Random
from typing import Any

Object = dict[str, Any]
VICTIM = "app"
# Of the lab's range for Services, above those that the API server would give.
_FIRST = 64 * 256


class Attacker:
    """A hostile namespace. Addresses of Services are taken from `numbers`, which attackers share."""

    def __init__(self, namespace: str, random: Random, numbers: Iterator[int]) -> None:
        self.namespace = namespace
        self.random = random
        self._numbers = numbers

    def address(self) -> str:
        """A cluster IP that no other Service has."""
        number = _FIRST + next(self._numbers)
        return f"10.96.{number // 256}.{number % 256}"

    def metadata(self, name: str, labels: Object | None = None, annotations: Object | None = None) -> Object:
        return {"name": name, "namespace": self.namespace, "labels": labels or {}, "annotations": annotations or {}}

    def service(self, name: str, ports: int, protocol: str = "TCP", **annotations: str) -> Object:
        """A Service with ports 1, 2, …"""
        numbers = range(1, ports + 1)
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(name, annotations=annotations),
            "spec": {
                "clusterIP": self.address(),
                "ports": [{"name": f"p{n}", "port": n, "protocol": protocol} for n in numbers],
            },
        }

    def endpoint_slice(self, owner: str, number: int, endpoints: int, ports: int, protocol: str = "TCP") -> Object:
        """A slice with as many endpoints and ports; the addresses of slices with other numbers differ."""
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": self.metadata(f"{owner}-{number}", {"kubernetes.io/service-name": owner}),
            "addressType": "IPv4",
            "ports": [{"name": f"p{n}", "port": 1000 + n, "protocol": protocol} for n in range(1, ports + 1)],
            "endpoints": [{"addresses": [f"10.{100 + number}.{n // 250}.{n % 250 + 1}"]} for n in range(endpoints)],
        }

    def service_import(self, name: str, address: str) -> Object:
        return {
            "apiVersion": "multicluster.x-k8s.io/v1alpha1",
            "kind": "ServiceImport",
            "metadata": self.metadata(name),
            "spec": {"type": "ClusterSetIP", "ips": [address], "ports": [{"port": 80}]},
        }

    def route(self, name: str, rules: list[Object], parent: Object | None = None, kind: str = "HTTPRoute") -> Object:
        """A Route; without a parent for the victim's Service, whose consumer the namespace then is."""
        reference = {"group": "", "kind": "Service", "name": "echo", "namespace": VICTIM, "port": 80}
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": self.metadata(name),
            "spec": {"parentRefs": [parent or reference], "rules": rules},
        }


def own(name: str) -> Object:
    """A parentRef or backendRef that names a Service of the same namespace."""
    return {"group": "", "kind": "Service", "name": name}


def rule(matches: list[Object], filters: list[Object] | None = None) -> Object:
    """A rule with the victim's server as backend."""
    backends = [{"name": "v1", "namespace": VICTIM, "port": 80}]
    return {"matches": matches, "filters": filters or [], "backendRefs": backends}


def header_filters(size: int, kind: str = "Request") -> list[Object]:
    """A filter that sets headers of about so many bytes."""
    headers = [{"name": f"x-{n}", "value": "v" * 4000} for n in range(size // 4000)]
    return [header_filter(kind, headers)] if headers else []


def header_filter(kind: str, headers: list[Object]) -> Object:
    """A filter that sets headers, of requests or responses."""
    return {"type": f"{kind}HeaderModifier", f"{kind.lower()}HeaderModifier": {"set": headers}}


def prefixes(count: int) -> list[Object]:
    return [{"path": {"type": "PathPrefix", "value": f"/{n}"}} for n in range(count)]


def methods(count: int) -> list[Object]:
    """Matches of a GRPCRoute."""
    return [{"method": {"service": f"s{n}"}} for n in range(count)]
