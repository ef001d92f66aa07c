"""The Envoys, listeners and frontends of the node that `test_waypoint_life` draws histories of."""

from dataclasses import dataclass, field

from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.ir.plan import FrontendName
from agent.ir.resources import ResourceName
from agent.ir.tables import Protocol, Slot, address_bytes

PODS = [
    Addresses("10.1.1.1", "fd00:1::1"),
    Addresses("10.1.1.2", "fd00:1::2"),
    Addresses("10.1.1.3"),
    Addresses(ipv6="fd00:1::4"),
]
LISTENERS = [f"app/{letter}:80" for letter in "abc"]
NAMES = {
    (listener, family): FrontendName(f"{prefix}{at}", 80, Protocol.TCP)
    for at, listener in enumerate(LISTENERS, 1)
    for family, prefix in ((Family.IPV4, "10.96.0."), (Family.IPV6, "fd00:96::"))
}
SLOTS = (Slot(address_bytes("10.244.0.1"), 8080, False, 0, 2**32),)


def at(addresses: Addresses, family: Family) -> str:
    """The address of a family, empty where there is none."""
    return addresses.ipv4 if family is Family.IPV4 else addresses.ipv6


@dataclass
class Process:
    """One Envoy: whether its stream is there, what it acknowledged on it, what it refuses, and its bound ports."""

    envoy: Envoy
    connected: bool = True
    acknowledged: frozenset[ResourceName] = frozenset()
    refuses: set[str] = field(default_factory=set)
    bound: dict[int, str] = field(default_factory=dict)
