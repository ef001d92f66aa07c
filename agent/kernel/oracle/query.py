"""What a decision is about, and the client that asks (bpf/client.h)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.ir.tables import UNSPECIFIED, Config, Mode, PodRow, Protocol, Slot
from agent.kernel import abi

Tables = Mapping[str, Mapping[bytes, bytes]]

IPV4_PREFIX = bytes(10) + b"\xff\xff"
# The draws of 32 random bits.
WHOLE = 1 << 32


@dataclass(frozen=True, slots=True)
class SocketContext:
    """The inputs besides the destination: the cookie of a UDP socket (0: none, or another protocol), the time, and the
    row of the socket in `weft_udp_sockets` (empty: none).

    The time is CLOCK_MONOTONIC in ns, as `bpf_ktime_get_ns` returns it.
    """

    cookie: int = 0
    now: int = 0
    pairs: bytes = b""


NO_SOCKET = SocketContext()


@dataclass(frozen=True, slots=True)
class Query:
    """What a decision is about: a destination, the socket, and the tables."""

    tables: Tables
    config: Config
    address: bytes
    port: int
    protocol: Protocol
    socket: SocketContext

    @property
    def is_ipv4(self) -> bool:
        """Whether the destination is an IPv4 address, mapped into IPv6."""
        return self.address.startswith(IPV4_PREFIX)

    def is_waypoint(self, address: bytes) -> bool:
        """Whether an address is that of a waypoint of this node."""
        config = self.config
        return address != UNSPECIFIED and address in (config.waypoint4, config.waypoint6, *config.other_waypoints)


@dataclass(frozen=True, slots=True)
class Client:
    """The pod that asks, by the cgroup that was found."""

    cgroup_id: int
    pod: PodRow

    @property
    def mode(self) -> Mode:
        """The pod's mode."""
        return self.pod.mode


def find_client(tables: Tables, cgroup_ids: Sequence[int]) -> Client | None:
    """The first of these cgroups, outermost first, that is a pod's; None when none is."""
    for cgroup_id in cgroup_ids:
        key = abi.U64.pack(cgroup_id)
        row = tables["weft_pods"].get(key)
        if row is not None and row.endswith(key):
            return Client(cgroup_id, abi.decode_pod(row))
    return None


def read_slot(tables: Tables, number: int) -> Slot:
    """One slot of the slot array; all zero where the array has no row."""
    return abi.decode_slot(tables["weft_slots"].get(abi.U32.pack(number % WHOLE), bytes(abi.SLOT.size)))
