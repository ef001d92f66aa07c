"""WireGuard among three nodes by their agents: all pairs, keys that are replaced under load, a node that reboots."""

from collections.abc import Iterator
from functools import partial
from itertools import permutations

import node_tunnels
import pytest
from node_fixtures import Tapped
from node_lab import until
from node_tunnels import ANSWERED, ask, is_plain, switch, tunnels
from remote_node import Node

ROTATIONS, STREAMS, DATAGRAMS = 20, 20, 10_000
LAST = ROTATIONS + 1  # generation of keys
REFUSED_SECONDS = 5.0


@pytest.fixture(scope="module")
def mesh(nodes: list[Node]) -> Iterator[list[Node]]:
    """The nodes, with agents in mode Strict from their start."""
    with node_tunnels.agents(nodes, "Strict"):
        yield nodes


def keys(node: Node, which: str) -> set[str]:
    """`public-key`, those of the node's own devices, or `peers`, those of other nodes that they have."""
    return {line.split()[1] for line in node.run("wg", "show", "all", which).splitlines()}


def test_all_pairs_are_encrypted(mesh: list[Node], tapped: Tapped) -> None:
    with tapped() as frames:
        switch(mesh, "Strict")
        for one, other in permutations(mesh, 2):
            assert ask(one, other) == ANSWERED, (one, other)
    assert tunnels(frames) == {(one.address, other.address) for one, other in permutations(mesh, 2)}
    assert not any(map(is_plain, frames))


def test_twenty_replacements_of_keys_lose_nothing(mesh: list[Node], tapped: Tapped) -> None:
    first, second, third = mesh
    with (
        tapped() as frames,
        node_tunnels.streams(second, first, STREAMS) as answered,
        node_tunnels.datagrams(first, third, DATAGRAMS) as sent,
    ):
        for generation in range(2, LAST + 1):
            switch(mesh, "Strict", generation)
    print(
        f"{ROTATIONS} generations: datagrams sent {sent[0]}, lost {sent[1]}; {STREAMS} streams, answers {answered[0]}"
    )
    assert not any(map(is_plain, frames))
    assert sent[0] >= DATAGRAMS
    assert sent[1] == 0, sent
    assert answered[0] > ROTATIONS * STREAMS
    assert answered[1] == 0, answered


def test_a_node_that_reboots_comes_back(mesh: list[Node], tapped: Tapped) -> None:
    """With the startup taint: its pod comes after the agent. Its key is another one then."""
    first, second, third = mesh
    before = keys(third, "public-key")
    with tapped() as frames:
        node_tunnels.reboot(third, mesh)
        assert "weft-plaintext" not in ask(second, third, REFUSED_SECONDS).values()
        assert ask(first, second) == ANSWERED
        node_tunnels.set_mode(third, "Strict", LAST)
        node_tunnels.start_agent(third)
        until(partial(keys, third, "public-key"), bool)
        made = keys(third, "public-key")
        for other in (first, second):
            until(partial(keys, other, "peers"), made.issubset)
        switch(mesh, "Strict", LAST)
        node_tunnels.add_pod(third)
        for one, other in permutations(mesh, 2):
            assert ask(one, other) == ANSWERED, (one, other)
    assert not made & before
    assert tunnels(frames) == {(one.address, other.address) for one, other in permutations(mesh, 2)}
    assert not any(map(is_plain, frames))
