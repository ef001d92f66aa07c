"""The loop of the datapath: changes come in, the plan is brought up to date, and the kernel's tables follow.

Nothing here decides what should be; that is `translate`. Nothing here touches a kernel or a socket; that is done by
what it is composed of. It owns the order of things: nothing is written before every source has said all it knows, and
who may connect to waypoints is written before Envoys hear of it. What Envoys do is the waypoint's controller's: its
latest state is what the tables follow.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

from agent.datapath.datapath import Applied, Datapath
from agent.datapath.driver import BackendsRemoved
from agent.ir.plan import Fragment, FrontendName
from agent.ir.waypoint_state import WaypointState
from agent.model.change import Change, Synced
from agent.node.change_queue import Changed, Intake, Translator
from agent.node.failure_log import FailureLog
from agent.node.turn import Turn
from agent.waypoint.controller import Ads, WaypointController
from agent.waypoint.probing import Prober
from agent.waypoint.rendering import Rendering
from agent.waypoint.state_machine import WaypointStateMachine

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
COALESCE_SECONDS = 0.01


class Effects(Prober, Protocol):
    """What the loop has done by others."""

    def attach(self) -> list[str] | None:
        """Have the programs run; the names of those that did not. None while there are no pods' cgroups to attach to.
        Raises `OSError`.
        """

    def backends_removed(self, frontends: list[BackendsRemoved]) -> None:
        """Look after the sockets of frontends that lost backends."""


class PassMetrics(Protocol):
    """Who is told what the loop did."""

    def applied(self, writes: int, seconds: float) -> None:
        """One pass wrote this many rows."""

    def drifted(self, rows: int) -> None:
        """An audit found this many rows that were not as written."""


class Core:
    """The state of one agent, and the loop over it."""

    def __init__(
        self,
        translator: Translator,
        rendering: Rendering,
        datapath: Datapath,
        ads: Ads,
        effects: Effects,
        metrics: PassMetrics,
        audit_seconds: float,
    ) -> None:
        self.intake = Intake(translator)
        self.rendering = rendering
        self.datapath = datapath
        self._effects = effects
        self._metrics = metrics
        self._audit_seconds = audit_seconds
        self.drift = 0
        self._clock = asyncio.get_running_loop().time
        self.waypoint = WaypointController(ads, rendering, effects, self._clock, self.wake)
        self._failure_log = FailureLog()
        # Units that the waypoint's controller has not got yet, each with its fragment before and now.
        self._unpublished: dict[Any, tuple[Fragment, Fragment]] = {}
        self._written = WaypointState()
        self._turn = Turn(self._clock)
        self._awaited: set[str] = set()
        self._wake = asyncio.Event()
        self._adopted = self._attached = False
        self._unsure = self._in_pass = False

    @property
    def synced(self) -> bool:
        """Whether every source has said all that it knows."""
        return not self._awaited

    @property
    def ready(self) -> bool:
        """Whether the kernel is as it should be, but for what does not fit."""
        return self._attached and self.datapath.pending == 0

    @property
    def reconciling(self) -> bool:
        """Whether changes are on their way to the kernel or to Envoy."""
        return self._in_pass or self._wake.is_set() or self.waypoint.reconciling

    @property
    def machine(self) -> WaypointStateMachine:
        """The state of the node's waypoint."""
        return self.waypoint.machine

    @property
    def failures(self) -> dict[str, str]:
        """What does not fit into the kernel's tables or the waypoint, by name with the reason."""
        return self.machine.without_room | self.datapath.failures

    def wake(self) -> None:
        """Something outside changed: look at everything again, soon."""
        self._wake.set()

    async def follow(self, name: str, batches: AsyncIterator[list[Change]]) -> None:
        """Take in what a source says. A source has to be followed before `run`, which waits for its `Synced`."""
        self._awaited.add(name)
        async for batch in batches:
            self.intake.put(batch)
            self._enrol()
            self._awaited -= {change.source for change in batch if isinstance(change, Synced)}
            self.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.waypoint.run())
            group.create_task(self._run())

    async def _run(self) -> None:
        audit_at = self._clock() + self._audit_seconds
        while True:
            await self._sleep(max(0.0, self._next_pass(audit_at) - self._clock()))
            self._in_pass = True
            try:
                await self._step()
                if self._clock() >= audit_at:
                    audit_at = self._clock() + self._audit_seconds
                    await self._audit()
            except OSError as error:
                self._doubt(error)
            finally:
                self._in_pass = False

    def _next_pass(self, audit_at: float) -> float:
        """When the next pass is due although nothing happens."""
        if self._unsure or (self._adopted and (self.datapath.pending or not self._attached)):
            return self._clock() + RETRY_SECONDS
        ends = self.datapath.retry_at, self.intake.departures.next_end
        return min([audit_at, *filter(None, ends)])

    async def _sleep(self, seconds: float) -> None:
        """Wait for a wake-up or the time; then a moment more, so that changes which come together go together."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(COALESCE_SECONDS)
        self._wake.clear()

    async def _step(self) -> None:
        """One pass: changes, plan, Envoy, kernel. The programs come last, when their tables are full."""
        self._turn.begin()
        self._enrol()
        while self.intake.behind:
            self.intake.advance()
            await self._turn.others()
        if not self.synced:
            return
        if not self._adopted:
            self._start()
        else:
            await self._want(self.intake.take_changed())
        if self._unsure:
            self.datapath.adopt()
            self._unsure = False
        self._admit()
        self._publish()
        await self._follow()
        self._attach()
        self._failure_log.show(self.failures)

    async def _follow(self) -> None:
        """Bring the kernel in step with the waypoint's latest state, and report where clients are sent to since."""
        state = self.waypoint.state
        self.datapath.follow(state)
        moved = self.intake.know_waypoints(state.addresses)
        if await self._apply() or state != self._written:
            self._written = state
            self.waypoint.send_to(self.datapath.sent_to, state)
        if moved:  # other addresses may be endpoints
            self.wake()

    def _enrol(self) -> None:
        """Write the rows of new pods at once, whatever a pass is about: their frontends do not depend on them."""
        began = self._clock()
        if not self.intake.enrol(began) or not self._adopted:
            return
        self.datapath.want_pods(self.intake.pods)
        try:
            written = self.datapath.enrol()
        except OSError as error:
            self._doubt(error)
        else:
            if written:
                self._tell(written, began)

    def _doubt(self, error: OSError) -> None:
        """What the kernel has is unknown: read it before the next pass."""
        log.warning("kernel tables could not be used, trying again", extra={"error": str(error)})
        self._unsure = True

    def _start(self) -> None:
        """Everything is known: take over what an earlier agent left in the kernel."""
        inherited = self.datapath.inherit()
        self.intake.adopt(inherited.enrolled_pods, self._clock())
        self.intake.take_changed()
        self._collect({unit: (Fragment(), fragment) for unit, fragment in self.intake.fragments.items()})
        frontends = {name: plan for item in self.intake.fragments.values() for name, plan in item.frontends.items()}
        adopted = self.datapath.take_over(inherited, frontends, self.intake.pods, self.intake.clients)
        self.waypoint.start(adopted)
        self._adopted = True
        log.info("synced", extra={"frontends": len(frontends), "adopted": len(self.datapath.installed)})

    async def _want(self, changed: Changed) -> None:
        """Tell the datapath what changed. A frontend can move from one unit to another: deletes look at all."""
        self._collect(changed)
        deletes: set[FrontendName] = set()
        for old, new in changed.values():
            upserts = {name: plan for name, plan in new.frontends.items() if old.frontends.get(name) != plan}
            self.datapath.want_frontends(upserts, ())
            deletes |= old.frontends.keys() - new.frontends.keys()
            await self._turn.others()
        fragments = self.intake.fragments.values()
        still = {name for item in fragments for name in item.frontends} if deletes else set()
        self.datapath.want_frontends({}, deletes - still)
        if any(old.pods != new.pods for old, new in changed.values()):
            self.datapath.want_pods(self.intake.pods)
        if any(old.clients != new.clients for old, new in changed.values()):
            self.datapath.want_clients(self.intake.clients)

    def _admit(self) -> None:
        """Write who may connect to waypoints. Before Envoy hears of it: a client needs the word of both."""
        began = self._clock()
        if written := self.datapath.admit():
            self._tell(written, began)

    def _collect(self, changed: Changed) -> None:
        """Keep units that changed until the waypoint's controller gets them."""
        for unit, (old, new) in changed.items():
            self._unpublished[unit] = self._unpublished.get(unit, (old, new))[0], new

    def _publish(self) -> None:
        """Give the waypoint's controller what changed, all at once, after the client allow-list is written."""
        self.waypoint.want(self._unpublished)
        self._unpublished = {}

    async def _apply(self) -> bool:
        """Write what is pending; whether anything was written."""
        if not self.datapath.pending and not self.datapath.retry_due:
            return False
        began = self._clock()
        done = Applied()
        for _ in self.datapath.applying(done):
            await self._turn.others()
        self._effects.backends_removed(done.backends_removed)
        self._tell(done.writes, began)
        return done.writes > 0

    def _tell(self, writes: int, began: float) -> None:
        """Say what was written since then."""
        seconds = self._clock() - began
        self._metrics.applied(writes, seconds)
        if writes:
            log.info("applied", extra={"writes": writes, "ms": round(seconds * 1000, 1)})

    def _attach(self) -> None:
        """Have the programs run, now that their tables are full; later, where somebody else took them away."""
        names = self._effects.attach()
        if names and self._attached:
            log.warning("programs did not run, attached them again", extra={"programs": len(names)})
            self._metrics.drifted(len(names))
        self._attached = names is not None

    async def _audit(self) -> None:
        """Compare the kernel with what was written to it, and heal the difference."""
        frontends = await asyncio.to_thread(self.datapath.frontend_drift)
        found = self.datapath.drift(frontends)
        self.drift = len(found)
        self._metrics.drifted(len(found))
        if found:
            parts = {"pods": len(found.pods), "frontends": len(found.frontends), "clients": len(found.clients)}
            parts["config"] = int(found.configuration)
            log.warning("drift found, healing it", extra=parts)
            self.datapath.adopt()
            self._admit()
            await self._apply()
