"""What translation depends on beside the store."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

# gVisor has a network stack of its own in the sandbox, Kata Containers a kernel of its own in a virtual machine.
UNSUPPORTED_RUNTIMES = ("runsc", "gvisor", "kata*")
# Clients with pools open connections before they have a request: not less.
FIRST_BYTE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans are sent, as the waypoint reaches it, and of how many percent of the requests that say nothing."""

    host: str
    port: int
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Options:
    """This node's name, its zone where its Node shall not be asked, and whether labels may enrol pods of `kube-system`;
    names are empty where not known. Without a `collector` there are no spans, and no request is changed for them.
    `first_byte_seconds` is how long the waypoint waits for a client's first byte, and for a request's head.
    `clusterset_cidrs` are the ranges of ServiceImports' addresses; where there are none, those of ServiceCIDR objects.
    `unsupported_runtimes` are patterns of handlers whose pods have sockets that the node's kernel does not see.
    """

    node: str = ""
    enrol_kube_system: bool = False
    zone: str = ""
    collector: Collector | None = None
    unsupported_runtimes: tuple[str, ...] = UNSUPPORTED_RUNTIMES
    first_byte_seconds: float = FIRST_BYTE_SECONDS
    clusterset_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
