"""Any number of Services, in the namespace `many`, as the manifests that the agent reads."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from agent.lab.store import Object

NAMESPACE = "many"
# A file for each object would measure the directory: the agent looks at every file of it after a change.
IN_A_FILE = 500
_CLUSTER_IPS, _POD_IPS = IPv4Address("10.96.1.0"), IPv4Address("10.244.16.0")


def write(folder: Path, numbers: range, endpoints: int) -> None:
    """Write the Services of these numbers, each with one slice of so many endpoints, as lists."""
    folder.mkdir(exist_ok=True)
    for first in range(numbers.start, numbers.stop, IN_A_FILE):
        some = range(first, min(first + IN_A_FILE, numbers.stop))
        items = [item for number in some for item in _objects(number, endpoints)]
        content = {"apiVersion": "v1", "kind": "List", "items": items}
        (folder / f"{name_of(first)}.json").write_bytes(msgspec.json.encode(content))


def read(folder: Path) -> Iterator[Object]:
    """What `write` has written."""
    for file in sorted(folder.glob("*.json")):
        yield from msgspec.json.decode(file.read_bytes())["items"]


def name_of(number: int) -> str:
    """A Service's name; names sort as their numbers do."""
    return f"service-{number:05}"


def _objects(number: int, endpoints: int) -> tuple[Object, Object]:
    name = name_of(number)
    # Backends may be the same: 60 000 distinct addresses are all that the pods' range has.
    addresses = [str(_POD_IPS + (number * endpoints + index) % 50_000) for index in range(endpoints)]
    return service(NAMESPACE, name, str(_CLUSTER_IPS + number)), endpoint_slice(NAMESPACE, name, addresses, 8080)


def service(namespace: str, name: str, address: str) -> Object:
    """A Service with the port 80, without a selector."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}"},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "tcp", "port": 80}]},
    }


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
