"""A protected pod in a network namespace of its own, and clients at other addresses of the same namespace."""

import ctypes
import errno
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.ir.authorization import ANY_PORT, Grant, GrantKey, PeerRow, ServerPlan, policy_set
from agent.ir.tables import Reason, address_bytes
from agent.kernel.maps import open_kernel
from agent.kernel.pod_guards import PodGuards
from agent.kernel.programs import Pins
from agent.model.meta import Key
from support.datapath.guarded_waypoint import CLIENT, CLONE_NEWNET, PORT, UNKNOWN_CLIENT, Waypoint
from support.datapath.guarded_waypoint import WAYPOINT as SERVER
from support.datapath.netns_helper import NetnsHelpers

__all__ = ["CLIENT", "PORT", "SERVER", "UNKNOWN_CLIENT", "ProtectedPod", "Sockets"]
PROTECTED = "connected", "ECONNREFUSED"
OPEN = "connected", "connected"


class Sockets:
    """Makes sockets in the network namespace of a process: each stays in the one that it was made in."""

    def __init__(self, process: int) -> None:
        def enter() -> None:
            with Path(f"/proc/{process}/ns/net").open() as handle:
                assert not ctypes.CDLL(None).setns(handle.fileno(), CLONE_NEWNET)

        self._thread = ThreadPoolExecutor(1, initializer=enter)

    def make(self, family: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        known = {"4": socket.AF_INET, "6": socket.AF_INET6}
        made = self._thread.submit(socket.socket, known[family], kind).result()
        made.settimeout(10)
        return made

    def listen(self, family: str, address: str = "", port: int = PORT) -> socket.socket:
        """A server that accepts without waiting. No address: every address of its family."""
        server = self.make(family)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == "6":
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        server.listen(4096)
        server.setblocking(False)
        return server

    def dial(self, source: str, destination: str, port: int = PORT) -> str:
        """What a client at this address comes to: "connected", or an errno."""
        with self.make("6" if ":" in destination else "4") as client:
            client.bind((source, 0))
            return errno.errorcode.get(client.connect_ex((destination, port)), "connected")

    def close(self) -> None:
        self._thread.shutdown()


@dataclass
class ProtectedPod:
    """Pins and a kubepods cgroup of its own, with a pod whose addresses are those of `SERVER`."""

    pins: Path
    kubepods: Path
    version: str
    drifts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kernel = open_kernel(self.pins)
        self.helpers = NetnsHelpers(self.kubepods)
        self.guards = self.new_guards()
        self.start("pod1")

    def start(self, name: str) -> None:
        """Begin a pod in a cgroup of this name."""
        self.sandbox = Waypoint(self.kubepods / name)
        self.sockets = Sockets(self.sandbox.process.pid)

    def end(self) -> None:
        """End the pod."""
        self.sockets.close()
        self.sandbox.end()

    def close(self) -> None:
        """End all that was begun, and leave the tables empty."""
        self.end()
        self.kernel.servers.delete(self.kernel.servers.load())
        self.kernel.peers.delete(self.kernel.peers.load())
        self.kernel.grants.delete(self.kernel.grants.load())
        self.kernel.close()
        self.helpers.close()
        for link in self.links:
            link.unlink()

    def reopen(self) -> None:
        """Open the tables anew: others are pinned now."""
        self.kernel = open_kernel(self.pins)

    def until_open(self, client: dict[str, str]) -> None:
        """The kernel ends a link some time after its pin."""
        deadline = time.monotonic() + 20
        while self.dial(client) != "connected":
            assert time.monotonic() < deadline

    def until_gone(self, link: Path) -> None:
        """Look until a pin is gone: the kernel removes namespaces one after the other, those of other tests too."""
        deadline = time.monotonic() + 180
        while link in self.links:
            assert time.monotonic() < deadline
            self.look()

    def new_guards(self, node: str = "self", version: str = "") -> PodGuards:
        helper = self.helpers.client(node)
        return PodGuards(self.pins, self.kubepods, helper, version or self.version, self.drifts.append)

    def plan(self, *addresses: str) -> dict[int, ServerPlan]:
        """As the agent knows its pod."""
        return {self.cgroup: ServerPlan(Key("Pod", "shop", "web"), addresses or tuple(SERVER.values()), (), ())}

    @property
    def cgroup(self) -> int:
        return self.sandbox.folder.stat().st_ino

    @property
    def links(self) -> list[Path]:
        return list(Pins(self.pins).pod_guards.glob("*"))

    def look(self) -> str:
        """The state of the pod's guard after a look."""
        self.guards.look(self.plan())
        return self.guards.states[self.cgroup]

    def set_grants(self, *grants: Grant) -> int:
        """Replace what the pod admits, as the agent does it; returns the policy set."""
        found = policy_set(sorted(grants))
        self.kernel.grants.upsert({GrantKey(found, grant.identity, grant.port): True for grant in grants})
        self.kernel.servers.upsert(dict.fromkeys(map(address_bytes, SERVER.values()), found))
        self.kernel.grants.delete([key for key in self.kernel.grants.load() if key.policy_set != found])
        return found

    def know(self, *clients: tuple[dict[str, str], PeerRow]) -> None:
        """Replace the clients whose identities are known."""
        self.kernel.peers.delete(self.kernel.peers.load())
        self.kernel.peers.upsert({address_bytes(at): row for client, row in clients for at in client.values()})

    def dial(self, client: dict[str, str], family: str = "4", port: int = PORT) -> str:
        """What a client at its address of this family comes to."""
        return self.sockets.dial(client[family], SERVER[family], port)

    def outcomes(self) -> tuple[str, str]:
        """What a known client and an unknown one come to: `PROTECTED` where the policies admit the known one."""
        return self.dial(CLIENT), self.dial(UNKNOWN_CLIENT)

    def refusals(self) -> int:
        return self.kernel.counters()[Reason.POLICY_REFUSED]

    def namespace(self) -> int:
        """A descriptor of the pod's network namespace."""
        return os.open(f"/proc/{self.sandbox.process.pid}/ns/net", os.O_RDONLY)


@contextmanager
def pod_that_admits_one(pins: Path, kubepods: Path, version: str) -> Iterator[ProtectedPod]:
    """A pod that listens in both families. It is not protected yet; its policies admit the known client."""
    made = ProtectedPod(pins, kubepods, version)
    try:
        made.know((CLIENT, PeerRow(1, 2)))
        made.set_grants(Grant(1, ANY_PORT))
        with made.sockets.listen("4"), made.sockets.listen("6"):
            yield made
    finally:
        made.close()
