"""What the plan is computed from, and the plan."""

from dataclasses import dataclass, field
from typing import NamedTuple

from agent.ir.addresses import Addresses, Family
from agent.model.weft_node import Tunnels

# Of the rules, routes and devices of weft. The rules come behind `local` (0), and before those of CNIs.
PRIORITY = 110
TABLE = 5187
PROTOCOL = 117
PORTS = 51871, 51872
DEVICES = "weft-wg0", "weft-wg1"


def device_of(generation: int) -> str:
    """The device of a generation. Only neighbouring generations exist together."""
    return DEVICES[generation % 2]


def port_of(generation: int) -> int:
    """Its UDP port."""
    return PORTS[generation % 2]


class Member(NamedTuple):
    """A node: its name, its addresses, the ranges of its pods' addresses, and what it reports."""

    name: str
    endpoints: Addresses
    cidrs: tuple[str, ...]
    tunnels: Tunnels = Tunnels()


class Peer(NamedTuple):
    """A peer of a device: public key, address and port, and the ranges of the addresses behind it."""

    public_key: str
    address: str
    port: int
    allowed: frozenset[str]


class PeerState(NamedTuple):
    """A peer in the kernel. `handshake` is the time of the latest one, in seconds since 1970, 0 before the first."""

    peer: Peer
    handshake: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Device:
    """A WireGuard device in the kernel; `mtu` as it is, `peers` by public key."""

    generation: int
    public_key: str
    mtu: int
    peers: dict[str, PeerState] = field(default_factory=dict)


class Route(NamedTuple):
    """A route to a range, into a device; without one, packets are refused."""

    to: str
    device: str = ""


class Rule(NamedTuple):
    """A routing rule. Packets that match jump to the rule with priority `goto`, look into `table`, or are refused; one
    that none matches, which a jump leads to, has none of all.
    """

    family: Family
    priority: int
    source: str = ""
    destination: str = ""
    interface: str = ""
    goto: int = 0
    table: int = 0
    refuse: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What of weft is in the kernel. `uplink` is the MTU of the link with the node's address, 0 where none has it."""

    devices: dict[int, Device] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    uplink: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be there: the peers of each generation's device, by public key, routes and rules."""

    devices: dict[int, dict[str, Peer]] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    mtu: int = 0
