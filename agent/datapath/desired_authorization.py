"""What the tables of authorization should have, gathered from the outputs of translation."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import attrgetter
from typing import TypeVar

from agent.ir.authorization import Destination, PeerRow, ServerPlan, UnsupportedPod, account_id, peer_row
from agent.ir.plan import Output
from agent.ir.policy import ANY
from agent.ir.tables import address_bytes
from agent.model.change import Change
from agent.model.meta import WEFT_NAMESPACE
from agent.model.policy_versions import PolicyVersions

T = TypeVar("T")

_WEFT = account_id(WEFT_NAMESPACE, ANY)


class DesiredAuthorization:
    """What policies and pods demand."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called when something changed."""
        self.servers: dict[int, ServerPlan] = {}
        self.audited: dict[int, ServerPlan] = {}
        self.unsupported: dict[int, UnsupportedPod] = {}
        self.versions = PolicyVersions()
        """The policies by which all of this was translated."""
        # By address, then by unit of translation. The latest counts: a new pod can have the address of one whose end
        # is not known here yet.
        self._peers: dict[bytes, dict[Hashable, PeerRow]] = {}
        self._waypoints: dict[Hashable, dict[bytes, PeerRow]] = {}
        self._destinations: dict[Hashable, Mapping[str, Destination]] = {}
        self.identities: dict[int, PeerRow] = {}
        """Of the pods of this node, by cgroup id."""
        self._changed = changed

    @property
    def peers(self) -> dict[bytes, PeerRow]:
        """The identities of each source address. An address that a pod outside weft's namespace has is that pod's: an
        attacker on another node could report it as that of a waypoint.
        """
        pods = {address: [*rows.values()][-1] for address, rows in self._peers.items()}
        waypoints = {address: row for rows in self._waypoints.values() for address, row in rows.items()}
        others = {address for address, row in pods.items() if row.namespace_id != _WEFT}
        return pods | {address: row for address, row in waypoints.items() if address not in others}

    @property
    def destinations(self) -> dict[str, Destination]:
        """The protected pods as destinations, by address: those of other nodes, and those of this node."""
        others = {address: it for found in self._destinations.values() for address, it in found.items()}
        own = {address: plan.destination for plan in self.servers.values() for address in plan.addresses}
        return others | own

    def take(self, unit: Hashable, old: Output, new: Output) -> None:
        """A unit of translation changed its output."""
        former, clients = _clients(old), _clients(new)
        if _parts(old) == _parts(new) and former == clients:
            return
        for cgroup in former.keys() - clients.keys():
            del self.identities[cgroup]
        self.identities |= clients
        self._destinations.pop(unit, None)
        if new.destinations:
            self._destinations[unit] = new.destinations
        _replace(self.servers, old.servers, new.servers)
        _replace(self.audited, old.audited, new.audited)
        _replace(self.unsupported, old.unsupported, new.unsupported)
        for gone in map(address_bytes, old.peers.keys() - new.peers.keys()):
            del self._peers[gone][unit]
            if not self._peers[gone]:
                del self._peers[gone]
        for address, row in new.peers.items():
            self._peers.setdefault(address_bytes(address), {})[unit] = row
        self._waypoints.pop(unit, None)
        if new.waypoints:
            self._waypoints[unit] = {address_bytes(address): row for address, row in new.waypoints.items()}
        self._changed()

    def observe(self, changes: Iterable[Change]) -> None:
        """Changes of policies, once all pods are translated by them."""
        before = self.versions.digest
        for change in changes:
            self.versions.apply(change)
        if self.versions.digest != before:
            self._changed()


_parts = attrgetter("servers", "audited", "unsupported", "peers", "waypoints", "destinations")


def _replace(plans: dict[int, T], old: Mapping[int, T], new: Mapping[int, T]) -> None:
    """A unit of translation has these plans of pods now, by cgroup id."""
    for cgroup in old.keys() - new.keys():
        del plans[cgroup]
    plans.update(new)


def _clients(output: Output) -> dict[int, PeerRow]:
    """The identities of pods with a service account, by cgroup id; none of weft's own: a waypoint judges its clients,
    and is judged by the nodes of the servers.
    """
    return {
        cgroup: peer_row(pod.namespace, pod.service_account)
        for cgroup, pod in output.pods.items()
        if pod.service_account and pod.namespace != WEFT_NAMESPACE
    }
