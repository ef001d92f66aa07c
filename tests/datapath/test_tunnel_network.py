"""Devices, routes and rules of encryption in a real kernel, through the sockets of the helper.

The devices are bridges, as not every kernel has WireGuard: they take what is routed into them. What WireGuard does with
it is shown by vm-tests/nodes/test_encryption.py.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.encryption.plan import in_step, make_plan
from agent.encryption.values import Observed, Peer, PeerState, Plan
from agent.kernel.netns.client import RefusedError
from agent.kernel.tunnels import TunnelNetwork, UnsupportedError, node_network
from agent.model.parameters import MeshEncryption
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import Node
from support.datapath.tunnel_node import GATEWAY, OTHER, OWN, PEER, POD, Network, tunnel_node
from support.privileges import of_container, with_only

pytestmark = pytest.mark.bpf

STRICT = MeshEncryption("Strict", ("10.244.0.0/16", "fd00::/16"))
PODS = MeshEncryption("Pods")


@pytest.fixture
def network() -> Iterator[Network]:
    with tunnel_node() as made:
        yield made


class FakeCrypto:
    """Devices whose peers are in memory, and answer at once if `answers`."""

    def __init__(self) -> None:
        self.answers = True
        self.keys: dict[str, str] = {}
        self.peers: dict[str, dict[str, Peer]] = {}

    def furnish(self, name: str, port: int) -> None:
        self.keys[name], self.peers[name] = f"{name}-{port}", {}

    def read(self, name: str) -> tuple[str, dict[str, PeerState]]:
        states = {key: PeerState(peer, int(self.answers), 0, 0) for key, peer in self.peers[name].items()}
        return self.keys[name], states

    def put(self, name: str, peer: Peer) -> None:
        self.peers[name][peer.public_key] = peer

    def remove(self, name: str, public_key: str) -> None:
        del self.peers[name][public_key]


@pytest.fixture
def helper(node: Node, network: Network) -> Iterator[NetnsHelper]:
    """A helper that has the capabilities of its container, for the network of the node."""
    helper = NetnsHelper(
        node.kubepods, before=with_only(of_container("netns")), node_network=f"/proc/{network.node}/ns/net"
    )
    yield helper
    helper.close()


@pytest.fixture
def tunnels(helper: NetnsHelper) -> Iterator["Applied"]:
    """The network of the node, by sockets of the helper."""
    descriptors = helper.client.node_sockets()
    yield Applied(descriptors[0])
    for descriptor in descriptors:
        os.close(descriptor)


class Applied:
    """A network that is brought in step with plans until nothing is left to do."""

    def __init__(self, descriptor: int, kind: str = "bridge") -> None:
        self.descriptor = descriptor
        self.crypto = FakeCrypto()
        self.network = TunnelNetwork(descriptor, self.crypto, kind)

    def apply(self, encryption: MeshEncryption, *generations: int) -> Observed:
        for _ in range(4):
            found = self.network.observe(OWN.endpoints)
            plan = make_plan(encryption, OWN, [PEER], generations, found)
            if in_step(plan, found):
                return found
            self.network.apply(plan, found)
        raise AssertionError(plan, found)


def test_off_leaves_what_was_there(network: Network, tunnels: Applied) -> None:
    before = network.all()
    for _ in range(2):
        tunnels.apply(STRICT, 1, 2)
        assert "weft-wg0" in network.all()
        tunnels.network.apply(Plan(), tunnels.network.observe(OWN.endpoints))
        assert network.all() == before


def test_strict_without_a_tunnel_refuses_both_ways(network: Network, tunnels: Applied) -> None:
    tunnels.crypto.answers = False
    assert network.reaches(network.pod, OTHER) == [True, True]
    tunnels.apply(STRICT, 1)
    assert network.reaches(network.pod, OTHER) == [False, False]
    # Of a reply nothing would be seen: what arrives must not reach the pod.
    heard = _received(network)
    for source, address in zip(OTHER, POD, strict=True):
        assert network.reaches(network.other, (address,), source) == [False]
    assert _received(network) == heard
    # The node itself, and the pods of the node.
    assert network.reaches(network.node, (*POD, *OTHER)) == [True] * 4
    assert network.reaches(network.pod, GATEWAY) == [True, True]


def test_strict_lets_answers_to_other_nodes_through_at_any_port(network: Network, tunnels: Applied) -> None:
    """A node that gives a connection its own address also chooses its port: kube-proxy, for NodePorts from outside."""
    connect = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET) as made:
    made.settimeout(5)
    made.bind((sys.argv[2], 31000))
    print(made.connect_ex((sys.argv[1], 7777)))
"""
    tunnels.apply(STRICT, 1)
    for pod, node in zip(POD, PEER.endpoints, strict=True):
        assert network.run(network.other, shlex.join([sys.executable, "-c", connect, pod, node])).strip() == "0"


def _received(network: Network) -> str:
    """The number of TCP segments that the pod has received."""
    lines = network.run(network.pod, "cat /proc/net/snmp").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return dict(zip(names, values, strict=True))["InSegs"]


def test_packets_of_pods_go_into_the_device_and_others_do_not(network: Network, tunnels: Applied) -> None:
    found = tunnels.apply(PODS, 1)
    assert network.way() == {"weft-wg1"}
    assert network.reaches(network.node, OTHER) == [True, True]
    assert (found.uplink, found.devices[1].mtu, found.devices[1].public_key) == (1500, 1420, "weft-wg1-51872")
    assert network.run(network.node, "cat /proc/sys/net/ipv4/conf/weft-wg1/rp_filter").strip() == "2"


@pytest.mark.parametrize(("encryption", "way"), [(STRICT, "refused"), (PODS, "up0")])
def test_what_is_removed_by_hand(network: Network, tunnels: Applied, encryption: MeshEncryption, way: str) -> None:
    tunnels.apply(encryption, 1)
    network.run(network.node, "ip link delete weft-wg1")
    assert network.way() == {way}
    tunnels.apply(encryption, 1)
    for command in ("ip -6 rule delete priority 112", "ip route flush table 5187", "ip link set weft-wg1 down"):
        network.run(network.node, command)
        tunnels.apply(encryption, 1)
        assert network.way() == {"weft-wg1"}


def test_pods_that_the_node_reaches_by_an_uplink(network: Network, tunnels: Applied) -> None:
    """As those of macvlan and ipvlan, and those that have no route at all."""
    outside = {"10.244.1.77": "up0", "fd00:1::77": "up0"}
    for address, via in zip(outside, PEER.endpoints, strict=True):
        network.run(network.node, f"ip route add {address} via {via}")
    network.run(network.node, "ip route add unreachable 10.244.1.78")
    addresses = (*POD, *outside, "10.244.1.78")
    assert tunnels.network.reached_outside(OWN.endpoints, addresses) == outside | {"10.244.1.78": ""}
    tunnels.apply(STRICT, 1)
    assert tunnels.network.reached_outside(OWN.endpoints, POD) == {}


def test_keys_are_replaced(network: Network, tunnels: Applied) -> None:
    second = MeshEncryption("Strict", STRICT.pod_cidrs, 2)
    tunnels.apply(STRICT, 1)
    tunnels.apply(second, 1, 2)
    assert network.way() == {"weft-wg0"}
    assert set(tunnels.apply(second, 2).devices) == {2}
    assert "weft-wg1" not in network.run(network.node, "ip -o link")


def test_a_device_that_is_not_complete_is_made_again(network: Network, tunnels: Applied) -> None:
    network.run(network.node, "ip link add weft-wg1 type bridge")
    assert not tunnels.network.observe(OWN.endpoints).devices
    assert set(tunnels.apply(PODS, 1).devices) == {1}


def test_where_devices_cannot_be_made_strict_refuses(network: Network, tunnels: Applied) -> None:
    unable = Applied(tunnels.descriptor, "no-such-kind")
    with pytest.raises(UnsupportedError):
        unable.apply(STRICT, 1)
    unable.apply(STRICT)
    assert network.way() == {"refused"}


def test_sockets_are_closed(helper: NetnsHelper) -> None:
    def used() -> int:
        return len(os.listdir("/proc/self/fd"))

    with node_network(helper.client) as found:
        found.observe(OWN.endpoints)
    before = used()
    for _ in range(5):
        with node_network(helper.client) as found:
            found.observe(OWN.endpoints)
    assert used() == before


def test_a_helper_that_was_not_started_for_it_gives_no_sockets(node: Node) -> None:
    helper = NetnsHelper(node.kubepods, before=with_only(of_container("netns")))
    try:
        with pytest.raises(RefusedError, match="started without --node-network"):
            helper.client.node_sockets()
    finally:
        helper.close()


def test_an_agent_with_its_capabilities_only(network: Network, helper: NetnsHelper) -> None:
    """With NET_ADMIN alone: what the agent's container has; without it nothing can be changed."""
    program = f"""
from pathlib import Path
from agent.kernel.netns.client import NetnsClient
from agent.kernel.tunnels import TunnelNetwork
from agent.encryption.values import Observed, Plan, Route
route, _ = NetnsClient(Path({str(helper.socket)!r})).node_sockets()
TunnelNetwork(route, None).apply(Plan(routes=frozenset({{Route("10.244.9.0/24")}})), Observed())
"""
    command = [sys.executable, "-c", program]
    refused = subprocess.run([*with_only(["BPF"]), *command], capture_output=True, text=True, check=False)
    assert "Operation not permitted" in refused.stderr
    subprocess.run([*with_only(["NET_ADMIN"]), *command], check=True)
    assert "prohibit 10.244.9.0/24" in network.run(network.node, "ip route show table 5187")
