"""WireGuard between two nodes by the agent: no packet between pods is plain on the link, whatever is removed."""

import time
from collections.abc import Iterator
from functools import partial

import node_tunnels
import pytest
from node_fixtures import Tapped
from node_lab import until
from node_tunnels import ANSWERED, ask, is_plain, is_tunnel, switch
from remote_node import Node

REFUSED_SECONDS = 5.0


@pytest.fixture(scope="module")
def mesh(nodes: list[Node]) -> Iterator[list[Node]]:
    """The nodes, with agents in mode Off."""
    with node_tunnels.agents(nodes, "Off"):
        yield nodes


def network(node: Node) -> str:
    """The node's links, rules and routes."""
    return node.shell("ip -o link; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all")


def test_off_changes_nothing(mesh: list[Node], tapped: Tapped) -> None:
    first, second = mesh
    assert "weft-wg" not in network(first)
    assert "5187" not in network(first)
    with tapped() as frames:
        assert ask(first, second) == ANSWERED
    assert any(map(is_plain, frames))


def test_pods_are_encrypted_where_both_nodes_have_a_tunnel(mesh: list[Node], tapped: Tapped) -> None:
    first, second = mesh
    with node_tunnels.datagrams(first, second) as sent:
        switch(mesh, "Pods")
    assert sent[0] > 0
    assert sent[1] == 0, sent
    with tapped() as frames:
        assert ask(first, second) == ask(second, first) == ANSWERED
    assert any(map(is_tunnel, frames))
    assert not any(map(is_plain, frames))


def test_a_proof_without_a_leak(mesh: list[Node]) -> None:
    first, second = mesh

    def answered() -> None:
        assert ask(first, second) == ask(second, first) == ANSWERED

    for found in node_tunnels.proofs(mesh, answered).values():
        assert (found["exit"], found["plain"], found["flows"]) == (0, 0, []), found
        assert found["encrypted"] > 0


def test_strict_while_the_agent_is_dead_and_the_device_removed(mesh: list[Node], tapped: Tapped) -> None:
    first, second = mesh
    with node_tunnels.datagrams(first, second) as sent:
        switch(mesh, "Strict")
    assert sent[1] == 0, sent
    with tapped() as frames:
        assert ask(first, second) == ask(second, first) == ANSWERED
        node_tunnels.kill_agent(first)
        assert ask(first, second) == ask(second, first) == ANSWERED
        assert any(map(is_tunnel, frames))
        with node_tunnels.datagrams(first, second) as sent:
            node_tunnels.start_agent(first)
            switch(mesh, "Strict")
        assert sent[1] == 0, sent
        node_tunnels.kill_agent(first)
        first.run("ip", "link", "delete", "weft-wg1")
        assert "weft-plaintext" not in ask(first, second, REFUSED_SECONDS).values()
        node_tunnels.start_agent(first)
        switch(mesh, "Strict")
        assert ask(first, second) == ask(second, first) == ANSWERED
    assert not any(map(is_plain, frames))


def test_strict_delivers_nothing_that_arrives_plain(mesh: list[Node], tapped: Tapped) -> None:
    """The first node's rules are removed by hand while it has no agent: what it sends is plain."""
    first, second = mesh
    node_tunnels.kill_agent(first)
    for family in ("-4", "-6"):
        first.shell(f"for rule in 110 111 111 112 113 114; do ip {family} rule delete priority $rule; done")

    def refused() -> None:
        assert "weft-plaintext" not in ask(first, second, REFUSED_SECONDS).values()

    with tapped() as frames:
        found = node_tunnels.proofs([second], refused)[second.name]
    assert any(map(is_plain, frames))
    assert (found["exit"], found["plain"] > 0) == (3, True), found
    assert {(flow["link"], flow["direction"], flow["source"]["node"]) for flow in found["flows"]} == {
        ("eth0", "received", first.name)
    }
    node_tunnels.start_agent(first)
    switch(mesh, "Strict")
    assert ask(first, second) == ask(second, first) == ANSWERED


def test_keys_are_replaced_and_nothing_is_lost(mesh: list[Node], tapped: Tapped) -> None:
    first, second = mesh
    before = first.run("wg", "show", "all", "public-key")
    with tapped() as frames, node_tunnels.datagrams(first, second) as sent:
        for generation in (2, 3):
            switch(mesh, "Strict", generation)
            for node in mesh:
                until(lambda node=node: node.run("wg", "show", "interfaces").split(), lambda found: len(found) == 1)  # type: ignore[misc]
        time.sleep(1)
    assert sent[0] > 0
    assert sent[1] == 0, sent
    assert not any(map(is_plain, frames))
    assert first.run("wg", "show", "all", "public-key") != before
    print(f"datagrams sent during two changes of keys: {sent[0]}, lost: {sent[1]}")


def test_off_leaves_nothing(mesh: list[Node], tapped: Tapped) -> None:
    first, second = mesh
    switch(mesh, "Pods", 3)
    with node_tunnels.datagrams(first, second) as sent:
        switch(mesh, "Off", 3)
        for node in mesh:
            until(partial(network, node), lambda found: "weft-wg" not in found and "5187" not in found)
    assert sent[1] == 0, sent
    with tapped() as frames:
        assert ask(first, second) == ANSWERED
    assert any(map(is_plain, frames))
