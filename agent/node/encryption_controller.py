"""Keeps the tunnels of the node in step with MeshParameters, Nodes and the reports of other nodes, in its own task."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_network
from typing import NamedTuple, Protocol

from msgspec import UNSET, UnsetType
from pyroute2 import NetlinkError

from agent.encryption.members import inability, members
from agent.encryption.plan import in_step, make_plan, sending, wanted_generations
from agent.encryption.retirement import RETIRE_SECONDS, InUse
from agent.encryption.traffic import Traffic
from agent.encryption.values import Member, Observed, Plan, port_of
from agent.ir.addresses import Addresses
from agent.ir.plan import PodPlan
from agent.kernel.netns.client import NetnsClient
from agent.kernel.tunnels import UnsupportedError, node_network
from agent.model.parameters import MeshEncryption
from agent.model.weft_node import TunnelKey, Tunnels
from agent.settings import Settings
from agent.store.store import Store, TrackedView
from agent.translate.parameters import mesh_parameters

log = logging.getLogger(__name__)

# How often the kernel is looked at: for a first handshake, and for what others removed. With thousands of peers a look
# takes tenths of a second; then the pause is so many times as long.
LOOK_SECONDS, PAUSE = 1.0, 20
SYNC_SECONDS = 0.05
# How long a kernel without WireGuard is not asked again.
UNSUPPORTED_SECONDS = 60.0
# How often the node is asked how it reaches its pods.
ASK_SECONDS = 30.0
NOT_INSTALLED = "the agent runs without --encryption"
NO_NODE = "the Node of this agent is unknown"


class Network(Protocol):
    """The node's network, in a thread."""

    def observe(self, endpoints: Addresses) -> Observed:
        """What of weft is there. Raises `OSError`, `NetlinkError`."""

    def reached_outside(self, endpoints: Addresses, addresses: Iterable[str]) -> dict[str, str]:
        """Of pods' addresses those whose packets do not pass the node's routing. Raises `OSError`, `NetlinkError`."""

    def apply(self, plan: Plan, observed: Observed) -> None:
        """Bring the kernel in step. Raises `UnsupportedError`, `OSError`, `NetlinkError`."""


class State(NamedTuple):
    """What the latest pass found."""

    encryption: MeshEncryption = MeshEncryption("Off")
    own: Member | None = None
    others: tuple[Member, ...] = ()
    observed: Observed = Observed()


class EncryptionController:
    """`helper` gives access to the node's network, for which a test has another. `pods` returns the plans of the node's
    pods, by cgroup id.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        helper: NetnsClient,
        pods: Callable[[], Mapping[int, PodPlan]],
        drifted: Callable[[int], None],
        network: Callable[[NetnsClient], AbstractContextManager[Network]] = node_network,
    ) -> None:
        self._view = TrackedView(store)
        self._node = settings.node
        self._installed = settings.encryption
        self._helper = helper
        self._network = network
        self._pods = pods
        self._drifted = drifted
        self._clock = asyncio.get_running_loop().time
        self._plan: Plan | None = None
        self._in_use = InUse()
        self.traffic = Traffic()
        self._off_since: float | None = None
        self._lacks_wireguard, self._retry_at = False, 0.0
        self._outside: Set[str] = frozenset()
        self._suspects: Set[str] = frozenset()
        self._ask_at = 0.0
        self.attempted = False
        """Whether the kernel has been looked at."""
        self.state = State()
        self.error = ""
        """Why the latest pass failed; empty when it did not."""

    async def run(self, is_synced: Callable[[], bool], report: Callable[[], None]) -> None:
        """Look and apply until cancelled, once all sources have synced. `report`: what others need to know changed."""
        while not is_synced():
            await asyncio.sleep(SYNC_SECONDS)
        while True:
            began = self._clock()
            before = self.attempted, self.tunnels
            await self._pass()
            self.attempted = True
            if (self.attempted, self.tunnels) != before:
                report()
            await asyncio.sleep(max(LOOK_SECONDS, PAUSE * (self._clock() - began)))

    @property
    def unsupported(self) -> str:
        """Why the node cannot do what MeshParameters ask for; empty where it can, and in mode Off."""
        if self.state.encryption.mode == "Off":
            return ""
        if not self._installed:
            return NOT_INSTALLED
        if self.state.own is None:
            return NO_NODE
        lacking = "the kernel has no WireGuard" if self._lacks_wireguard else ""
        pods = self._pods().values()
        return inability(self.state.own) or lacking or _foreign(pods, self.state.own) or _outside(pods, self._outside)

    @property
    def tunnels(self) -> Tunnels | UnsetType | None:
        """What the other nodes need to know; None in mode Off. Unset while it is not known: an agent that starts takes
        back nothing that the one before it reported.
        """
        if self.state.encryption.mode == "Off":
            return None if self.attempted else UNSET
        if self._installed and self._plan is None:
            return UNSET
        devices = self.state.observed.devices
        keys = tuple(TunnelKey(number, devices[number].public_key, port_of(number)) for number in sorted(devices))
        return Tunnels(keys, tuple(sorted(sending(self.state.observed))), self.unsupported or None)

    async def _pass(self) -> None:
        encryption = mesh_parameters(self._view).spec.encryption
        found = members(self._view)
        own = next((member for member in found if member.name == self._node), None)
        others = tuple(member for member in found if member.name != self._node)
        self.state = State(encryption, own, others, self.state.observed)
        if encryption.mode != "Off":
            self._off_since = None
        elif self._off_since is None:
            self._off_since = self._clock()
        done = encryption.mode == "Off" and self._plan == Plan()
        if not self._installed or done or (own is None and encryption.mode != "Off"):
            return
        try:
            observed = await asyncio.to_thread(self._in_step, encryption, own, others)
        except (OSError, NetlinkError) as error:
            if str(error) != self.error:
                log.warning("tunnels not in step, trying again", extra={"error": str(error)})
            self.error = str(error)
        else:
            self.error = ""
            self.traffic.note(observed)
            self.state = self.state._replace(observed=observed)
        if own is not None and encryption.mode != "Off":
            await self._ask_where(own)

    async def _ask_where(self, own: Member) -> None:
        """Ask how the node reaches its pods. What is found twice in a row counts: a route goes before its pod does."""
        if self._clock() < self._ask_at:
            return
        pods = sorted({address for pod in self._pods().values() for address in pod.addresses})

        def ask() -> dict[str, str]:
            with self._network(self._helper) as network:
                return network.reached_outside(own.endpoints, pods)

        try:
            found = await asyncio.to_thread(ask)
        except (OSError, NetlinkError) as error:
            log.warning("how the node reaches its pods is not known, asking again", extra={"error": str(error)})
        else:
            self._outside, self._suspects = found.keys() & self._suspects, found.keys()
        self._ask_at = self._clock() + ASK_SECONDS

    def _in_step(self, encryption: MeshEncryption, own: Member | None, others: tuple[Member, ...]) -> Observed:
        """Bring the kernel in step; returns what it has then. In a thread."""
        with self._network(self._helper) as network:
            endpoints = own.endpoints if own else Addresses()
            observed = network.observe(endpoints)
            plan = self._make_plan(encryption, own, others, observed)
            if in_step(plan, observed):
                self._plan = plan
                return observed
            if plan == self._plan:
                log.warning("tunnels, routes or rules were changed, restoring them")
                self._drifted(1)
            try:
                network.apply(plan, observed)
                self._lacks_wireguard &= not plan.devices
            except UnsupportedError:
                self._lacks_wireguard, self._retry_at = True, self._clock() + UNSUPPORTED_SECONDS
                log.warning("no tunnels to other nodes: the kernel has no WireGuard")
            self._plan = plan
            return network.observe(endpoints)

    def _make_plan(
        self, encryption: MeshEncryption, own: Member | None, others: tuple[Member, ...], observed: Observed
    ) -> Plan:
        now = self._clock()
        if own is None or encryption.mode == "Off":
            # Others send by the devices until they know.
            stays = self._off_since is not None and now < self._off_since + RETIRE_SECONDS
            devices = observed.devices if stays else {}
            return Plan(
                {number: {key: it.peer for key, it in device.peers.items()} for number, device in devices.items()}
            )
        theirs = (number for other in others for number in other.tunnels.sending)
        sent = self._in_use.note({*theirs, *sending(observed)}, now)
        able = now >= self._retry_at and not inability(own)
        wanted = wanted_generations(encryption.key_generation, observed.devices, sent) if able else ()
        return make_plan(encryption, own, others, wanted, observed)


def _outside(pods: Iterable[PodPlan], found: Set[str]) -> str:
    """The pods whose packets do not pass the node's routing."""
    outside = [f"{it.pod.namespace}/{it.pod.name}" for it in pods if any(address in found for address in it.addresses)]
    if not outside:
        return ""
    return f"pods that the node does not route, as by macvlan or ipvlan: {len(outside)}, one is {min(outside)}"


def _foreign(pods: Iterable[PodPlan], own: Member) -> str:
    """The pods whose addresses are not in the ranges of the Node: the CNI gives addresses by itself."""
    ranges = [ip_network(cidr) for cidr in own.cidrs]
    outside = []
    for pod in pods:
        addresses = map(ip_address, pod.addresses)
        if not all(any(address in cidr for cidr in ranges) for address in addresses):
            outside.append(f"{pod.pod.namespace}/{pod.pod.name}")
    if not outside:
        return ""
    return f"pods with addresses outside of the Node's spec.podCIDRs: {len(outside)}, one is {min(outside)}"
