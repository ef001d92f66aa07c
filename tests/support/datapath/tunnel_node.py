"""A node with a pod, and another node, in network namespaces: for tests of routes between them."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from agent.encryption.values import Member
from agent.ir.addresses import Addresses
from agent.model.weft_node import TunnelKey, Tunnels

POD, GATEWAY, OTHER = ("10.244.1.10", "fd00:1::10"), ("10.244.1.1", "fd00:1::1"), ("10.244.2.10", "fd00:2::10")
OWN = Member("n1", Addresses("10.0.0.1", "fd01::1"), ("10.244.1.0/24", "fd00:1::/64"))
PEER = Member(
    "n2",
    Addresses("10.0.0.2", "fd01::2"),
    ("10.244.2.0/24", "fd00:2::/64"),
    Tunnels((TunnelKey(1, "n2-1", 51872), TunnelKey(2, "n2-2", 51871))),
)
LISTEN = """
import socket
server = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
print("listens", flush=True)
while True:
    server.accept()
"""
CONNECT = """
import socket, sys
address, source = sys.argv[1:]
try:
    socket.create_connection((address, 7777), 1, (source, 0) if source else None)
    print("connected", end="")
except OSError as error:
    print(error, end="")
"""


@dataclass
class Network:
    """A node, a pod of it, and another node that has the address of its pod itself."""

    node: int
    pod: int
    other: int

    def run(self, where: int, command: str, check: bool = True) -> str:
        within = ["nsenter", f"--net=/proc/{where}/ns/net", "--", *shlex.split(command)]
        return subprocess.run(within, text=True, capture_output=True, check=check).stdout

    def reaches(self, where: int, addresses: tuple[str, ...], source: str = "") -> list[bool]:
        """Whether connections are established, from an address of that network namespace."""
        answers = (self.run(where, shlex.join([sys.executable, "-c", CONNECT, it, source])) for it in addresses)
        return [answer == "connected" for answer in answers]

    def all(self) -> str:
        """Links, rules and routes of the node."""
        commands = ("ip -o link", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all")
        return "".join(self.run(self.node, command) for command in commands)

    def way(self) -> set[str]:
        """The device or refusal that a packet from the pod to the other node's meets."""
        found = set()
        for pod, other in zip(POD, OTHER, strict=True):
            words = self.run(self.node, f"ip route get {other} from {pod} iif veth0", check=False).split()
            found.add(words[words.index("dev") + 1] if "dev" in words else "refused")
        return found


@contextmanager
def tunnel_node() -> Iterator[Network]:
    """The three network namespaces, with servers; they end with this process."""
    with ExitStack() as stack:
        held = []
        for _ in range(3):
            command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo held; exec sleep inf"]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout
            process.stdout.readline()
            held.append(process.pid)
        made = Network(*held)
        _furnish(made)
        for where in held:
            within = ["nsenter", f"--net=/proc/{where}/ns/net", "--", sys.executable, "-c", LISTEN]
            server = stack.enter_context(subprocess.Popen(within, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout
            server.stdout.readline()
        yield made


def _furnish(network: Network) -> None:
    node, pod, other = network.node, network.pod, network.other
    for where in (node, pod, other):
        network.run(
            where,
            "sh -c 'echo 0 | tee /proc/sys/net/ipv6/conf/all/accept_dad /proc/sys/net/ipv6/conf/default/accept_dad'",
        )
    network.run(node, "sh -c 'echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding'")
    network.run(node, "sh -c 'echo 1 > /proc/sys/net/ipv4/conf/default/rp_filter'")
    network.run(node, f"ip link add veth0 type veth peer name eth0 netns {pod}")
    network.run(node, f"ip link add up0 type veth peer name eth0 netns {other}")
    for where, device, addresses in (
        (node, "veth0", (f"{GATEWAY[0]}/24", f"{GATEWAY[1]}/64")),
        (node, "up0", ("10.0.0.1/24", "fd01::1/64")),
        (pod, "eth0", (f"{POD[0]}/24", f"{POD[1]}/64")),
        (other, "eth0", ("10.0.0.2/24", "fd01::2/64")),
        (other, "lo", (f"{OTHER[0]}/32", f"{OTHER[1]}/128")),
    ):
        network.run(where, f"ip link set {device} up")
        for address in addresses:
            network.run(where, f"ip address add {address} dev {device} {'nodad' if ':' in address else ''}")
    for gateway in GATEWAY:
        network.run(pod, f"ip route add default via {gateway}")
    for where, to, via in ((node, PEER.cidrs, ("10.0.0.2", "fd01::2")), (other, OWN.cidrs, ("10.0.0.1", "fd01::1"))):
        for cidr, gateway in zip(to, via, strict=True):
            network.run(where, f"ip route add {cidr} via {gateway}")
