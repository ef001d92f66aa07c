"""Two nodes with different kernels: pods of one reach those of the other, in L4 and through their own node's Envoy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socket import inet_aton

import node_lab
import pytest
from node_fixtures import Tapped
from remote_node import Node

# Source and destination in an Ethernet frame with an IPv4 packet.
ADDRESSES = slice(26, 34)
PATHS = pytest.mark.parametrize(("client", "server"), [(0, 1), (1, 0)], ids=["there", "back"])


@pytest.fixture(scope="module")
def mesh(nodes: list[Node]) -> Iterator[list[Node]]:
    """The nodes, each with a lab, an agent and an Envoy."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(partial(node_lab.up, nodes=nodes), nodes))
    yield nodes
    for node in nodes:
        node_lab.weft(node, "lab", "down")


def crossed(frames: list[bytes], source: str, destination: str) -> bool:
    """Whether a packet from one address to the other was on the link."""
    return any(frame[ADDRESSES] == inet_aton(source) + inet_aton(destination) for frame in frames)


@PATHS
def test_l4_across_nodes(mesh: list[Node], tapped: Tapped, client: int, server: int) -> None:
    here, there = mesh[client], mesh[server]
    node_lab.set_mode(here, "l4")
    before = node_lab.forwarded(here)
    with tapped() as frames:
        answer = node_lab.ask(here, f"http://{node_lab.service_address(there)}/")
    assert answer["pod"] == f"server-{there.number}"
    assert answer["peer"].rpartition(":")[0] == node_lab.client_address(here)
    assert node_lab.forwarded(here) == before + 1
    assert crossed(frames, node_lab.client_address(here), node_lab.server_address(there))


@PATHS
def test_l7_across_nodes(mesh: list[Node], tapped: Tapped, client: int, server: int) -> None:
    """The client's own node has the Envoy that decides by the header; the other node's has no part in it."""
    here, there = mesh[client], mesh[server]
    node_lab.set_mode(here, "l7")
    with tapped() as frames:
        answer = node_lab.ask(here, f"http://{node_lab.SERVICE}/", "-H", f"x-node: {there.number}")
    assert answer["pod"] == f"server-{there.number}"
    assert answer["peer"].rpartition(":")[0] == node_lab.waypoint_address(here)
    assert crossed(frames, node_lab.waypoint_address(here), node_lab.server_address(there))
    own = node_lab.ask(here, f"http://{node_lab.SERVICE}/", "-H", f"x-node: {here.number}")
    assert own["pod"] == f"server-{here.number}"
