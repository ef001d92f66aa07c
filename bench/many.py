"""Services as an API server would store them, in any number, in the namespace `many`."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from agent.lab.store import Object, Objects, key_of

NAMESPACE = "many"
_CLUSTER_IPS, _POD_IPS = IPv4Address("10.96.1.0"), IPv4Address("10.244.16.0")


def services(numbers: range, endpoints: int = 1) -> Objects:
    """The Services of these numbers, each with one slice of so many endpoints."""
    return {key_of(item): item for number in numbers for item in _service(number, endpoints)}


def name_of(number: int) -> str:
    """A Service's name; names sort as their numbers do."""
    return f"service-{number:05}"


def _service(number: int, endpoints: int) -> Iterator[Object]:
    name, address = name_of(number), str(_CLUSTER_IPS + number)
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "tcp", "port": 80}]},
    }
    # Backends may be the same: 60 000 distinct addresses are all that the pods' range has.
    addresses = [str(_POD_IPS + (number * endpoints + index) % 50_000) for index in range(endpoints)]
    yield endpoint_slice(NAMESPACE, name, addresses, 8080)


def endpoint_slice(namespace: str, service: str, addresses: list[str], port: int) -> Object:
    """The only slice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "tcp", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }
