"""The programs of policies in the network namespaces of pods: one program, attached to each of the pods that it is for.

`network_links.py` says how its links live. They are named by the cgroup of the pod too: an agent that starts knows
which of them are of pods that the program is not for any more.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.ir.authorization import ServerPlan
from agent.kernel.cgroups import folders_of
from agent.kernel.netns.client import NetnsClient, NetnsError, query
from agent.kernel.netns.protocol import Query, Seen
from agent.kernel.network_links import ATTACHED, UNSUPPORTED, NetworkLinks

log = logging.getLogger(__name__)

NOT_FOUND = "no process of the pod is in a network namespace that has an address of the pod and is not that of the node"
UNSEEN = (
    "unsupported: the node's network namespace may not be looked at, and no process of the pod is in one with the "
    "addresses of the pod alone"
)


class PodLinks:
    """Attaches a program to pods of the node, and detaches it from all others."""

    def __init__(
        self, links: NetworkLinks, kubepods: Path, helper: NetnsClient, drifted: Callable[[int], None]
    ) -> None:
        """`drifted` receives the number of links that were removed by others."""
        self._links = links
        self._kubepods = kubepods
        self._drifted = drifted
        self._helper = helper
        self._attached: frozenset[str] = frozenset()
        self.states: dict[int, str] = {}
        """By cgroup id: the state of each of the pods at the latest look."""

    @property
    def is_supported(self) -> bool:
        """Whether the kernel has the hook of the program."""
        return self._links.is_supported

    def look(self, servers: Mapping[int, ServerPlan], complete: bool = True) -> None:
        """Update all links to the program, attach those that are missing at these pods, by cgroup id, and detach those
        at other pods. Raises `OSError`; then links may be left at other pods. Not `complete`: links keep the program
        that they have.
        """
        try:
            there = self._links.update(complete)
        except OSError as error:
            self._note(servers, dict.fromkeys(servers, f"unknown: the guards cannot be read: {error}"))
            raise
        found = dict(there)
        self._note(servers, self._states(servers, found))
        if again := self._attached & (found.keys() - there.keys()):
            log.warning("guards of pods were missing, attached them again", extra={"guards": len(again)})
            self._drifted(len(again))
        self._attached = frozenset(found)
        self._detach_others(found, servers)

    def _queries(self, servers: Mapping[int, ServerPlan]) -> dict[int, Query]:
        """A query about each of these pods that has a folder, by cgroup id."""
        folders = folders_of(self._kubepods, servers) if servers else {}
        return {cgroup: query(self._kubepods, folder, servers[cgroup].addresses) for cgroup, folder in folders.items()}

    def _note(self, servers: Mapping[int, ServerPlan], states: dict[int, str]) -> None:
        for cgroup, state in states.items():
            if state != self.states.get(cgroup):
                log.info(
                    "program of a pod",
                    extra={"program": self._links.program.name, "pod": str(servers[cgroup].pod), "state": state},
                )
        self.states = states

    def _states(self, servers: Mapping[int, ServerPlan], found: dict[str, int]) -> dict[int, str]:
        """The state of each pod. Attaches the program to those without a link in `found`; adds their links to it.

        An error at one must not keep the states of the others from being updated.
        """
        if not self._links.is_supported:
            return dict.fromkeys(servers, UNSUPPORTED)
        queries = self._queries(servers)
        try:
            seen = self._helper.look(queries.values())
        except NetnsError as error:
            linked = {name.partition("-")[0] for name in found}
            return {cgroup: ATTACHED if str(cgroup) in linked else _retried(error) for cgroup in servers}
        states = {}
        for cgroup, plan in servers.items():
            try:
                requested = queries.get(cgroup)
                states[cgroup] = self._guard(cgroup, plan, requested.pod, seen, found) if requested else NOT_FOUND
            except OSError as error:
                states[cgroup] = _retried(error)
        return states

    def _guard(self, cgroup: int, plan: ServerPlan, pod: str, seen: Seen, found: dict[str, int]) -> str:
        """Attach the program to the network namespace of a pod unless a link in `found` does; adds the link to it."""
        network = seen.networks.get(pod)
        if network and (name := f"{cgroup}-{network.namespace}") in found:
            return ATTACHED
        # A guard in the network of the node would cut the node off. That network has addresses that no pod has.
        if network and (seen.knows_node or set(network.addresses) <= set(plan.addresses)):
            with self._helper.open(pod, network.namespace) as fd:
                if fd is not None:
                    self._links.attach(fd, name)
                    found[name] = network.namespace
                    return ATTACHED
        return NOT_FOUND if seen.knows_node else UNSEEN

    def _detach_others(self, found: Mapping[str, int], servers: Mapping[int, ServerPlan]) -> None:
        protected = frozenset(map(str, servers))
        for name in found:
            if name.partition("-")[0] not in protected:
                self._links.detach(name)
                self._attached -= {name}


def _retried(error: OSError) -> str:
    return f"not attached, trying again: {error}"
