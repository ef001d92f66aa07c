"""Inputs of translation other than the store."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

# gVisor has a network stack of its own in the sandbox, Kata Containers a kernel of its own in a virtual machine.
UNSUPPORTED_RUNTIMES = ("runsc", "gvisor", "kata*")
# Clients with connection pools open connections before they have a request, so it is not shorter.
FIRST_BYTE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Collector:
    """Where the waypoint sends spans, and the percentage of requests without a trace context that it samples."""

    host: str
    port: int
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the agent that translation needs.

    - `node`: this node's name, empty where it is not known.
    - `zone`: this node's zone, where that of its Node is not to be used; else empty.
    - `enrol_kube_system`: labels may enrol pods of `kube-system`.
    - `collector`: without one there are no spans, and no request is changed for them.
    - `first_byte_seconds`: how long the waypoint waits for a client's first byte, and for the head of a request.
    - `clusterset_cidrs`: the ranges of ServiceImports' addresses; when empty, those of ServiceCIDR objects.
    - `unsupported_runtimes`: patterns of handlers whose pods have sockets that the node's kernel does not see.
    """

    node: str = ""
    enrol_kube_system: bool = False
    zone: str = ""
    collector: Collector | None = None
    unsupported_runtimes: tuple[str, ...] = UNSUPPORTED_RUNTIMES
    first_byte_seconds: float = FIRST_BYTE_SECONDS
    clusterset_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
