"""Debian's WireGuard between two nodes: who taps the link between them sees packets, and nothing of what is in them."""

from node_fixtures import Tapped
from remote_node import Node

PORT = 51820
SECRET = b"weft-plaintext!!"  # as much as ping repeats
UDP_PORT = PORT.to_bytes(2, "big")


def tunnel_address(node: Node) -> str:
    """A node's address in the tunnel."""
    return f"203.0.113.{node.number}"


def make_tunnel(node: Node) -> str:
    """Its device with a key of its own, without peers; returns the public key."""
    return node.shell(f"""
        ip link add wg0 type wireguard
        ip address add {tunnel_address(node)}/24 dev wg0
        wg genkey > /run/wireguard.key
        wg set wg0 listen-port {PORT} private-key /run/wireguard.key
        ip link set wg0 up
        wg pubkey < /run/wireguard.key
    """).strip()


def ping(node: Node, address: str) -> None:
    """Three packets with the secret are answered. Raises `NodeError`."""
    node.run("ping", "-c", "3", "-W", "20", "-p", SECRET.hex(), address)


def test_a_tap_sees_what_no_tunnel_hides(nodes: list[Node], tapped: Tapped) -> None:
    first, second = nodes
    with tapped() as frames:
        ping(first, second.address)
    assert any(SECRET in frame for frame in frames)


def test_a_tap_sees_nothing_of_what_is_in_the_tunnel(nodes: list[Node], tapped: Tapped) -> None:
    keys = {node: make_tunnel(node) for node in nodes}
    for node in nodes:
        for peer in nodes:
            if peer != node:
                node.run(
                    *("wg", "set", "wg0", "peer", keys[peer], "allowed-ips", f"{tunnel_address(peer)}/32"),
                    *("endpoint", f"{peer.address}:{PORT}"),
                )
    first, second = nodes
    with tapped() as frames:
        ping(first, tunnel_address(second))
    assert any(UDP_PORT + UDP_PORT in frame for frame in frames)
    assert not any(SECRET in frame for frame in frames)
