"""An API server that agents in guests follow, over the control bridge. Each node's lab runs that node's pods of it."""

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import node_lab
from private_network import CONTROL_HOST, agent_address
from remote_node import PYTHON, Node

from agent.lab.controllers import FIXED_ADDRESS
from agent.lab.store import Object
from agent.settings import STATUS_SOCKET
from support.apiserver.agent import MERGE
from support.apiserver.gateway import install
from support.apiserver.manifests import agent_account, apply
from support.apiserver.process import Cluster

_MANIFESTS = ("namespace", "rbac", "weftnodes", "authorizationpolicies", "meshparameters")


@dataclass(frozen=True, slots=True)
class NodeCluster:
    """The API server, and the nodes that belong to it."""

    server: Cluster
    nodes: Sequence[Node]

    def set_mode(self, mode: str) -> None:
        """Label the namespace, and wait for the pods of all nodes."""
        labels = {"metadata": {"labels": {"weft.dev/mode": mode}}}
        self.server.request("PATCH", f"/api/v1/namespaces/{node_lab.NAMESPACE}", labels, MERGE)
        for node in self.nodes:
            node_lab.wait_mode(node, mode)

    def create(self, item: Object) -> Object:
        """Create an object; returns it as stored."""
        created: Object = self.server.request("POST", _collection(item), item)
        return created

    def join(self, node: Node) -> None:
        """Make a node one of the cluster: its pods run, and its agent is ready."""
        self.server.request("POST", "/api/v1/nodes", {"metadata": {"name": node.name}})
        pods = [self._schedule(pod, node) for pod in node_lab.pods(node)]
        node_lab.up(node, self.nodes, pods, "--no-agent")
        self._start_agent(node)

    def _schedule(self, pod: Object, node: Node) -> Object:
        """Create a running pod on a node; returns it for the node's lab, with its uid, by which its cgroup is named."""
        containers = [{"name": "main", "image": "of-the-lab"}]
        made = self.create(pod | {"spec": {"nodeName": node.name, "containers": containers}})
        address = pod["metadata"]["annotations"][FIXED_ADDRESS]
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
        path = f"{_collection(pod)}/{pod['metadata']['name']}/status"
        self.server.request("PATCH", path, {"status": status}, MERGE)
        return pod | {"metadata": pod["metadata"] | {"uid": made["metadata"]["uid"]}}

    def _start_agent(self, node: Node) -> None:
        """With the token of its service account, in the lab's network, which the control bridge is joined to. Raises
        `NodeError`, with its log.
        """
        folder, paths = self.server.folder, node_lab.lab(node)
        kubeconfig = agent_account(self.server, node.name, folder)
        for file in (kubeconfig, folder / f"agent-{node.name}", self.server.ca):
            node.write(file, file.read_text())
        cgroups = node_lab.cgroups(node)
        path = ("--node", node.name, "--state", str(paths.state), "--kubepods", str(cgroups / "kubepods"))
        command = (PYTHON, "-m", "agent", "agent", "--kubernetes", "--kubeconfig", str(kubeconfig), *path)
        cgroup, log, network = cgroups / "system/agent", paths.log("agent"), paths.node_netns
        node.shell(f"""
            ip link add control link eth1 netns {network} type macvlan mode bridge
            ip -netns {network} address add {agent_address(node.number)}/24 dev control
            ip -netns {network} link set control up
            mkdir -p {cgroup}
            sh -c 'echo $$ > {cgroup}/cgroup.procs; exec nsenter --net=/run/netns/{network} {shlex.join(command)}' \\
                < /dev/null > {log} 2>&1 &
        """)
        status = ("--unix-socket", str(paths.state / STATUS_SOCKET), "http://agent/status")
        retries = ("--retry", "200", "--retry-delay", "2", "--retry-all-errors")
        node.shell(f"{shlex.join(('curl', '-sS', *retries, *status))} || {{ cat {log} >&2; exit 1; }}")


def _collection(item: Object) -> str:
    """The path of a kind in the item's namespace."""
    version, metadata = item["apiVersion"], item["metadata"]
    group = f"apis/{version}" if "/" in version else f"api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"/{group}{namespace}/{item['kind'].lower()}s"


@contextmanager
def node_cluster(folder: Path, nodes: Sequence[Node]) -> Iterator[NodeCluster]:
    """A cluster of these nodes, with weft's permissions and definitions."""
    server = Cluster(folder, CONTROL_HOST)
    try:
        server.start()
        install(server)
        for name in _MANIFESTS:
            apply(server, f"base/{name}.yaml")
        made = NodeCluster(server, nodes)
        for item in node_lab.objects(nodes):
            made.create(item)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(made.join, nodes))
        yield made
        for node in nodes:
            node_lab.weft(node, "lab", "down")
    finally:
        server.stop()
