"""Clients of the waypoint in network namespaces without a pod's cgroup, and which listeners answer them."""

import sys

from support.node.lab_handle import LabHandle

WAYPOINT = "10.244.0.2"


LAN, OTHER_NODE_S_POD = "192.0.2.7", "10.244.77.7"


ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: {}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: echo, namespace: app, port: 80}}]
  rules: [{{backendRefs: [{{name: v1, namespace: app, port: 80}}]}}]
---
"""


JOIN = """
import sys
from agent.lab.families import IPV4
from agent.lab.network import add_pod
namespace, link, address = sys.argv[1:]
add_pod(namespace, link, [address], [IPV4])
"""


# By the kernel, or by the listener: curl's exit codes.
REFUSED = (7, 52, 56)


ASK = ("curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}")


def ports(mesh: LabHandle) -> dict[str, int]:
    """The ports of the producer's listener and of the consumer's."""
    listeners = [item for item in mesh.status()["waypoint"]["listeners"] if item["name"].startswith("app/echo:80")]
    return {"consumer" if "other" in item["name"] else "producer": item["port"] for item in listeners}


def neighbour(mesh: LabHandle, name: str, address: str) -> str:
    """A network namespace with this address, connected to the node. It is removed with the lab."""
    netns = mesh.paths.pod_netns("near", name)
    mesh.node(sys.executable, "-c", JOIN, netns, f"veth{name}", address)
    return netns


def answered(mesh: LabHandle, netns: str) -> set[str]:
    """The listeners that answer a client in this network namespace. Fails when the client reaches no server."""
    within = ("ip", "netns", "exec", netns) if netns != mesh.paths.node_netns else ()
    server = next(pod for pod in mesh.status()["pods"] if pod["pod"].startswith("app/v1"))["addresses"][0]
    assert mesh.node(*within, *ASK, f"http://{server}:8080/").stdout == "200"
    responses = {
        name: mesh.node(*within, *ASK, f"http://{WAYPOINT}:{port}/", check=False) for name, port in ports(mesh).items()
    }
    assert all(done.stdout == "200" or done.returncode in REFUSED for done in responses.values()), responses
    return {name for name, done in responses.items() if done.stdout == "200"}


def netns_of(mesh: LabHandle, pod: str) -> str:
    """A pod's network namespace."""
    (found,) = [key for key in mesh.store.load() if f"{key.namespace}/{key.name}".startswith(pod) and key.kind == "Pod"]
    return mesh.paths.pod_netns(found.namespace, found.name)
