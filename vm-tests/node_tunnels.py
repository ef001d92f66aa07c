"""Nodes with an agent that encrypts: each guest is one with one pod. The tests carry the WeftNodes between them."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from socket import inet_ntoa
from typing import Any

import pod_programs
from node_lab import until
from remote_node import PYTHON, Node, NodeError

from agent.encryption.values import PORTS
from agent.settings import DEFAULT_STATE, NODES, STATUS_SOCKET

# What `ask` finds where packets arrive.
ANSWERED = dict.fromkeys(
    ("SOCK_STREAM AF_INET", "SOCK_DGRAM AF_INET", "SOCK_STREAM AF_INET6", "SOCK_DGRAM AF_INET6"), "weft-plaintext"
)
POD_CIDRS = ("10.244.0.0/16", "fd00:10:244::/48")
_PREFIXES = (bytes((10, 244)), bytes((0xFD, 0, 0, 0x10, 2, 0x44)))
_MANIFESTS = Path("/run/manifests")
_REPORTS = DEFAULT_STATE / NODES
_PAUSE_SECONDS = 0.3


def pod_addresses(node: Node) -> tuple[str, str]:
    """The addresses of the node's pod."""
    return f"10.244.{node.number}.10", f"fd00:10:244:{node.number}::10"


def is_plain(frame: bytes) -> bool:
    """Whether an Ethernet frame is a packet between pods."""
    starts = {b"\x08\x00": (26, 30), b"\x86\xdd": (22, 38)}.get(frame[12:14], ())
    return bool(starts) and all(frame[start:].startswith(_PREFIXES) for start in starts)


def tunnels(frames: Iterable[bytes]) -> set[tuple[str, str]]:
    """Between which nodes there were frames of tunnels: addresses of senders and receivers."""
    return {(inet_ntoa(frame[26:30]), inet_ntoa(frame[30:34])) for frame in frames if is_tunnel(frame)}


def is_tunnel(frame: bytes) -> bool:
    """Whether it is UDP between the ports of tunnels."""
    ports = [port.to_bytes(2, "big") for port in PORTS]
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[34:36] in ports and frame[36:38] in ports


def furnish(node: Node, nodes: Sequence[Node]) -> None:
    """Forwarding, plain routes to the pods of the others, and manifests. New links have rp_filter."""
    node.shell(f"""
        echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \\
            /proc/sys/net/ipv4/conf/default/rp_filter > /dev/null
        ip -6 address add 2001:db8::{node.number}/64 dev eth0 nodad
        mkdir -p /sys/fs/cgroup/kubepods
    """)
    for other in nodes:
        if other != node:
            node.shell(f"""
                ip route add 10.244.{other.number}.0/24 via {other.address}
                ip route add fd00:10:244:{other.number}::/64 via 2001:db8::{other.number}
            """)
    node.write(_MANIFESTS / "nodes.yaml", "\n---\n".join(json.dumps(_node(other)) for other in nodes))


def add_pod(node: Node) -> None:
    """A pod with an echo server."""
    node.shell(f"""
        ip netns add pod
        ip link add veth0 type veth peer name eth0 netns pod
        ip address add 10.244.{node.number}.1/24 dev veth0
        ip address add fd00:10:244:{node.number}::1/64 dev veth0 nodad
        ip link set veth0 up
        ip -netns pod link set lo up
        ip -netns pod link set eth0 up
        ip -netns pod address add {pod_addresses(node)[0]}/24 dev eth0
        ip -netns pod address add {pod_addresses(node)[1]}/64 dev eth0 nodad
        ip -netns pod route add default via 10.244.{node.number}.1
        ip -netns pod route add default via fd00:10:244:{node.number}::1
    """)
    node.write(Path("/run/echo.py"), pod_programs.ECHO)
    node.shell(f"ip netns exec pod {PYTHON} -S /run/echo.py < /dev/null > /run/echo.log 2>&1 &")


def _node(node: Node) -> dict[str, Any]:
    cidrs = [f"10.244.{node.number}.0/24", f"fd00:10:244:{node.number}::/64"]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name},
        "spec": {"podCIDRs": cidrs},
        "status": {"addresses": [{"type": "InternalIP", "address": node.address}]},
    }


def set_mode(node: Node, mode: str, generation: int) -> None:
    """Change the MeshParameters of a node."""
    encryption = {"mode": mode, "podCIDRs": POD_CIDRS, "keyGeneration": generation}
    document = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "MeshParameters",
        "metadata": {"name": "default"},
        "spec": {"encryption": encryption},
    }
    _replace(node, _MANIFESTS / "mesh.yaml", json.dumps(document))


def _replace(node: Node, path: Path, text: str) -> None:
    node.write(path.with_name(f".{path.name}"), text)
    node.run("mv", str(path.with_name(f".{path.name}")), str(path))


def start_agent(node: Node) -> None:
    """Start the agent, and wait until it answers."""
    options = f"--manifests {_MANIFESTS} --kubepods /sys/fs/cgroup/kubepods --node {node.name} --encryption"
    node.shell(f"""
        {PYTHON} -m agent agent {options} < /dev/null > /run/agent.log 2>&1 &
        echo $! > /run/agent.pid
    """)
    wait = f"curl -sS --retry 200 --retry-delay 2 --retry-all-errors --unix-socket {_socket()} http://agent/status"
    node.shell(f"{wait} > /dev/null || {{ cat /run/agent.log >&2; exit 1; }}")


@contextmanager
def agents(nodes: Sequence[Node], mode: str) -> Iterator[None]:
    """An agent on each of these nodes, in this mode from its start, with a pod, and the reports of the others."""
    for node in nodes:
        furnish(node, nodes)
        add_pod(node)
        set_mode(node, mode, 1)
    with reports_carried(nodes), ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(start_agent, nodes))
        yield


def reboot(node: Node, nodes: Sequence[Node]) -> None:
    """Reset a node, and give it what it has after its boot without the agent: also what the others have reported, as an
    API server would.
    """
    node.reboot()
    furnish(node, nodes)
    for other in nodes:
        if other != node:
            node.write(_REPORTS / f"{other.name}.json", other.run("cat", str(_REPORTS / f"{other.name}.json")))


def kill_agent(node: Node) -> None:
    """End the agent by SIGKILL; its helper ends with it."""
    node.shell("kill -9 $(cat /run/agent.pid)")


def _socket() -> Path:
    return DEFAULT_STATE / STATUS_SOCKET


def encryption(node: Node) -> Any:
    """What `weft status` shows of encryption."""
    return json.loads(node.run("curl", "-sS", "--unix-socket", str(_socket()), "http://agent/status"))["encryption"]


def proofs(nodes: Sequence[Node], meanwhile: Callable[[], None], seconds: int = 30) -> dict[str, Any]:
    """`weft status --prove-encryption` on the nodes: what each found, by name, with its exit code. `meanwhile` is
    called until all have ended: nobody knows when an agent in a slow guest begins to count.
    """
    command = f"{PYTHON} -m agent status --prove-encryption={seconds} -o json > /run/proof; echo $? >> /run/proof"
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(len(nodes)) as pool:
        running = {node.name: pool.submit(node.shell, f"set +e; {command}; cat /run/proof") for node in nodes}
        while not all(one.done() for one in running.values()):
            meanwhile()
    for name, one in running.items():
        text, _, code = one.result().strip().rpartition("\n")
        found[name] = json.loads(text or "{}") | {"exit": int(code)}
    return found


def switch(nodes: Sequence[Node], mode: str, generation: int = 1) -> None:
    """Set the mode on all nodes, and wait until each sends to all others as it says."""
    for node in nodes:
        set_mode(node, mode, generation)
    expected = [("encrypted", generation)] * (len(nodes) - 1) if mode != "Off" else []
    for node in nodes:
        until(partial(encryption, node), lambda found: _settled(found, mode, expected))


def _settled(found: dict[str, Any], mode: str, expected: list[tuple[str, int]]) -> bool:
    if found["mode"] != mode or found["error"] or found["unsupported"]:
        return False
    return [(other["packets"], other["keyGeneration"]) for other in found["nodes"]] == expected


@contextmanager
def streams(node: Node, other: Node, count: int) -> Iterator[list[int]]:
    """TCP connections from the pod of a node to that of another meanwhile, and numbered messages in each; then how many
    messages were answered, and how many connections failed.
    """
    with _running(node, pod_programs.STREAMS, pod_addresses(other)[0], "/run/enough-streams", str(count)) as found:
        yield found


def ask(node: Node, other: Node, seconds: float = 20) -> dict[str, str]:
    """What the pod of a node gets from that of another: over TCP and UDP, by IPv4 and IPv6."""
    command = ("ip", "netns", "exec", "pod", PYTHON, "-S", "-c", pod_programs.ASK, str(seconds), *pod_addresses(other))
    found: dict[str, str] = json.loads(node.run(*command))
    return found


@contextmanager
def datagrams(node: Node, other: Node, least: int = 0) -> Iterator[list[int]]:
    """Numbered datagrams from the pod of a node to that of another meanwhile, at least `least`; then how many were sent
    and how many lost.
    """
    with _running(node, pod_programs.COUNT, pod_addresses(other)[0], "/run/enough", str(least)) as found:
        yield found


@contextmanager
def _running(node: Node, program: str, address: str, end: str, *more: str) -> Iterator[list[int]]:
    """A program in the node's pod, until the file `end` is there; then what it prints."""
    found: list[int] = []
    node.run("rm", "-f", end)
    command = ("ip", "netns", "exec", "pod", PYTHON, "-S", "-c", program, address, end, *more)
    sender = threading.Thread(target=lambda: found.extend(json.loads(node.run(*command))))
    sender.start()
    try:
        yield found
    finally:
        node.run("touch", end)
        sender.join()


@contextmanager
def reports_carried(nodes: Sequence[Node]) -> Iterator[None]:
    """Each node's WeftNode is among the files of all others, as soon as it changes."""
    ended = threading.Event()

    def carry() -> None:
        seen: dict[Node, str] = {}
        while not ended.wait(_PAUSE_SECONDS):
            for node in nodes:
                with suppress(NodeError, OSError, json.JSONDecodeError):
                    file = _REPORTS / f"{node.name}.json"
                    if seen.get(node) != (text := node.run("cat", str(file))):
                        for other in nodes:
                            if other != node:
                                _replace(other, file, text)
                        seen[node] = text

    carrier = threading.Thread(target=carry)
    carrier.start()
    try:
        yield
    finally:
        ended.set()
        carrier.join()
