"""WireGuard among three nodes by their agents: all pairs, a node that comes back, keys that are replaced under load."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import node_tunnels
import pytest
from node_fixtures import Tapped
from node_tunnels import ANSWERED, ask, is_plain, is_tunnel, switch
from remote_node import Node

ROTATIONS, STREAMS, DATAGRAMS = 20, 20, 10_000
REFUSED_SECONDS = 5.0


@pytest.fixture(scope="module")
def mesh(nodes: list[Node]) -> Iterator[list[Node]]:
    """The nodes, with agents in mode Strict from their start."""
    for node in nodes:
        node_tunnels.furnish(node, nodes)
        node_tunnels.set_mode(node, "Strict", 1)
    with node_tunnels.reports_carried(nodes), ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(node_tunnels.start_agent, nodes))
        yield nodes


def test_all_pairs_are_encrypted(mesh: list[Node], tapped: Tapped) -> None:
    with tapped() as frames:
        switch(mesh, "Strict")
        for one, other in permutations(mesh, 2):
            assert ask(one, other) == ANSWERED, (one, other)
    assert any(map(is_tunnel, frames))
    assert not any(map(is_plain, frames))


def test_a_node_that_has_lost_all_comes_back(mesh: list[Node], tapped: Tapped) -> None:
    """As by a reboot, with the startup taint: pods come after the agent. Its key is another one then."""
    first, second, third = mesh
    with tapped() as frames:
        node_tunnels.forget(first)
        assert "weft-plaintext" not in ask(second, first, REFUSED_SECONDS).values()
        assert ask(second, third) == ANSWERED
        node_tunnels.start_agent(first)
        switch(mesh, "Strict")
        node_tunnels.add_pod(first)
        for one, other in permutations(mesh, 2):
            assert ask(one, other) == ANSWERED, (one, other)
    assert not any(map(is_plain, frames))


def test_twenty_replacements_of_keys_lose_nothing(mesh: list[Node], tapped: Tapped) -> None:
    first, second, third = mesh
    with (
        tapped() as frames,
        node_tunnels.streams(second, first, STREAMS) as answered,
        node_tunnels.datagrams(first, third, DATAGRAMS) as sent,
    ):
        for generation in range(2, ROTATIONS + 2):
            switch(mesh, "Strict", generation)
    print(
        f"{ROTATIONS} generations: datagrams sent {sent[0]}, lost {sent[1]}; {STREAMS} streams, answers {answered[0]}"
    )
    assert not any(map(is_plain, frames))
    assert sent[0] >= DATAGRAMS
    assert sent[1] == 0, sent
    assert answered[0] > ROTATIONS * STREAMS
    assert answered[1] == 0, answered
