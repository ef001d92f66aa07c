"""Terminates sockets of pods: those whose backend was removed, and connections of clients that a protected pod, or a
waypoint for it, does not admit any more. The network namespace helper opens its sockets in the network namespaces of
pods.

`python -m agent.kernel.terminate_sockets --pins DIR --kubepods PATH --netns-socket PATH` reads the JSON document of
`socket_terminator.document`, runs once, and prints how many sockets it terminated, by protocol.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from agent.datapath.authorization_rows import AuthorizationRows, read_unchanged
from agent.ir.tables import AffinityEntry, Protocol, SocketAddress, UdpTarget, address_bytes
from agent.kernel.affinity_rows import UDP_CHOICE_CODEC
from agent.kernel.bpffs import opened
from agent.kernel.cgroups import folders_of, pod_folders
from agent.kernel.maps import HashTable, open_kernel
from agent.kernel.netns.client import NetnsClient, RefusedError, query
from agent.kernel.parent import die_with_parent
from agent.kernel.programs import Pins
from agent.kernel.sockets import (
    Accepted,
    Rewritten,
    SocketList,
    accepted_tcp,
    destroy,
    rewritten_tcp,
    rewritten_udp,
)


@dataclass(frozen=True, slots=True)
class Task:
    """The remaining backends of frontends; sockets of these frontends with another backend are terminated. With
    `revoked` also the connections that the kernel's tables of authorization do not admit. `clients`: addresses and
    ports of waypoints, with the clients whose connections there are terminated, or all but which.
    """

    spared: frozenset[bytes]
    frontends: Mapping[tuple[Protocol, SocketAddress], frozenset[SocketAddress]]
    revoked: bool
    clients: Mapping[SocketAddress, Sequence[tuple[frozenset[bytes], bool]]]
    waypoint_pods: frozenset[int]

    def folders(self, kubepods: Path) -> list[Path]:
        """The cgroup folders of the pods to look at: first those of waypoints, by which what runs for clients ends
        within a second on a node with hundreds of pods too; no others where nothing else is to be done.
        """
        first = list(folders_of(kubepods, self.waypoint_pods).values()) if self.waypoint_pods else []
        if self.clients and first and not self.frontends and not self.revoked:
            return first
        return [*first, *(folder for folder in pod_folders(kubepods).values() if folder not in first)]

    def ends(self, found: Rewritten) -> bool:
        """Whether the backend of a socket was removed."""
        there = self.frontends.get((found.protocol, found.original))
        return there is not None and found.backend not in there and found.backend[0] not in self.spared

    def revokes(self, found: Accepted) -> bool:
        """Whether policies do not admit a connection that a waypoint has accepted."""
        return any((found.client in named) is not all_but for named, all_but in self.clients.get(found.server, ()))


def read(document: Mapping[str, Any]) -> Task:
    """The inverse of `socket_terminator.document`."""

    def socket_address(written: tuple[str, int]) -> SocketAddress:
        return address_bytes(written[0]), written[1]

    clients: defaultdict[SocketAddress, list[tuple[frozenset[bytes], bool]]] = defaultdict(list)
    for address, port, named, all_but in document["clients"]:
        clients[address_bytes(address), port].append((frozenset(map(address_bytes, named)), all_but))
    return Task(
        frozenset(map(address_bytes, document["spared"])),
        {
            (Protocol(protocol), socket_address(frontend)): frozenset(map(socket_address, backends))
            for protocol, frontend, backends in document["frontends"]
        },
        document["revoked"],
        clients,
        frozenset(document["waypoint_pods"]),
    )


def socket_lists(kubepods: Path, folders: Iterable[Path], helper: NetnsClient) -> Iterator[SocketList]:
    """A list of sockets in each network namespace of pods below `kubepods`, by their folders. Raises `NetnsError`; at
    the end also where there were pods and the helper refused all of them.
    """
    seen: set[int] = set()
    refused: RefusedError | None = None
    for folder in folders:
        try:
            for namespace, descriptor in helper.sockets(query(kubepods, folder).pod):
                with SocketList(descriptor) as diag:
                    if namespace not in seen:
                        yield diag
                seen.add(namespace)
        except RefusedError as found:
            refused = found
    if refused and not seen:
        raise refused


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is read once: a descriptor of `weft_sockets`, the rows of `weft_udp_choices`, and those of authorization
    where connections are to end that they do not admit.
    """

    storage: int
    choices: Mapping[UdpTarget, AffinityEntry]
    authorization: AuthorizationRows | None


def terminate(task: Task, kernel: Kernel, diag: SocketList) -> Counter[Protocol]:
    """Terminate the sockets of this task in one network namespace. Raises `OSError`."""
    listed = chain(rewritten_tcp(diag, kernel.storage), rewritten_udp(diag, kernel.choices))
    stale: list[Rewritten | Accepted] = [found for found in listed if task.ends(found)]
    rows = kernel.authorization
    if rows is not None or task.clients:
        accepted = accepted_tcp(diag)
        stale += [found for found in accepted if task.revokes(found) or (rows is not None and is_revoked(found, rows))]
    return Counter(found.protocol for found in stale if destroy(diag, found))


def is_revoked(found: Accepted, rows: AuthorizationRows) -> bool:
    """Whether a protected pod has accepted a connection that its policies do not admit now."""
    address, port = found.server
    return address in rows.servers and not rows.admits(address, found.client, port)


def _authorization(pins: Path) -> AuthorizationRows:
    """What decides now. A server whose policies change meanwhile has no row: that change has connections ended, too."""
    kernel = open_kernel(pins)
    try:
        return read_unchanged(kernel)
    finally:
        kernel.close()


def main() -> None:
    """The entry point of the process."""
    # The task is void once that agent is gone.
    die_with_parent()
    parser = argparse.ArgumentParser(description="terminate sockets of removed backends, as given on standard input")
    parser.add_argument("--pins", type=Path, required=True, help="weft's folder in bpffs")
    parser.add_argument("--kubepods", type=Path, required=True, help="the kubepods folder of cgroup v2")
    parser.add_argument("--netns-socket", type=Path, required=True, help="socket of the network namespace helper")
    options = parser.parse_args()
    task, pins = read(json.load(sys.stdin)), Pins(options.pins)
    ended: Counter[Protocol] = Counter()
    with opened(pins.map_path("weft_sockets")) as storage, opened(pins.map_path("weft_udp_choices")) as table:
        choices = HashTable(table, UDP_CHOICE_CODEC).load()
        kernel = Kernel(storage, choices, _authorization(options.pins) if task.revoked else None)
        for diag in socket_lists(options.kubepods, task.folders(options.kubepods), NetnsClient(options.netns_socket)):
            ended += terminate(task, kernel, diag)
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
