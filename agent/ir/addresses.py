"""IP families, and the addresses that a pod has in them: at most one of each (PodIPs of core/v1)."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache


class Family(IntEnum):
    """An IP version."""

    IPV4 = 4
    IPV6 = 6


def family_of(address: str) -> Family:
    """The family of an address in text form."""
    return Family.IPV6 if ":" in address else Family.IPV4


@lru_cache(maxsize=65536)
def canonical(address: str) -> str:
    """An address as Python writes it: slices and Envoy may write it differently. Raises `ValueError`.

    Cached: a Service's endpoints have one address each for all of its ports, and stay over its changes.
    """
    return str(ipaddress.ip_address(address))


@dataclass(frozen=True, slots=True, order=True)
class Addresses:
    """The addresses of one waypoint; empty where it has none of that family. It iterates over those that it has."""

    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def of(cls, addresses: Iterable[str]) -> "Addresses":
        """From addresses in any order, in canonical form. Raises `ValueError` where one is no IP address,
        or where two are of one family.
        """
        found: dict[Family, str] = {}
        for text in addresses:
            address = canonical(text)
            if found.setdefault(family_of(address), address) != address:
                raise ValueError(f"{address} is a second IPv{family_of(address)} address")
        return cls(found.get(Family.IPV4, ""), found.get(Family.IPV6, ""))

    @classmethod
    def parse(cls, text: str) -> "Addresses":
        """From addresses with commas between them, as in the downward API's `status.podIPs`. Raises `ValueError`."""
        return cls.of(filter(None, text.split(",")))

    def __iter__(self) -> Iterator[str]:
        return iter([address for address in (self.ipv4, self.ipv6) if address])

    def __bool__(self) -> bool:
        return bool(self.ipv4 or self.ipv6)

    def __str__(self) -> str:
        return ",".join(self)

    @property
    def families(self) -> list[Family]:
        """The families of which it has an address."""
        return [family_of(address) for address in self]

    def overlaps(self, other: "Addresses") -> bool:
        """Whether both have an address in common."""
        return not set(self).isdisjoint(other)
