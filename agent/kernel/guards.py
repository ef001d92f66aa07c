"""The guard in the network namespaces of waypoints: an sk_lookup program that refuses clients that are not on the
client allow-list.

Its links are pinned, so they stay while no agent runs. A link does not hold its namespace: it ends with the namespace,
and the agent removes the pin that is left. sk_lookup came with Linux 5.9; the link takes a descriptor of the namespace.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import libbpf
from agent.kernel.cgroups import pod_folders, processes
from agent.kernel.links import opened
from agent.kernel.programs import GUARD, Pins
from agent.kernel.sandboxes import local_addresses, network, node_networks

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
ATTACHED = "attached"
UNSUPPORTED = f"unsupported: this kernel has no sk_lookup, which came with Linux {GUARD.since}"
NOT_FOUND = "no pod of weft-system on this node has a network namespace with this address"
UNSEEN = (
    "unsupported: the node's network namespace may not be looked at, and no pod of weft-system has this address alone"
)

Pods = Mapping[int, frozenset[str]]
Places = Mapping[str, Pods]
"""Addresses of waypoints, each with the pods that have it by their status: their cgroups, and all their addresses."""


def update(pins: Path, version: str) -> frozenset[int]:
    """Update every link to the program of this version, and remove pins of namespaces that are gone. Returns the inode
    numbers of the guarded namespaces. Raises `OSError`.
    """
    folders = Pins(pins)
    program = folders.programs / version / GUARD.name
    if not program.exists() or not folders.guards.is_dir():
        return frozenset()
    with opened(program) as fd:
        return frozenset(inode for path in folders.guards.iterdir() if (inode := _updated(path, fd)))


def _updated(path: Path, program: int) -> int:
    """The namespace of a pinned link, after an update of its program; 0 where the namespace is gone."""
    with opened(path) as link:
        info = libbpf.netns_link_info(link)
        if info.netns and info.program_id != libbpf.program_id(program):
            libbpf.link_update(link, program)
    if not info.netns:
        path.unlink()
    return info.netns


def attach(pins: Path, version: str, namespace: int) -> None:
    """Attach the guard to a network namespace, given by a descriptor. Raises `OSError`."""
    folders = Pins(pins)
    folders.guards.mkdir(parents=True, exist_ok=True)
    with opened(folders.programs / version / GUARD.name) as program:
        link = libbpf.link_create(program, namespace, GUARD.attach_type)
    try:
        libbpf.pin(link, folders.guards / str(os.fstat(namespace).st_ino))
    finally:
        os.close(link)


@dataclass(frozen=True, slots=True)
class _Found:
    """The location of a waypoint: the pods that had its address, and the inode number of its network namespace."""

    pods: Pods
    namespace: int


class Guards:
    """Attaches the guard to each waypoint of the node; `run` it as a task."""

    def __init__(
        self, pins: Path, kubepods: Path, places: Callable[[], Places], drifted: Callable[[int], None], node: str = "1"
    ) -> None:
        """`places` returns the addresses of waypoints; `drifted` receives the number of links that were removed by
        others. `node` is the /proc folder name of a process on the network of the node.
        """
        self._pins = pins
        self._kubepods = kubepods
        self._places = places
        self._drifted = drifted
        self._node = node
        self._version = ""
        self._found: dict[str, _Found] = {}
        self.states: dict[str, str] = {}

    def permit(self, version: str) -> None:
        """The client allow-list is complete: from now on attach the program of this version. Raises `OSError`."""
        if version != self._version:
            update(self._pins, version)
            self._version = version

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._version:
                try:
                    await asyncio.to_thread(self.look, self._places())
                except OSError as error:
                    log.warning("waypoints could not be guarded, trying again", extra={"error": str(error)})

    def look(self, places: Places) -> None:
        """Attach missing guards, and record the state of each waypoint. Raises `OSError`; after that no waypoint counts
        as attached.
        """
        try:
            there = update(self._pins, self._version)
        except OSError as error:
            self._note(dict.fromkeys(places, f"unknown: the guards cannot be read: {error}"))
            raise
        before = self._found
        self._found = {
            address: found
            for address, found in before.items()
            if found.namespace in there and places.get(address) == found.pods
        }
        states = {address: self._state(address, pods, there) for address, pods in places.items()}
        again = {found.namespace for at, found in before.items() if self._found.get(at) == found} - there
        if again:
            log.warning("guards of waypoints were missing, attached them again", extra={"guards": len(again)})
            self._drifted(len(again))
        self._note(states)

    def _note(self, states: dict[str, str]) -> None:
        for address, state in states.items():
            if state != self.states.get(address):
                log.info("guard of a waypoint", extra={"address": address, "state": state})
        self.states = states

    def _state(self, address: str, pods: Pods, there: frozenset[int]) -> str:
        """The state of one waypoint. An error at one must not keep the states of the others from being updated."""
        try:
            return self._guard(address, pods, there)
        except OSError as error:
            return f"not attached, trying again: {error}"

    def _guard(self, address: str, pods: Pods, there: frozenset[int]) -> str:
        if address in self._found:
            return ATTACHED
        if not pods:
            return NOT_FOUND
        if not (Pins(self._pins).programs / self._version / GUARD.name).exists():
            return UNSUPPORTED
        node = node_networks(self._node)
        for cgroup, process in self._processes(pods):
            namespace = network(process)
            if namespace is None or namespace in node:
                continue
            # A guard in the network of the node would cut the node off. That network has addresses that no pod has.
            only = pods[cgroup] if None in node else None
            if self._attached(process, namespace, address, only, there):
                self._found[address] = _Found(pods, namespace)
                return ATTACHED
        return UNSEEN if None in node else NOT_FOUND

    def _processes(self, pods: Pods) -> Iterator[tuple[int, Path]]:
        for folder in pod_folders(self._kubepods).values() if pods else ():
            with suppress(FileNotFoundError):
                if (cgroup := folder.stat().st_ino) in pods:
                    yield from ((cgroup, process) for process in processes(folder))

    def _attached(
        self, process: Path, namespace: int, address: str, only: frozenset[str] | None, there: frozenset[int]
    ) -> bool:
        """Attach the guard to the network namespace of a process, if the namespace has this address, and with `only`:
        no other than these. False if not, or if the process ended.
        """
        try:
            fd = os.open(process / "ns/net", os.O_RDONLY)
        except OSError:
            return False
        try:
            found = _addresses(process)
            # The process may have ended and its id reused by another, possibly one on the network of the node.
            if os.fstat(fd).st_ino != namespace or network(process) != namespace:
                return False
            if address not in found or (only is not None and not found <= only):
                return False
            # Its other address may have had it attached a moment ago.
            if namespace not in there | {other.namespace for other in self._found.values()}:
                attach(self._pins, self._version, fd)
            return True
        finally:
            os.close(fd)


def _addresses(process: Path) -> frozenset[str]:
    """The addresses of the network namespace of a process; empty where the process has ended."""
    with suppress(OSError):
        return frozenset(local_addresses(process))
    return frozenset()
