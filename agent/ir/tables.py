"""The kernel's tables as values: keys and rows of each map, and what its numbers mean.

`bpf/abi*.h` hold the same structures for C, `kernel/abi.py` their bytes. Addresses are 16 bytes in network order, IPv4
as v4-mapped (`::ffff:a.b.c.d`), ports and thresholds are plain integers.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from agent.ir.addresses import Addresses, Family

SocketAddress = tuple[bytes, int]
"""An address of 16 bytes and a port."""

ANY_NAMESPACE = 0
ALL_NAMESPACES = 2**64 - 1
"""The key of `weft_connections` for the connections of all namespaces."""
RATE_WINDOW_SECONDS = 2**27 / 1e9
UNSPECIFIED = bytes(16)
OTHER_WAYPOINTS = 8
"""The capacity of `weft_config` for addresses of waypoints other than the active one."""


class Mode(IntEnum):
    """The mode of a pod or a Service. The order matters: the deeper mode of a connection's two ends decides."""

    NONE = 0
    L4 = 1
    L7 = 2

    @property
    def label(self) -> str:
        """As users write it: `none`, `l4`, `l7`."""
        return self.name.lower()


class Protocol(IntEnum):
    """IP protocol numbers that a frontend can have."""

    TCP = 6
    UDP = 17


class Action(IntEnum):
    """The kinds of `FrontendAction`. All zeros, as in a new map, are PASS: the kernel changes nothing."""

    PASS = 0
    FORWARD = 1
    WAYPOINT = 2
    REJECT = 3


REASON_CAPACITY = 64
"""Rows of `weft_counters`: so many reasons are possible without another layout of the tables."""


class Reason(IntEnum):
    """Why the kernel decided as it did: one counter each (`enum weft_reason` in bpf/abi.h)."""

    NOT_ENROLLED = 0
    UNKNOWN_POD = 1
    UNKNOWN_POD_REJECTED = 2
    NO_FRONTEND = 3
    FORWARDED = 4
    TO_WAYPOINT = 5
    PASSED = 6
    NO_BACKEND = 7
    SHARE_REJECTED = 8
    WAYPOINT_DIALLED = 9
    WAYPOINT_LOST = 10
    STALE_ROW = 11
    STATE_FAILED = 12
    REPLY_TRANSLATED = 13
    ESTABLISHED = 14
    CLOSED = 15
    FAILED = 16
    FLOW_LOST = 17
    EVENT_LOST = 18
    CLIENT_REFUSED = 19
    UDP_OVERFLOW = 20
    OVER_BUDGET = 21
    POLICY_REFUSED = 22
    POLICY_FORBIDS = 23
    AUDIT_REFUSED = 24

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        """A reason of a later version that used the same tables: `REASON_20`. It is not a member of the enum."""
        if not isinstance(value, int) or not len(cls) <= value < REASON_CAPACITY:
            return None
        later = int.__new__(cls, value)
        later._name_, later._value_ = f"REASON_{value}", value
        return later


class PodFlag(IntFlag):
    """Flags of a pod's row."""

    NONE = 0
    CONSUMER_ROUTES = 1  # its namespace has consumer routes: look for a frontend row of that namespace first
    AGENT = 2  # it may dial the waypoint, to probe its listeners
    L4_ONLY = 4  # on the host's network, without an address of its own: its connections do not go to the waypoint


class UnknownPodPolicy(IntEnum):
    """What the kernel does with connections of a pod that has no row yet."""

    PASS = 0
    REJECT = 1


@dataclass(frozen=True, slots=True, order=True)
class PodRow:
    """`weft_pods`: cgroup id → this."""

    namespace_id: int
    mode: Mode
    flags: PodFlag = PodFlag.NONE
    workload_id: int = 0


@dataclass(frozen=True, slots=True, order=True)
class FrontendKey:
    """`weft_frontends`: this → index and fingerprint in one u64."""

    namespace_id: int
    address: bytes
    port: int
    protocol: Protocol


KEY_ORDER = attrgetter("namespace_id", "address", "port", "protocol")
"""The order of `FrontendKey`, ten times faster as a sort key."""


@dataclass(frozen=True, slots=True, order=True)
class FrontendAction:
    """`weft_actions`: what the kernel does with connections to a frontend, in 8 bytes that it reads with one load.

    FORWARD: `base` and `count` are its range in `weft_slots`. REJECT: `base` is the `Reason`. Each frontend index owns
    two actions, `2 * index` for clients in mode l4 and `2 * index + 1` for clients in mode l7.
    """

    kind: Action
    base: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, order=True)
class ServiceRow:
    """`weft_services`: frontend index → this; constant while the index lives."""

    service_id: int
    waypoint_port: int = 0
    affinity_seconds: int = 0


class Slot(NamedTuple):
    """`weft_slots`: one column of an alias table (Walker 1977). A tuple, because a node has a hundred thousand.

    An array is sorted by address and port, refusing columns last: the kernel looks backends up in it by halving.
    A draw that lands in this column stays here when its fraction (32 bits) is below `threshold`, otherwise it goes to
    column `alias` of the same array. `threshold` is out of 2**32; a column that keeps everything aliases itself.
    """

    address: bytes
    port: int
    reject: bool
    alias: int
    threshold: int


@dataclass(frozen=True, slots=True, order=True)
class UdpTarget:
    """`weft_udp_choices`: a UDP socket's cookie and a frontend's address and port → `AffinityEntry`."""

    cookie: int
    address: bytes
    port: int


@dataclass(frozen=True, slots=True, order=True)
class AffinityKey:
    """`weft_affinity`: a pod (its cgroup id) as a client of a Service's port → `AffinityEntry`. `family` is 4 or 6."""

    service_id: int
    cgroup_id: int
    port: int
    protocol: Protocol
    family: int


@dataclass(frozen=True, slots=True, order=True)
class AffinityEntry:
    """The backend that was chosen, and for affinity when it was last used: CLOCK_MONOTONIC in ns."""

    address: bytes
    port: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """`weft_config`: what is the same for every decision on this node.

    - `first_level`, `last_level`: the cgroup levels (root is 0) between which pod directories can be.
    - `events`: how many events of a class each CPU may emit in `RATE_WINDOW_SECONDS`; 0: none.
    - `waypoint_connections`: how many connections of clients the waypoint has room for; 0: not known, no limit.
    - `other_waypoints`: waypoints that get no new connections, at most `OTHER_WAYPOINTS`: a standby, and those that
      drain. Pods may not dial them either.
    """

    waypoint4: bytes = UNSPECIFIED
    waypoint6: bytes = UNSPECIFIED
    first_level: int = 1
    last_level: int = 1
    unknown_pod: UnknownPodPolicy = UnknownPodPolicy.PASS
    events: int = 0
    other_waypoints: tuple[bytes, ...] = ()
    waypoint_connections: int = 0

    def with_waypoints(self, active: Addresses, others: Sequence[str], connections: int = 0) -> "Config":
        """The same with these waypoints; of the others as many as fit. Where the number of `connections` is not known
        (0) it stays.
        """
        return replace(
            self,
            waypoint4=address_bytes(active.ipv4) if active.ipv4 else UNSPECIFIED,
            waypoint6=address_bytes(active.ipv6) if active.ipv6 else UNSPECIFIED,
            other_waypoints=tuple(map(address_bytes, others[:OTHER_WAYPOINTS])),
            waypoint_connections=connections or self.waypoint_connections,
        )

    def waypoints(self) -> tuple[Addresses, list[str]]:
        """The inverse of `with_waypoints`."""
        active = (address_text(item) if item != UNSPECIFIED else "" for item in (self.waypoint4, self.waypoint6))
        return Addresses(*active), [address_text(item) for item in self.other_waypoints]


@lru_cache(maxsize=65536)
def address_bytes(text: str) -> bytes:
    """An IP address as the tables hold it: 16 bytes, IPv4 v4-mapped. Raises `ValueError`.

    Cached: a Service's endpoints have one address each for all of its ports, and stay over its changes.
    """
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def packed_family(packed: bytes) -> Family:
    """The family of an address as the tables hold it."""
    return Family.IPV4 if packed.startswith(bytes(10) + b"\xff\xff") else Family.IPV6


@lru_cache(maxsize=65536)
def address_text(packed: bytes) -> str:
    """The inverse of `address_bytes`."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def host_port(address: str, port: int) -> str:
    """An address and a port in the form of URLs: `10.0.0.1:80`, `[fd00::1]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
