"""Bridges that join machines, in a network namespace of their own: it ends with its holder, that with the runner."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

# The nodes' traffic is on the first, what tests ask of a node on the second. A guest knows them as eth0 and eth1.
BRIDGES = ("nodes", "control")
CONTROL_HOST, CONTROL_PORT = "192.0.2.1", 7000
_HOLD = "echo held; exec sleep infinity"


def control_address(node: int) -> str:
    """A node's address on the control bridge."""
    return f"192.0.2.{10 + node}"


def agent_address(node: int) -> str:
    """The address on the control bridge from which a node's agent asks an API server."""
    return f"192.0.2.{100 + node}"


def taps(node: int) -> tuple[str, ...]:
    """A node's ends of the bridges."""
    return tuple(f"{bridge}{node}" for bridge in BRIDGES)


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """A network namespace, by a process that is in it."""

    process: int

    def within(self, command: Sequence[str]) -> list[str]:
        """The command that runs another in the namespace, under the same process id."""
        return ["nsenter", f"--net=/proc/{self.process}/ns/net", "--", *command]

    def _ip(self, words: str) -> None:
        subprocess.run(self.within(["ip", *words.split()]), check=True)

    def make(self, nodes: Sequence[int]) -> None:
        """The bridges, each with a tap for each node; who listens at one sees all that it forwards. Raises
        `CalledProcessError`.
        """
        self._ip("link set lo up")
        for bridge in BRIDGES:
            self._ip(f"link add name {bridge} type bridge")
            self._ip(f"link set {bridge} up promisc on")
        self._ip(f"address add {CONTROL_HOST}/24 dev control")
        for node in nodes:
            for bridge, tap in zip(BRIDGES, taps(node), strict=True):
                self._ip(f"tuntap add dev {tap} mode tap")
                self._ip(f"link set {tap} master {bridge} up")


@contextmanager
def private_network(nodes: Sequence[int]) -> Iterator[PrivateNetwork]:
    """A namespace with the bridges and taps of these nodes. Raises `CalledProcessError`."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", _HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as holder:
        try:
            assert holder.stdout
            holder.stdout.readline()
            network = PrivateNetwork(holder.pid)
            network.make(nodes)
            yield network
        finally:
            holder.kill()
