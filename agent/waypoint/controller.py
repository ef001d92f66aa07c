"""The node's waypoint, as a task beside the kernel's tables: its state machine, between the server that configures
Envoys, connection attempts, and whoever brings the kernel in step with the state that results.

Two loops share the machine. One has what is wanted encoded and published, which takes seconds at thousands of
resources; meanwhile the other one takes in what Envoys, probes and the kernel's tables say.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from agent.ir.envoy import Envoy
from agent.ir.plan import Fragment
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.ir.waypoint_state import Adopted, PortFamily, WaypointState
from agent.translate.incremental import Unit
from agent.waypoint.probing import Prober, Probing
from agent.waypoint.rendering import Rendering
from agent.waypoint.state_machine import Probe, WaypointStateMachine

log = logging.getLogger(__name__)

# What comes together is looked at together.
COALESCE_SECONDS = 0.01
# So many units are rendered at a time, a few milliseconds; then others have their turn.
UNITS, PAUSE_SECONDS = 5, 0.001


class Ads(Protocol):
    """What the controller needs of the server that configures Envoys."""

    @property
    def envoys(self) -> list[Envoy]:
        """Those that are connected."""

    @property
    def rejected(self) -> Mapping[ResourceName, str]:
        """Resources that an Envoy refused, or that cannot be encoded, with the reason."""

    async def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace everything that an Envoy shall have; listeners get their port. Done when this is what is sent, and
        what acknowledgements are of.
        """

    def acknowledged_by(self, envoy: Envoy) -> frozenset[ResourceName]:
        """Resources whose published version this Envoy has acknowledged."""


class WaypointController:
    """What Envoys shall have, and what follows from what they say. `changed` is called when the state is another."""

    def __init__(
        self,
        ads: Ads,
        rendering: Rendering,
        prober: Prober,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.rendering = rendering
        self._ads = ads
        self._clock = clock
        self._changed = changed
        self._probing = Probing(prober, self._probed)
        self._wake, self._publish_again = asyncio.Event(), asyncio.Event()
        # How often something else was wanted, and which of these is published.
        self._wanted = self._published = 0
        self._resources: Mapping[ResourceName, Json] = {}
        self._rooms: Collection[Envoy] = ()
        self._started = asyncio.Event()
        # Until `start` has what an earlier agent left.
        self.machine = WaypointStateMachine(Adopted(), clock())

    def start(self, adopted: Adopted) -> None:
        """Go on from what an earlier agent left."""
        self.machine = WaypointStateMachine(adopted, self._clock())
        self._started.set()

    def want(self, changed: Mapping[Unit, tuple[Fragment, Fragment]]) -> None:
        """Units of translation that changed, each with its fragment before and now. They are rendered together."""
        for unit, (old, new) in changed.items():
            self.rendering.take(unit, old, new)
        if changed:
            self._wanted += 1
            self._publish_again.set()

    def send_to(self, ports: Collection[PortFamily], state: WaypointState) -> None:
        """Ports that the kernel sends clients to, by family, once this state is written."""
        self.machine.send_to(ports, state)
        self.wake()

    def wake(self) -> None:
        """An Envoy came, left or answered."""
        self._wake.set()

    @property
    def state(self) -> WaypointState:
        """Where clients are to be sent."""
        return self.machine.effects.state

    @property
    def reconciling(self) -> bool:
        """Whether something is not published yet, or neither acknowledged nor refused by the active Envoy."""
        active, ports = self.machine.failover.connected, self.machine.ports
        if self._wanted != self._published or active is None:
            return self._wanted != self._published
        answered = self._ads.acknowledged_by(active) | self._ads.rejected.keys()
        return any(not needs <= answered for name, needs in self.rendering.dependencies.items() if name in ports)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._started.wait()
        async with self._probing.running(), asyncio.TaskGroup() as group:
            group.create_task(self._publish_always())
            group.create_task(self._advance_always())

    async def _publish_always(self) -> None:
        while True:
            await self._publish_again.wait()
            self._publish_again.clear()
            await self._publish()
            self._advance()

    async def _publish(self) -> None:
        """Give every Envoy what is wanted and what draining listeners need, as far as there is room. The machine hears
        of it when acknowledgements are of that.
        """
        machine = self.machine
        while self.rendering.behind:
            self.rendering.advance(UNITS)
            await asyncio.sleep(PAUSE_SECONDS)
        wanted, (resources, needs) = self._wanted, self.rendering.configuration
        machine.connect(self._acknowledged(), self._clock())
        self._rooms = machine.connected
        ports = machine.assign(needs, self._clock())
        kept = machine.readiness.retained(needs)
        self._resources = {**{name: value for name, value in self._resources.items() if name in kept}, **resources}
        listed = {
            name: value
            for name, value in self._resources.items()
            if name.kind is not ResourceType.LISTENER or name.name in ports
        }
        await self._ads.publish(listed, ports)
        machine.want(needs, self._clock())
        self._published = wanted

    async def _advance_always(self) -> None:
        while True:
            deadline = self.machine.effects.deadline
            try:
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                    await self._wake.wait()
            except TimeoutError:
                # A listener's time is over, or a port has rested.
                self._publish_again.set()
            else:
                await asyncio.sleep(COALESCE_SECONDS)
                self._wake.clear()
            self._advance()

    def _advance(self) -> None:
        """What follows from what happened."""
        before = self.state
        self.machine.connect(self._acknowledged(), self._clock())
        effects = self.machine.advance()
        self._probing.want(effects.probes)
        if self.machine.connected != self._rooms:
            self._publish_again.set()
        if effects.state == before:
            return
        if effects.state.active != before.active and before.active:
            log.info("the waypoint moves", extra={"to": str(effects.state.active), "was": str(before.active)})
        if effects.state.lost and not before.lost:
            log.error("the waypoint is lost; each service's policy applies")
        self._changed()

    def _probed(self, probe: Probe, accepted: bool | None) -> None:
        """A probe has an answer; many that come together are one pass."""
        if self.machine.answer(probe, accepted):
            self.wake()

    def _acknowledged(self) -> dict[Envoy, frozenset[ResourceName]]:
        return {envoy: self._ads.acknowledged_by(envoy) for envoy in self._ads.envoys}
