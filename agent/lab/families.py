"""A lab's IP families, and the addresses of each: of the node, its pods and its Services."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from agent.ir.addresses import Family, family_of
from agent.lab.paths import LabPaths

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class IPFamily(StrEnum):
    """What `weft lab up --ip-family` takes, as kind's `ipFamily`. In dual stack IPv4 is first."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"


@dataclass(frozen=True)
class Ranges:
    """The addresses of one family. `gateway` is the node as its pods see it: it is on no link but theirs."""

    family: Family
    node: str
    gateway: str
    pods: Network
    services: Network

    @property
    def prefix(self) -> int:
        """Bits of a single address."""
        return self.pods.max_prefixlen

    @cached_property
    def dns(self) -> str:
        """The DNS Service's address."""
        return str(self.services[10])

    @property
    def name(self) -> str:
        """As Services and EndpointSlices have it: `IPv4`, `IPv6`."""
        return f"IPv{self.family}"


IPV4 = Ranges(
    Family.IPV4,
    "10.99.0.1",
    "169.254.1.1",
    ipaddress.ip_network("10.244.0.0/16"),
    ipaddress.ip_network("10.96.0.0/16"),
)
IPV6 = Ranges(
    Family.IPV6,
    "fd00:10:99::1",
    "fe80::1",
    ipaddress.ip_network("fd00:10:244::/64"),
    ipaddress.ip_network("fd00:10:96::/112"),
)
RANGES = {IPFamily.IPV4: (IPV4,), IPFamily.IPV6: (IPV6,), IPFamily.DUAL: (IPV4, IPV6)}


def save(paths: LabPaths, family: IPFamily) -> None:
    """Save the lab's families for its other processes. Raises `OSError`."""
    paths.ip_family.write_text(family)


def ranges_of(paths: LabPaths) -> tuple[Ranges, ...]:
    """The addresses of a lab's families, its first family first. Raises `OSError`."""
    return RANGES[IPFamily(paths.ip_family.read_text())]


def of_family(addresses: list[str], ranges: Ranges) -> str:
    """The first of these addresses that is of a family; empty where none is."""
    return next((address for address in addresses if family_of(address) is ranges.family), "")
