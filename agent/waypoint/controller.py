"""The controller of the node's waypoint, a task of its own. It connects the state machine with the ADS server, with
probes, and with the datapath, which writes the resulting state to the kernel.

Two loops share the machine. One encodes and publishes what is wanted, which takes seconds at thousands of resources.
Meanwhile the other one handles events of Envoys, of probes and of the datapath.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.ir.plan import Output
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.ir.waypoint_state import Adopted, ClientsRevoked, PortFamily, WaypointState
from agent.translate.incremental import Unit
from agent.waypoint.policy_enforcement import PolicyEnforcement
from agent.waypoint.probing import Prober, Probing
from agent.waypoint.rendering import Rendering
from agent.waypoint.revocations import Revocation, Revocations, revoked
from agent.waypoint.state_machine import Probe, WaypointStateMachine

log = logging.getLogger(__name__)

# Events within this time are handled together.
COALESCE_SECONDS = 0.01
# So many units are rendered by one call of a thread. The interpreter lets the event loop in between, every 5 ms.
UNITS = 5


class Ads(Protocol):
    """What the controller needs of the server that configures Envoys."""

    @property
    def envoys(self) -> list[Envoy]:
        """The connected Envoys."""

    @property
    def rejected(self) -> Mapping[ResourceName, str]:
        """Resources that an Envoy refused, or that cannot be encoded, with the reason."""

    async def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace the configuration of every Envoy; listeners get their port. Returns when it is what is sent, and what
        acknowledgements refer to.
        """

    def acknowledged_by(self, envoy: Envoy) -> frozenset[ResourceName]:
        """Resources whose published version this Envoy has acknowledged."""


class WaypointController:
    """Configures Envoys, and derives the state from their answers and from probes. It calls `changed` when the state
    changed.
    """

    def __init__(
        self,
        ads: Ads,
        rendering: Rendering,
        prober: Prober,
        clock: Callable[[], float],
        changed: Callable[[], None],
        revoke: Callable[[list[ClientsRevoked]], None],
    ) -> None:
        """`revoke` ends connections of clients that policies do not admit any more."""
        self.rendering = rendering
        self._ads = ads
        self._clock = clock
        self._changed = changed
        self._revoke = revoke
        self._revocations = Revocations()
        self._due: list[Revocation] = []
        self._revocable = asyncio.Event()
        self._probing = Probing(prober, self._probed)
        self._wake, self._publish_again = asyncio.Event(), asyncio.Event()
        # The number of changes of what is wanted, and which of them is published.
        self._wanted = self._published = 0
        self._resources: Mapping[ResourceName, Json] = {}
        self._published_to: Collection[Envoy] = ()
        self._published_needs: Mapping[str, frozenset[ResourceName]] = {}
        self._started = asyncio.Event()
        self._enforcement = PolicyEnforcement()
        # Until `start` is called with what an earlier agent left.
        self.machine = WaypointStateMachine(Adopted(), clock())

    def start(self, adopted: Adopted) -> None:
        """Start from what an earlier agent left."""
        self.machine = WaypointStateMachine(adopted, self._clock())
        self._started.set()

    def want(self, changed: Mapping[Unit, tuple[Output, Output]]) -> None:
        """Units of translation that changed, each with its output before and now. They are rendered together."""
        for unit, (old, new) in changed.items():
            self.rendering.take(unit, old, new)
        if changed:
            self._wanted += 1
            self._revocations.take(changed, self._wanted)
            self._publish_again.set()

    def send_to(self, ports: Collection[PortFamily], state: WaypointState) -> None:
        """Ports that the kernel sends clients to, by family, once this state is written."""
        self.machine.send_to(ports, state)
        self.wake()

    def wake(self) -> None:
        """An Envoy connected, disconnected or answered."""
        self._wake.set()

    @property
    def state(self) -> WaypointState:
        """Where clients are to be sent."""
        return self.machine.effects.state

    @property
    def enforces_policies(self) -> bool | None:
        """Whether the Envoys refuse the clients that policies forbid; None before the first one connects."""
        return self._enforcement.enforced

    @property
    def reconciling(self) -> bool:
        """Whether something is not published yet, or neither acknowledged nor refused by the active Envoy, or events of
        Envoys and probes have not been applied to the state yet, or it is not known yet whose connections end.
        """
        active, ports = self.machine.failover.connected, self.machine.ports
        unpublished = self._wanted != self._published or self.rendering.has_pending
        if unpublished or self._wake.is_set() or self._due:
            return True
        if active is None:
            return False
        answered = self._ads.acknowledged_by(active) | self._ads.rejected.keys()
        return any(not needs <= answered for name, needs in self.rendering.dependencies.items() if name in ports)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._started.wait()
        async with self._probing.running(), asyncio.TaskGroup() as group:
            group.create_task(self._publish_always())
            group.create_task(self._advance_always())
            group.create_task(self._revoke_always())

    async def _publish_always(self) -> None:
        while True:
            await self._publish_again.wait()
            self._publish_again.clear()
            await self._publish()
            self._advance()

    async def _publish(self) -> None:
        """Publish what is wanted and what draining listeners need, as far as capacity allows. The machine gets it when
        acknowledgements refer to it.
        """
        machine, wanted = self.machine, self._wanted
        self.rendering.begin()
        while self.rendering.has_batch:
            await asyncio.to_thread(self.rendering.advance, UNITS)
        resources, needs = self.rendering.configuration
        machine.connect(self._acknowledged(), self._clock())
        self._published_to = machine.connected
        machine.unconfigured = self.rendering.rejected_listeners.keys() - needs.keys()
        ports = machine.assign(needs, self._clock())
        kept = machine.readiness.retained(needs)
        self._resources = {**{name: value for name, value in self._resources.items() if name in kept}, **resources}
        listed = {
            name: value
            for name, value in self._resources.items()
            if name.kind is not ResourceType.LISTENER or name.name in ports
        }
        await self._ads.publish(listed, ports)
        self._published_needs = {name: item for name, item in needs.items() if name in ports}
        machine.want(needs, self._clock())
        self._published = wanted
        if self.rendering.has_pending:
            # Units that were refused fit now.
            self._publish_again.set()

    async def _advance_always(self) -> None:
        while True:
            deadline = self.machine.effects.deadline
            try:
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                    await self._wake.wait()
            except TimeoutError:
                # A listener's grace time or a port's quarantine is over.
                self._publish_again.set()
            else:
                await asyncio.sleep(COALESCE_SECONDS)
                self._wake.clear()
            self._advance()

    def _advance(self) -> None:
        """Advance the state machine, and apply its effects."""
        before = self.state
        acknowledged = self._acknowledged()
        if self._published:
            self._enforcement.observe(self._published_needs.values(), acknowledged, self._ads.rejected)
            self._end_revoked(acknowledged)
        self.machine.connect(acknowledged, self._clock())
        effects = self.machine.advance()
        self._probing.want(effects.probes)
        if self.machine.connected != self._published_to:
            self._publish_again.set()
        if effects.state == before:
            return
        if effects.state.active != before.active and before.active:
            log.info("the waypoint moves", extra={"to": str(effects.state.active), "was": str(before.active)})
        if effects.state.lost and not before.lost:
            log.error("the waypoint is lost; each service's policy applies")
        self._changed()

    def _end_revoked(self, acknowledged: Mapping[Envoy, frozenset[ResourceName]]) -> None:
        """Have connections end whose clients Envoys refuse since their last answers."""
        if not self._revocations.waiting:
            return
        answered = {envoy: found | self._ads.rejected.keys() for envoy, found in acknowledged.items()}
        due = self._revocations.due(self._published, self._published_needs, answered, self.machine.ports)
        self._due = [*self._due, *due]
        if due:
            self._revocable.set()

    async def _revoke_always(self) -> None:
        """Compare what was required with what is, in a thread: a tenant with large policies keeps nobody waiting."""
        while True:
            await self._revocable.wait()
            self._revocable.clear()
            while due := self._due:
                if found := await asyncio.to_thread(revoked, due):
                    self._revoke(found)
                self._due = self._due[len(due) :]

    def _probed(self, probe: Probe, accepted: bool | None) -> None:
        """A probe was answered; several answers within a short time are handled in one pass."""
        if self.machine.answer(probe, accepted):
            self.wake()

    def _acknowledged(self) -> dict[Envoy, frozenset[ResourceName]]:
        return {envoy: self._ads.acknowledged_by(envoy) for envoy in self._ads.envoys}
