"""Frames between nodes, counted and told apart by the kernel, on a link between two network namespaces.

The filters are compared with a model of them for random addresses. A leak is made on purpose: the node has no tunnel.
"""

import os
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from agent.encryption.proof import Flow, Flows
from agent.encryption.values import PORTS
from agent.kernel.frames import Tap, tapped
from agent.kernel.netns.client import RefusedError
from agent.kernel.netns.protocol import MOST_NODES, MOST_OWN, MOST_RANGES
from agent.kernel.packet_filter import Ends, FrameClass
from agent.kernel.uplinks import Uplinks, find_uplinks
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import Node
from support.datapath.tunnel_node import OTHER, OWN, PEER, POD, Network, tunnel_node
from support.privileges import of_container, with_only

pytestmark = pytest.mark.bpf

PODS = ("10.244.0.0/16", "fd00:1::/64", "fd00:2::/63")
ENDS = Ends(PODS, (*OWN.endpoints, "10.244.1.1", "fd00:1::1"), tuple(PEER.endpoints), PORTS)
# Sends the frames of its input, each behind its length, from a link.
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
    made.bind((sys.argv[1], 0))
    data = sys.stdin.buffer.read()
    while data:
        size = int.from_bytes(data[:2], "big")
        made.send(data[2:size + 2])
        data = data[size + 2:]
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with tunnel_node() as made:
        yield made


@pytest.fixture
def helper(node: Node, network: Network) -> Iterator[NetnsHelper]:
    """A helper that has the capabilities of its container."""
    capabilities = with_only(of_container("netns", "encryption"))
    helper = NetnsHelper(node.kubepods, before=capabilities, node_network=f"/proc/{network.node}/ns/net")
    yield helper
    helper.close()


def counted(tap: Tap) -> tuple[int, int, int]:
    found = tap.counts()
    return found[FrameClass.PLAIN], found[FrameClass.OUTSIDE], found[FrameClass.ENCRYPTED]


def send(network: Network, frames: list[bytes], where: int = 0) -> None:
    """Send frames from the other node, or another namespace; they have arrived when this returns."""
    link = "up0" if where == network.node else "eth0"
    within = ["nsenter", f"--net=/proc/{where or network.other}/ns/net", "--", sys.executable, "-c", SEND, link]
    text = b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)
    subprocess.run(within, input=text, check=True)


def frame(
    source: str, destination: str, protocol: int = 6, ports: tuple[int, int] = (1, 2), rest: bytes = b""
) -> bytes:
    """An Ethernet frame to all, with the first bytes of what is behind its IP header."""
    ends = ip_address(source).packed + ip_address(destination).packed
    carried = struct.pack("!HH", *ports) + b"secret"
    if len(ends) == 8:
        size = 20 + len(rest)
        packet = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(carried), 0, 0, 64, protocol, 0) + ends + rest
    else:
        packet = struct.pack("!IHBB", 0x60000000, len(carried), protocol, 64) + ends
    kind = b"\x08\x00" if len(ends) == 8 else b"\x86\xdd"
    return b"\xff" * 6 + bytes(6) + kind + packet + carried


def test_a_leak_is_found_and_named(network: Network, helper: NetnsHelper) -> None:
    flows = Flows()
    with tapped(helper.client, ["up0"], ENDS) as taps:
        assert network.reaches(network.node, OTHER) == [True, True]
        plain, outside, _ = counted(taps[0])
        assert (plain, outside > 0) == (0, True)
        assert network.reaches(network.pod, OTHER) == [True, True]
        for sent, header in taps[0].headers(1000):
            flows.note("up0", sent, header)
        plain, _, encrypted = counted(taps[0])
    assert (plain, encrypted) == (sum(flows.frames.values()), 0)
    ways = [(True, POD[number], OTHER[number]) for number in (0, 1)]
    ways += [(False, there, here) for _, here, there in ways]
    assert set(flows.frames) == {Flow("up0", *way, "TCP") for way in ways}


class Model:
    """The class of a frame by its addresses."""

    def __init__(self, ends: Ends) -> None:
        self._pods, self._own, self._nodes = ([ip_network(text) for text in texts] for texts in ends[:3])

    def __call__(self, source: str, destination: str) -> FrameClass | None:
        both = ip_address(source), ip_address(destination)
        own, nodes = ([any(it in network for network in these) for it in both] for these in (self._own, self._nodes))
        pods = [any(it in network for network in self._pods) and not mine for it, mine in zip(both, own, strict=True)]
        nodes = [any(found) for found in zip(own, nodes, strict=True)]
        if all(pods):
            return FrameClass.PLAIN
        return FrameClass.OUTSIDE if (pods[0] and nodes[1]) or (nodes[0] and pods[1]) else None


def most_ends(made: random.Random) -> Ends:
    """As many addresses as a request may have."""
    pods = [*PODS, *(f"10.245.{n}.0/{made.randint(24, 30)}" for n in range(0, 13 * 7, 7))]
    pods += [f"fd00:3:{n:x}::/{made.randint(48, 128)}" for n in range(MOST_RANGES - len(pods))]
    own = [*ENDS.own, *(f"fd01::{n:x}" for n in range(100, 100 + MOST_OWN - len(ENDS.own)))]
    nodes = [*ENDS.nodes, *(f"fd01::{n:x}" for n in range(200, 200 + MOST_NODES - len(ENDS.nodes)))]
    return Ends(tuple(pods), tuple(own), tuple(nodes), PORTS)


def test_the_filters_agree_with_their_model(network: Network, helper: NetnsHelper) -> None:
    made = random.Random(16)
    ends = most_ends(made)
    model = Model(ends)
    ranges = [ip_network(text) for text in ends.pods]
    strangers = ("198.51.100.1", "10.246.0.0", "10.243.255.255", "2001:db8::1", "fd00:4::1", "fd01::ffff")
    known = [[str(it[made.randrange(it.num_addresses)]) for it in ranges], ends.own, ends.nodes, strangers]
    frames = []
    expected: Counter[FrameClass | None] = Counter()
    while len(frames) < 1000:
        source, destination = made.choice(made.choice(known)), made.choice(made.choice(known))
        if (":" in source) == (":" in destination):
            ports, protocol = (made.choice((1, *PORTS)), made.choice((2, *PORTS))), made.choice((6, 17))
            options = bytes(4 * made.choice((0, 0, 1, 10))) if ":" not in source else b""
            frames.append(frame(source, destination, protocol, ports, options))
            expected[model(source, destination)] += 1
            expected[FrameClass.ENCRYPTED] += protocol == 17 and {*ports} <= {*PORTS}
    for sender in (network.other, network.node):
        with tapped(helper.client, ["up0"], ends) as taps:
            send(network, frames, sender)
            assert taps[0].counts() == {wanted: expected[wanted] for wanted in FrameClass}
    assert min(expected.values()) > 25, expected


def test_headers_only_are_read_and_frames_for_others_are_not_counted(network: Network, helper: NetnsHelper) -> None:
    ends = POD[0], OTHER[0]
    later = bytearray(frame(*ends, 17, PORTS))
    later[20:22] = b"\x00\x10"  # a fragment that is not the first: what is there is no port
    for_others = bytearray(frame(*ends))
    for_others[:6] = b"\x02\x00\x00\x00\x00\x01"
    with tapped(helper.client, ["up0"], ENDS) as taps:
        send(network, [frame(*ends), frame(*ends, 6, (1, 2), bytes(40)), frame(POD[1], OTHER[1]), bytes(later)])
        send(network, [bytes(for_others), b"\xff" * 6 + bytes(6) + b"\x08\x00\x45"])
        assert counted(taps[0]) == (4, 0, 0)
        headers = [header for _, header in taps[0].headers(1000)]
    assert [len(header) for header in headers] == [24, 64, 44, 24]
    assert not any(b"sec" in header for header in headers)


def test_frames_beyond_the_queue_are_counted(network: Network, helper: NetnsHelper) -> None:
    with tapped(helper.client, ["up0"], ENDS) as taps:
        send(network, [frame(POD[0], OTHER[0])] * 3000)
        assert counted(taps[0]) == (3000, 0, 0)
        assert 0 < len(list(taps[0].headers(5000))) < 3000
        assert counted(taps[0]) == (3000, 0, 0)


def test_the_agent_cannot_listen_to_more(network: Network, helper: NetnsHelper) -> None:
    for found in helper.client.frame_sockets(["up0"], ENDS)["up0"].values():
        with socket.socket(fileno=found) as made:
            for option in (26, 27):  # SO_ATTACH_FILTER, SO_DETACH_FILTER
                with pytest.raises(PermissionError):
                    made.setsockopt(socket.SOL_SOCKET, option, bytes(16))


def test_a_link_that_goes_is_said(network: Network, helper: NetnsHelper) -> None:
    with tapped(helper.client, ["up0"], ENDS) as taps:
        network.run(network.node, "ip link set up0 down")
        assert list(taps[0].headers(10)) == []
        assert taps[0].error == "Network is down"


def test_what_the_helper_refuses(node: Node, network: Network, helper: NetnsHelper) -> None:
    with pytest.raises(RefusedError, match="No such device"):
        helper.client.frame_sockets(["up0", "none"], ENDS)
    with pytest.raises(RefusedError, match="none"):
        helper.client.frame_sockets(["up0"], ENDS._replace(pods=("none",)))
    for options in ({"before": with_only(of_container("netns"))}, {"node_network": ""}):
        settings = {"node_network": f"/proc/{network.node}/ns/net"} | options
        other = NetnsHelper(node.kubepods, **settings)  # type: ignore[arg-type]
        try:
            with pytest.raises(RefusedError, match=r"not permitted|without --node-network"):
                other.client.frame_sockets(["up0"], ENDS)
        finally:
            other.close()


def test_uplinks_are_found(network: Network, helper: NetnsHelper) -> None:
    """The link with the node's address, and the overlay; not the links of pods, nor the tunnels."""
    for link in ("flannel.1 type vxlan id 1 dstport 0 local 10.0.0.1", "weft-wg0 type bridge", "cni0 type bridge"):
        network.run(network.node, f"ip link add {link}")
        network.run(network.node, f"ip link set {link.split()[0]} up")
    network.run(network.node, "ip address add 10.244.1.0/32 dev flannel.1")
    network.run(network.node, "ip address add 192.168.0.1/24 dev cni0")
    route, generic = helper.client.node_sockets()
    try:
        found = find_uplinks(route, tuple(OWN.endpoints), PODS)
    finally:
        os.close(route)
        os.close(generic)
    own = ("10.0.0.1", "10.244.1.0", "10.244.1.1", "fd00:1::1", "fd01::1")
    assert found == Uplinks(("flannel.1", "up0"), own)
