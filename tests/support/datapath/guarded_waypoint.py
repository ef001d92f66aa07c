"""A waypoint in a network namespace of its own, and guards that find it through a real cgroup."""

import ctypes
import errno
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from agent.ir.tables import Reason, address_bytes
from agent.kernel.guards import Guards
from agent.kernel.maps import open_kernel
from agent.kernel.programs import Pins
from agent.lab import cgroups
from support.datapath.netns_helper import NetnsHelpers

WAYPOINT = {"4": "10.9.0.7", "6": "fd00:9::7"}
CLIENT = {"4": "10.9.0.8", "6": "fd00:9::8"}
UNKNOWN_CLIENT = {"4": "10.9.0.9", "6": "fd00:9::9"}
PORT = 20001
CLONE_NEWNET = 0x40000000
SANDBOX = """
echo $$ > "$1/cgroup.procs"; shift
exec unshare --net sh -c '
    ip link set lo up
    for address; do ip address add "$address" dev lo $(case "$address" in *:*) echo nodad; esac); done
    # The kernel adds the local routes of IPv6 addresses a moment later, behind those of their prefixes.
    for address; do until ip route get "$address" 2>&1 | grep -q ^local; do :; done; done
    echo ready; exec sleep 600' sh "$@"
"""


@dataclass
class Waypoint:
    """A pod whose network namespace has the addresses of a waypoint and of its clients."""

    folder: Path
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        addresses = (a for both in (WAYPOINT, CLIENT, UNKNOWN_CLIENT) for a in both.values())
        command = ["sh", "-c", SANDBOX, "sh", str(self.folder), *addresses]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def pods(self, *more: str) -> dict[int, frozenset[str]]:
        """As the agent knows its pod."""
        return {self.folder.stat().st_ino: frozenset([WAYPOINT["4"], *more])}

    def socket(self, family: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket of the namespace: it stays in the one that it was made in."""

        def make() -> socket.socket:
            with Path(f"/proc/{self.process.pid}/ns/net").open() as handle:
                assert not ctypes.CDLL(None).setns(handle.fileno(), CLONE_NEWNET)
            return socket.socket(socket.AF_INET if family == "4" else socket.AF_INET6, kind)

        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(make).result()
        made.settimeout(10)
        return made

    def dial(self, source: dict[str, str], family: str = "4") -> str:
        """What a client at this address comes to."""
        with self.socket(family) as client:
            client.bind((source[family], 0))
            return errno.errorcode.get(client.connect_ex((WAYPOINT[family], PORT)), "connected")

    def end(self) -> None:
        cgroups.kill(self.folder)
        self.process.communicate()
        cgroups.remove(self.folder)


@dataclass
class GuardSetup:
    """Pins and a kubepods cgroup of its own, with a waypoint that listens."""

    pins: Path
    kubepods: Path
    version: str
    waypoint: Waypoint
    drifts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kernel = open_kernel(self.pins)
        self.helpers = NetnsHelpers(self.kubepods)
        self.guards = self.new_guards()

    def new_guards(self, node: str = "self") -> Guards:
        """Guards of another agent. `node` is the /proc folder name of a process on the network of the node."""
        made = Guards(self.pins, self.kubepods, self.helpers.client(node), dict, self.drifts.append)
        made.permit(self.version)
        return made

    def look(self, address: str = WAYPOINT["4"]) -> str:
        self.guards.look({address: self.waypoint.pods()})
        return self.guards.states[address]

    def until_gone(self, pin: int, address: str = WAYPOINT["4"]) -> None:
        """Look until a pin is gone: the kernel removes namespaces one after the other, those of other tests too."""
        deadline = time.monotonic() + 600
        while self.look(address) and pin in self.pin_files():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def until_open(self, source: dict[str, str]) -> None:
        """The kernel ends a link some time after its pin."""
        deadline = time.monotonic() + 60
        while self.waypoint.dial(source) != "connected":
            assert time.monotonic() < deadline

    def pinned(self) -> list[str]:
        """The names of the pins: the inode numbers of their namespaces."""
        return [path.name for path in Pins(self.pins).guards.glob("*")]

    def pin_files(self) -> set[int]:
        """The inode numbers of the pins themselves. The kernel gives the number of a namespace that is gone to the next
        one, whose pin then has the same name.
        """
        return {path.stat().st_ino for path in Pins(self.pins).guards.glob("*")}

    def allow_clients(self, *addresses: str) -> None:
        self.kernel.clients.delete(self.kernel.clients.load())
        self.kernel.clients.upsert(dict.fromkeys(map(address_bytes, addresses), True))

    def refusals(self) -> int:
        return self.kernel.counters()[Reason.CLIENT_REFUSED]

    def close(self) -> None:
        """End all that was begun, and leave no client allowed and no guard."""
        self.helpers.close()
        self.allow_clients()
        self.kernel.close()
        self.waypoint.end()
        for link in Pins(self.pins).guards.glob("*"):
            link.unlink()
