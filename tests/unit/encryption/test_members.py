"""Who takes part in encryption, by Nodes and reports."""

from typing import Any

import pytest

from agent.encryption.members import NO_ADDRESS, NO_CIDRS, inability, members
from agent.encryption.values import Member
from agent.ir.addresses import Addresses
from agent.kube.decode import decode
from agent.model.change import Upsert
from agent.model.core import Node
from agent.model.facts import NodeReport
from agent.model.weft_node import Tunnels
from agent.store.store import Store, TrackedView


def node(name: str, cidrs: list[str], *addresses: tuple[str, str]) -> Node:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDRs": cidrs},
        "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses]},
    }
    (found,) = decode(document, "here")
    assert isinstance(found, Node), found
    return found


def test_addresses_and_ranges_are_the_node_s_and_keys_its_agent_s() -> None:
    store = Store()
    addresses = ("Hostname", "n1"), ("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.9"), ("InternalIP", "fd00:0::1")
    store.apply([Upsert(node("n1", ["10.244.1.0/24", "FD00:1::/64"], *addresses)), Upsert(node("n2", []))])
    view = TrackedView(store)
    plain = (
        Member("n1", Addresses("10.0.0.1", "fd00::1"), ("10.244.1.0/24", "fd00:1::/64")),
        Member("n2", Addresses(), ()),
    )
    assert members(view) == plain
    # A report of a node that is not there counts for nothing.
    store.apply([Upsert(NodeReport(name, tunnels=Tunnels(sending=(1,)))) for name in ("n1", "n3")])
    assert members(view) == (plain[0]._replace(tunnels=Tunnels(sending=(1,))), plain[1])


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (node("n1", ["10.244.1.0/24"], ("InternalIP", "10.0.0.1")), ""),
        (node("n1", [], ("InternalIP", "10.0.0.1")), NO_CIDRS),
        (node("n1", ["10.244.1.1/24"], ("InternalIP", "10.0.0.1")), NO_CIDRS),
        (node("n1", ["10.244.1.0/24"], ("ExternalIP", "192.0.2.1")), NO_ADDRESS),
        (node("n1", ["10.244.1.0/24"], ("InternalIP", "localhost")), NO_ADDRESS),
    ],
)
def test_why_a_node_can_have_no_tunnels(made: Node, why: str) -> None:
    store = Store()
    store.apply([Upsert(made)])
    (found,) = members(TrackedView(store))
    assert inability(found) == why
