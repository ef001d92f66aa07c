"""A cluster of nodes in guests: on each a lab with its own pods, agent and Envoy, and the Services of all nodes."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from remote_node import PYTHON, Node

from agent.lab.controllers import FIXED_ADDRESS
from agent.lab.paths import LabPaths
from agent.lab.store import Object
from agent.model.meta import WEFT_NAMESPACE
from agent.settings import STATUS_SOCKET

NAMESPACE, SERVICE = "shop", "echo"
Found = TypeVar("Found")
_PORT = 8080
_OBJECTS = Path("/run/objects/all.yaml")
_SETTLE_SECONDS, _PAUSE_SECONDS = 600.0, 2.0


def lab(node: Node) -> LabPaths:
    """The node's lab, under a name of its own."""
    return LabPaths(f"node{node.number}")


def cgroups(node: Node) -> Path:
    """The lab's cgroup on the node, where guest/start mounts cgroup2: `LabPaths.cgroup` is below the host's mount."""
    return Path("/sys/fs/cgroup") / lab(node).cgroup.name


def waypoint_address(node: Node) -> str:
    """The address of the node's Envoy."""
    return _address(node, 2)


def client_address(node: Node) -> str:
    """The address of the node's client."""
    return _address(node, 10)


def server_address(node: Node) -> str:
    """The address of the node's server."""
    return _address(node, 11)


def service_address(node: Node) -> str:
    """The address of the Service that has the node's server alone."""
    return f"10.96.8.{node.number}"


def _address(node: Node, host: int) -> str:
    return f"10.244.{node.number}.{host}"


def weft(node: Node, *words: str) -> str:
    """What a command of weft prints on a node. Raises `NodeError`."""
    return node.run("env", f"WEFT_LAB={lab(node).name}", PYTHON, "-m", "agent", *words)


def up(node: Node, nodes: Sequence[Node], own: Sequence[Object] = (), *options: str) -> None:
    """Start a node's lab and connect it with those of the others: the link between the nodes ends in its namespace.

    `own` are the node's pods, those of `pods` when there are none; `options` are of `weft lab up`.
    """
    found = [*(own or pods(node)), *objects(nodes)]
    node.write(_OBJECTS, "\n---\n".join(map(json.dumps, found)))
    weft(node, "lab", "up", str(_OBJECTS.parent), *options)
    network = lab(node).node_netns
    node.shell(f"""
        ip link set eth0 netns {network}
        ip -netns {network} address add {node.address}/24 dev eth0
        ip -netns {network} link set eth0 up
    """)
    for other in nodes:
        if other != node:
            node.shell(f"ip -netns {network} route add {_address(other, 0)}/24 via {other.address}")


def set_mode(node: Node, mode: str) -> None:
    """Label the namespace on a node, and wait for its pods."""
    weft(node, "lab", "label", "Namespace", NAMESPACE, f"weft.dev/mode={mode}")
    wait_mode(node, mode)


def wait_mode(node: Node, mode: str) -> None:
    """Until the node's pods are in a mode, and nothing is pending."""
    until(lambda: status(node), lambda report: _settled(report, mode))


def until(look: Callable[[], Found], holds: Callable[[Found], bool]) -> None:
    """Look again until it holds of what is found. Raises `AssertionError`, with what was found last."""
    end = time.monotonic() + _SETTLE_SECONDS
    while not holds(found := look()):
        assert time.monotonic() < end, found
        time.sleep(_PAUSE_SECONDS)


def status(node: Node) -> Any:
    """The report of a node's agent."""
    agent = lab(node).state / STATUS_SOCKET
    return json.loads(node.run("curl", "-sS", "--unix-socket", str(agent), "http://agent/status"))


def _settled(report: Any, mode: str) -> bool:
    modes = {pod["mode"] for pod in report["pods"] if pod["pod"].startswith(f"{NAMESPACE}/")}
    listeners = report["waypoint"]["listeners"]
    in_step = report["ready"] and not report["reconciling"]
    return in_step and modes == {mode} and all(item["state"] in ("ready", "draining") for item in listeners)


def forwarded(node: Node) -> int:
    """How many connections and datagrams the kernel has forwarded on a node."""
    read = ["ip", "netns", "exec", lab(node).node_netns, "curl", "-sS", "http://127.0.0.1:9464/metrics"]
    lines = [line for line in node.run(*read).splitlines() if line.startswith("weft_decisions_total{")]
    return sum(int(float(line.split()[-1])) for line in lines if 'verdict="forward"' in line)


def ask(node: Node, url: str, *options: str) -> Any:
    """The echo server's answer to a request of the node's client."""
    curl = ("curl", "-sS", "-m", "60", *options, url)
    return json.loads(weft(node, "lab", "exec", f"{NAMESPACE}/client-{node.number}", "--", *curl).splitlines()[0])


def pods(node: Node) -> list[Object]:
    """A node's own pods. No other node has pods of these names."""
    return [
        _waypoint(node),
        _pod(f"client-{node.number}", client_address(node), {"name": "main", "command": ["sleep", "infinity"]}),
        _pod(f"server-{node.number}", server_address(node), {"name": "echo", "image": "weft/echo"}),
    ]


def objects(nodes: Sequence[Node]) -> list[Object]:
    """What all nodes have: the namespace, Services and the Route."""
    servers = [server_address(other) for other in nodes]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *_service(SERVICE, "10.96.8.100", servers),
        *(item for other in nodes for item in _service(_on(other), service_address(other), [server_address(other)])),
        _route(nodes),
    ]


def _on(node: Node) -> str:
    """The Service of a node's server alone."""
    return f"{SERVICE}-{node.number}"


def _waypoint(node: Node) -> Object:
    """As the lab's own (agent/lab/weft.py), at an address that no other node's has."""
    name = f"weft-waypoint-{node.number}"
    options = ("--state", str(lab(node).state), "--id", name, "--address", waypoint_address(node), "--concurrency", "2")
    command = [PYTHON, "-m", "agent", "waypoint", *options]
    found = _pod(name, waypoint_address(node), {"name": "envoy", "command": command})
    found["metadata"] |= {"namespace": WEFT_NAMESPACE, "labels": {"app.kubernetes.io/name": "weft-waypoint"}}
    return found


def _pod(name: str, address: str, container: dict[str, Any]) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": {FIXED_ADDRESS: address}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def _service(name: str, address: str, backends: Sequence[str]) -> Iterator[Object]:
    """A Service and its endpoints."""
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    ports = [{"name": "http", "port": 80}]
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": address, "ports": ports}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": _PORT}],
        "endpoints": [{"addresses": [backend]} for backend in backends],
    }


def _route(nodes: Sequence[Node]) -> Object:
    """Requests go to the node that they name in a header."""
    rules = [
        {
            "matches": [{"headers": [{"name": "x-node", "value": str(node.number)}]}],
            "backendRefs": [{"name": _on(node), "port": 80}],
        }
        for node in nodes
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": SERVICE}], "rules": rules},
    }
