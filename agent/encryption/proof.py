"""What frames between nodes show about encryption: where to look, and who sent what was plain."""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import chain
from typing import Any, NamedTuple

from agent.encryption.values import Member
from agent.model.parameters import MeshEncryption

# Flows that are named; further ones are counted together.
MOST_FLOWS = 64
_IPV4, _IPV6 = struct.Struct("!9xB2x4s4s"), struct.Struct("!6xBx16s16s")
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


class Flow(NamedTuple):
    """Frames with these addresses at a link, sent or received by the node."""

    link: str
    sent: bool
    source: str
    destination: str
    protocol: str


def pod_ranges(encryption: MeshEncryption, members: Iterable[Member]) -> tuple[str, ...]:
    """The addresses of pods, as few ranges as there can be: those that MeshParameters name, and those of all nodes."""
    named = map(ip_network, chain(encryption.pod_cidrs, *(member.cidrs for member in members)))
    networks = list(named)
    ipv4 = collapse_addresses(it for it in networks if isinstance(it, IPv4Network))
    ipv6 = collapse_addresses(it for it in networks if isinstance(it, IPv6Network))
    return tuple(map(str, chain(ipv4, ipv6)))


def read_header(header: bytes) -> tuple[str, str, str] | None:
    """Source, destination and protocol of an IP header; None where it is cut off, or is none."""
    kind = {4: _IPV4, 6: _IPV6}.get(header[0] >> 4) if header else None
    if kind is None or len(header) < kind.size:
        return None
    number, source, destination = kind.unpack_from(header)
    return str(ip_address(source)), str(ip_address(destination)), _PROTOCOLS.get(number, str(number))


class Flows:
    """The flows of the plain frames that were looked at, and how many of their frames."""

    def __init__(self) -> None:
        self.frames: Counter[Flow] = Counter()
        self.others = 0
        """Frames of flows beyond the first `MOST_FLOWS`."""

    def note(self, link: str, sent: bool, header: bytes) -> None:
        """Take one more header."""
        if (found := read_header(header)) is None:
            return
        flow = Flow(link, sent, *found)
        if flow in self.frames or len(self.frames) < MOST_FLOWS:
            self.frames[flow] += 1
        else:
            self.others += 1

    def document(self, names: "Names") -> list[dict[str, Any]]:
        """The flows, those with most frames first."""
        return [
            {
                "link": flow.link,
                "direction": "sent" if flow.sent else "received",
                "source": names.end(flow.source),
                "destination": names.end(flow.destination),
                "protocol": flow.protocol,
                "framesSeen": count,
            }
            for flow, count in self.frames.most_common()
        ]


class Names:
    """Who has an address: a pod of this node, by `pods`, or a pod of another node, of which the node is known."""

    def __init__(self, pods: Mapping[str, str], members: Sequence[Member]) -> None:
        self._pods = pods
        self._ranges = [(ip_network(cidr), member.name) for member in members for cidr in member.cidrs]

    def end(self, address: str) -> dict[str, str]:
        """An address, and the names that are known."""
        parsed = ip_address(address)
        node = next((name for network, name in self._ranges if parsed in network), "")
        return {"address": address, "pod": self._pods.get(address, ""), "node": node}
