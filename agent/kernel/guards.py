"""The guard in the network namespaces of waypoints: an sk_lookup program that refuses clients that are not on the
client allow-list.

`network_links.py` says how its links live.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.kernel.cgroups import folders_of
from agent.kernel.netns.client import NetnsClient, query
from agent.kernel.network_links import ATTACHED, UNSUPPORTED, NetworkLinks
from agent.kernel.programs import GUARD, Pins

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
NOT_FOUND = "no pod of weft-system on this node has a network namespace with this address"
UNSEEN = (
    "unsupported: the node's network namespace may not be looked at, and no pod of weft-system has this address alone"
)

Pods = Mapping[int, frozenset[str]]
WaypointPods = Mapping[str, Pods]
"""Addresses of waypoints, each with the pods that have it by their status: their cgroups, and all their addresses."""


def _links(pins: Path, version: str) -> NetworkLinks:
    """The links of the guard of this version, named by the inode numbers of the namespaces."""
    folders = Pins(pins)
    return NetworkLinks(folders.guards, folders.programs / version / GUARD.name)


@dataclass(frozen=True, slots=True)
class _Found:
    """The location of a waypoint: the pods that had its address, and the inode number of its network namespace."""

    pods: Pods
    namespace: int


class Guards:
    """Attaches the guard to each waypoint of the node; `run` it as a task."""

    def __init__(
        self,
        pins: Path,
        kubepods: Path,
        helper: NetnsClient,
        waypoints: Callable[[], WaypointPods],
        drifted: Callable[[int], None],
    ) -> None:
        """`waypoints` returns the addresses of waypoints; `drifted` receives the number of links that were removed by
        others.
        """
        self._pins = pins
        self._kubepods = kubepods
        self._helper = helper
        self._waypoints = waypoints
        self._drifted = drifted
        self._version = ""
        self._links = _links(pins, self._version)
        self._found: dict[str, _Found] = {}
        self.states: dict[str, str] = {}

    def permit(self, version: str) -> None:
        """The client allow-list is complete: from now on attach the program of this version. Raises `OSError`."""
        if version != self._version:
            links = _links(self._pins, version)
            links.update()
            self._links, self._version = links, version

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._version:
                try:
                    await asyncio.to_thread(self.look, self._waypoints())
                except OSError as error:
                    log.warning("waypoints could not be guarded, trying again", extra={"error": str(error)})

    def look(self, waypoints: WaypointPods) -> None:
        """Attach missing guards, and record the state of each waypoint. Raises `OSError`; after that no waypoint counts
        as attached.
        """
        try:
            there = frozenset(self._links.update().values())
        except OSError as error:
            self._note(dict.fromkeys(waypoints, f"unknown: the guards cannot be read: {error}"))
            raise
        before = self._found
        self._found = {
            address: found
            for address, found in before.items()
            if found.namespace in there and waypoints.get(address) == found.pods
        }
        states = {address: self._state(address, pods, there) for address, pods in waypoints.items()}
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
        if not self._links.is_supported:
            return UNSUPPORTED
        folders = folders_of(self._kubepods, pods)
        queries = {cgroup: query(self._kubepods, folder, (address,)) for cgroup, folder in folders.items()}
        seen = self._helper.look(queries.values())
        for cgroup, requested in queries.items():
            network = seen.networks.get(requested.pod)
            # A guard in the network of the node would cut the node off. That network has addresses that no pod has.
            is_right = network and (seen.knows_node or pods[cgroup].issuperset(network.addresses))
            if network and is_right and self._attach(requested.pod, network.namespace, there):
                self._found[address] = _Found(pods, network.namespace)
                return ATTACHED
        return NOT_FOUND if seen.knows_node or not queries else UNSEEN

    def _attach(self, pod: str, namespace: int, there: frozenset[int]) -> bool:
        """Attach the guard to a network namespace of a pod, unless it is attached. False if the pod has left it."""
        # The waypoint's other address may have had it attached a moment ago.
        if namespace in there | {other.namespace for other in self._found.values()}:
            return True
        with self._helper.open(pod, namespace) as fd:
            if fd is not None:
                self._links.attach(fd, str(namespace))
            return fd is not None
