"""Addresses of network namespaces, from /proc/PID/net, which every process of the node may read."""

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

PROC = Path("/proc")
_GLOBAL = "00"  # IPV6_ADDR_SCOPE of /proc/net/if_inet6
# A pod that may configure its network decides how much there is to read. A thousand routes have 100 KB.
_MOST_CHARACTERS = 1 << 20


def own_addresses() -> tuple[str, ...]:
    """The addresses of this process's network namespace."""
    return tuple(sorted(local_addresses(PROC / "self")))


def node_addresses(node: str = "1") -> frozenset[str]:
    """The addresses of the network namespaces of the node and of this process, as far as they can be read. The kubelet
    probes pods from one of the node's. `node` is the /proc folder name of a process on the network of the node.
    """
    found: set[str] = set()
    for process in (node, "self"):
        with suppress(OSError):
            found.update(local_addresses(PROC / process))
    return frozenset(found)


def local_addresses(process: Path) -> Iterator[str]:
    """The addresses of the network namespace of a process, given by its /proc folder, without loopback and link-local
    ones. Raises `OSError`.
    """
    lines = _lines(process / "net/fib_trie")
    # "|-- 10.244.1.7" and below it "/32 host LOCAL"; the main and the local table are one list, printed twice.
    hosts = {above.split()[-1] for above, line in pairwise(lines) if line.split()[1:] == ["host", "LOCAL"]}
    yield from (address for address in hosts if not address.startswith("127."))
    six = process / "net/if_inet6"  # absent where IPv6 is disabled
    for line in _lines(six) if six.exists() else ():
        digits, _, _, scope, *_ = line.split()
        if scope == _GLOBAL:
            yield str(ipaddress.IPv6Address(bytes.fromhex(digits)))


def _lines(path: Path) -> list[str]:
    """The lines of a file, as far as it is read; the last one may be cut there."""
    with path.open() as file:
        text = file.read(_MOST_CHARACTERS)
    lines = text.splitlines()
    return lines if len(text) < _MOST_CHARACTERS else lines[:-1]
