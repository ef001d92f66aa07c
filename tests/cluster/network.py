"""The cluster's wires: a bridge in the control plane's network namespace, a veth pair to each node, static routes.

Nothing of it is in the host's network namespace.
"""

import subprocess
from collections.abc import Sequence

from layout import CONTROL_PLANE, DUAL, MACHINES, NODE_NETWORK, NODE_NETWORK6, NODES, Machine, Node

BRIDGE = "nodes"


def connect() -> None:
    """Make the namespaces of all machines and connect them."""
    for machine in MACHINES:
        _make_netns(machine)
    _ip(CONTROL_PLANE, _control_plane_links())
    for node in NODES:
        _ip(node, _node_links(node))


def _make_netns(machine: Machine) -> None:
    machine.netns.parent.mkdir(parents=True, exist_ok=True)
    machine.netns.touch()
    forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
    if DUAL:
        forward += "; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
    subprocess.run(["unshare", f"--net={machine.netns}", "sh", "-c", forward], check=True)


def _control_plane_links() -> list[str]:
    commands = [
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        *_addresses(CONTROL_PLANE, BRIDGE),
        f"link set {BRIDGE} up",
    ]
    for node in NODES:
        commands += [
            f"link add {node.name} type veth peer name eth0 netns {node.netns}",
            f"link set {node.name} master {BRIDGE} up",
        ]
    return commands + _pod_routes(NODES)


def _node_links(node: Node) -> list[str]:
    return [
        "link set lo up",
        *_addresses(node, "eth0"),
        "link set eth0 up",
        # There is no way out of the cluster: the control plane answers "unreachable", at once.
        f"route add default via {CONTROL_PLANE.address}",
        *([f"route add default via {CONTROL_PLANE.address6}"] if DUAL else []),
        *_pod_routes([other for other in NODES if other != node]),
    ]


def _addresses(machine: Machine, link: str) -> list[str]:
    commands = [f"address add {machine.address}/{NODE_NETWORK.prefixlen} dev {link}"]
    if DUAL:
        commands.append(f"address add {machine.address6}/{NODE_NETWORK6.prefixlen} dev {link} nodad")
    return commands


def _pod_routes(nodes: Sequence[Node]) -> list[str]:
    pairs = (pair for node in nodes for pair in zip(node.pod_networks, node.addresses, strict=True))
    return [f"route add {pods} via {address}" for pods, address in pairs]


def _ip(machine: Machine, commands: list[str]) -> None:
    lines = "\n".join(commands)
    subprocess.run(["nsenter", f"--net={machine.netns}", "ip", "-batch", "-"], input=lines, text=True, check=True)
