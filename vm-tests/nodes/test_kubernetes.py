"""Agents on two nodes with different kernels follow an API server, with the permissions that are installed."""

from collections.abc import Iterator

import node_lab
import pytest
from node_cluster import NodeCluster, node_cluster
from remote_node import Node

from agent.kube.node_objects import PATH

PATHS = pytest.mark.parametrize(("client", "server"), [(0, 1), (1, 0)], ids=["there", "back"])


@pytest.fixture(scope="module")
def cluster(nodes: list[Node], tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """The nodes, each with a lab that runs its pods, an agent and an Envoy."""
    with node_cluster(tmp_path_factory.mktemp("cluster"), nodes) as made:
        yield made


def waypoints(cluster: NodeCluster) -> dict[str, list[str]]:
    """The waypoints' addresses that agents report, by node."""
    written = cluster.server.request("GET", PATH)["items"]
    return {item["metadata"]["name"]: item["status"].get("waypoints", []) for item in written}


@PATHS
def test_l4_across_nodes(cluster: NodeCluster, client: int, server: int) -> None:
    here, there = cluster.nodes[client], cluster.nodes[server]
    cluster.set_mode("l4")
    before = node_lab.forwarded(here)
    answer = node_lab.ask(here, f"http://{node_lab.service_address(there)}/")
    assert answer["pod"] == f"server-{there.number}"
    assert answer["peer"].rpartition(":")[0] == node_lab.client_address(here)
    assert node_lab.forwarded(here) == before + 1


@PATHS
def test_l7_across_nodes(cluster: NodeCluster, client: int, server: int) -> None:
    here, there = cluster.nodes[client], cluster.nodes[server]
    cluster.set_mode("l7")
    answer = node_lab.ask(here, f"http://{node_lab.SERVICE}/", "-H", f"x-node: {there.number}")
    assert answer["pod"] == f"server-{there.number}"
    assert answer["peer"].rpartition(":")[0] == node_lab.waypoint_address(here)


def test_each_agent_writes_the_object_of_its_node(cluster: NodeCluster) -> None:
    wanted = {node.name: [node_lab.waypoint_address(node)] for node in cluster.nodes}
    node_lab.until(lambda: waypoints(cluster), wanted.__eq__)


def test_the_mesh_stays_while_the_server_is_away(cluster: NodeCluster) -> None:
    here, there = cluster.nodes
    cluster.set_mode("l7")
    cluster.server.kill_server()
    for node in (here, there):
        answer = node_lab.ask(here, f"http://{node_lab.SERVICE}/", "-H", f"x-node: {node.number}")
        assert answer["pod"] == f"server-{node.number}"
    cluster.server.start()
    cluster.set_mode("l4")
