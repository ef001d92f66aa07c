"""The loop that brings the kernel's maps in step with the plan and with the waypoint's state.

It decides neither what is desired (`translate` does) nor how rows are written (`Datapath` does). It decides the order:
nothing is written before every source has synced, and the client allow-list is written before Envoy gets the
configuration. `WaypointController` controls the Envoys; the maps follow its latest state.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from agent.datapath.datapath import Applied, Datapath
from agent.ir.plan import FrontendName, Output
from agent.ir.waypoint_state import WaypointState
from agent.model.change import Change, Synced
from agent.node.change_queue import Changed, ChangeQueue
from agent.node.effects import Effects, PassMetrics
from agent.node.failure_log import FailureLog
from agent.node.time_slice import TimeSlice
from agent.translate.incremental import Unit
from agent.waypoint.controller import Ads, WaypointController
from agent.waypoint.rendering import Rendering
from agent.waypoint.state_machine import WaypointStateMachine

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
COALESCE_SECONDS = 0.01
# So many changes are queued before other tasks run.
AT_ONCE = 500


class DatapathController:
    """The state of one agent, and the loop that reconciles it."""

    def __init__(
        self,
        change_queue: ChangeQueue,
        rendering: Rendering,
        datapath: Datapath,
        ads: Ads,
        effects: Effects,
        metrics: PassMetrics,
        audit_seconds: float,
    ) -> None:
        self.change_queue = change_queue
        self.rendering = rendering
        self.datapath = datapath
        self._effects = effects
        self._metrics = metrics
        self._audit_seconds = audit_seconds
        self.drift = 0
        self._clock = asyncio.get_running_loop().time
        self.waypoint = WaypointController(ads, rendering, effects, self._clock, self.wake, effects.clients_revoked)
        self._failure_log = FailureLog()
        # Units not yet published to the waypoint's controller, each with its output before and now.
        self._unpublished: dict[Unit, tuple[Output, Output]] = {}
        self._written = WaypointState()
        self._slice = TimeSlice(self._clock)
        self._unsynced: set[str] = set()
        self._wake = asyncio.Event()
        self._adopted = self._attached = False
        self._resync_needed = self._in_pass = False

    @property
    def synced(self) -> bool:
        """Whether every source has sent all objects that it has."""
        return not self._unsynced

    @property
    def ready(self) -> bool:
        """Whether the kernel has everything that fits into its maps."""
        return self._attached and self.datapath.pending == 0

    @property
    def reconciling(self) -> bool:
        """Whether changes are on their way to the kernel or to Envoy."""
        return self._in_pass or self._resync_needed or self._wake.is_set() or self.waypoint.reconciling

    @property
    def machine(self) -> WaypointStateMachine:
        """The state machine of the node's waypoint."""
        return self.waypoint.machine

    @property
    def failures(self) -> dict[str, str]:
        """What the kernel's maps or the waypoint's quota reject, by name with the reason."""
        return {**self.machine.rejected_listeners, **self.rendering.rejected_listeners, **self.datapath.failures}

    def wake(self) -> None:
        """Start a pass soon: something outside changed."""
        self._wake.set()

    async def follow(self, name: str, batches: AsyncIterator[list[Change]]) -> None:
        """Queue the changes of a source. This has to start before `run`, which waits for the source's `Synced`."""
        self._unsynced.add(name)
        async for batch in batches:
            for start in range(0, len(batch), AT_ONCE):
                part = batch[start : start + AT_ONCE]
                self.change_queue.put(part)
                self._enrol()
                self._unsynced -= {change.source for change in part if isinstance(change, Synced)}
                self.wake()
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Reconcile until cancelled."""
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
                self._request_resync(error)
            finally:
                self._in_pass = False

    def _next_pass(self, audit_at: float) -> float:
        """The time of the next pass if nothing happens until then."""
        if self._resync_needed or (self._adopted and (self.datapath.pending or not self._attached)):
            return self._clock() + RETRY_SECONDS
        ends = self.datapath.retry_at, self.change_queue.departures.next_end
        return min([audit_at, *filter(None, ends)])

    async def _sleep(self, seconds: float) -> None:
        """Wait for a wake-up or the time. After a wake-up wait a moment more, so that changes that arrive together
        share a pass.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(COALESCE_SECONDS)
        self._wake.clear()

    async def _step(self) -> None:
        """One pass: changes, plan, Envoy, kernel. The programs are attached last, when their maps are filled."""
        self._slice.begin()
        self._enrol()
        while self.change_queue.has_pending:
            self.change_queue.advance()
            await self._slice.yield_if_over()
        if not self.synced:
            return
        if not self._adopted:
            self._start()
        else:
            await self._want(self.change_queue.pop_changed())
        if self._resync_needed:
            self.datapath.adopt()
            self._resync_needed = False
        self._write_allow_list()
        self._publish()
        await self._follow()
        self._attach()
        self._failure_log.show(self.failures)

    async def _follow(self) -> None:
        """Bring the kernel in step with the waypoint's latest state, and report where clients are sent since then."""
        state = self.waypoint.state
        self.datapath.follow(state)
        moved = self.change_queue.set_waypoints(state.addresses)
        if await self._apply() or state != self._written:
            self._written = state
            self.waypoint.send_to(self.datapath.sent_to, state)
        if moved:  # addresses that moved may be endpoints
            self.wake()

    def _enrol(self) -> None:
        """Write the rows of new pods at once, in the middle of any pass: a pod's row does not depend on frontends."""
        began = self._clock()
        if not self.change_queue.enrol(began) or not self._adopted:
            return
        self.change_queue.keep_parameters()
        self.datapath.want_pods(self.change_queue.pods)
        try:
            written = self.datapath.enrol()
        except OSError as error:
            self._request_resync(error)
        else:
            if written:
                self._record_writes(written, began)

    def _request_resync(self, error: OSError) -> None:
        """The state of the kernel's maps is unknown: read them again before the next pass."""
        log.warning("kernel maps not written, trying again", extra={"error": str(error)})
        self._resync_needed = True

    def _start(self) -> None:
        """Every source has synced: take over what an earlier agent left in the kernel."""
        inherited = self.datapath.inherit()
        self.change_queue.adopt(inherited.enrolled_pods, self._clock())
        self.change_queue.pop_changed()
        outputs = self.change_queue.outputs
        for unit, output in outputs.items():
            self._collect(unit, Output(), output)
        frontends = {name: plan for item in outputs.values() for name, plan in item.frontends.items()}
        adopted = self.datapath.take_over(inherited, frontends, self.change_queue.pods, self.change_queue.clients)
        self.waypoint.start(adopted)
        self._adopted = True
        self.change_queue.keep_parameters()
        log.info("synced", extra={"frontends": len(frontends), "adopted": len(self.datapath.installed)})

    async def _want(self, changed: Changed) -> None:
        """Pass changes to the datapath. A frontend can move between units: deletes look at all outputs."""
        deletes: set[FrontendName] = set()
        for unit, (old, new) in changed.items():
            self._collect(unit, old, new)
            upserts = {name: plan for name, plan in new.frontends.items() if old.frontends.get(name) != plan}
            self.datapath.want_frontends(upserts, ())
            deletes |= old.frontends.keys() - new.frontends.keys()
            await self._slice.yield_if_over()
        for output in list(self.change_queue.outputs.values()) if deletes else ():
            deletes.difference_update(output.frontends)
            await self._slice.yield_if_over()
        for name in deletes:
            self.datapath.want_frontends({}, (name,))
            await self._slice.yield_if_over()
        if any(old.pods != new.pods for old, new in changed.values()):
            self.datapath.want_pods(self.change_queue.pods)
        if any(old.clients != new.clients for old, new in changed.values()):
            self.datapath.want_clients(self.change_queue.clients)

    def _write_allow_list(self) -> None:
        """Write the waypoints' client allow-list. Envoy gets its own list later; a client has to be on both."""
        began = self._clock()
        if written := self.datapath.write_allow_list():
            self._record_writes(written, began)

    def _collect(self, unit: Unit, old: Output, new: Output) -> None:
        """Keep a changed unit until it is published to the waypoint's controller."""
        self._unpublished[unit] = self._unpublished.get(unit, (old, new))[0], new

    def _publish(self) -> None:
        """Publish the changes to the waypoint's controller in one step, after the client allow-list was written."""
        self.waypoint.want(self._unpublished)
        self._unpublished = {}

    async def _apply(self) -> bool:
        """Write what is pending. Returns whether anything was written."""
        if not self.datapath.pending and not self.datapath.retry_due:
            return False
        began = self._clock()
        done = Applied()
        for _ in self.datapath.applying(done):
            await self._slice.yield_if_over()
        self._effects.backends_removed(done.backends_removed)
        self._record_writes(done.writes, began)
        return done.writes > 0

    def _record_writes(self, writes: int, began: float) -> None:
        """Record a write in the metrics and the log."""
        seconds = self._clock() - began
        self._metrics.applied(writes, seconds)
        if writes:
            log.info("applied", extra={"writes": writes, "ms": round(seconds * 1000, 1)})

    def _attach(self) -> None:
        """Attach the programs, now that their maps are filled; in later passes those that were detached since."""
        names = self._effects.attach()
        if names and self._attached:
            log.warning("programs were detached, attached them again", extra={"programs": len(names)})
            self._metrics.drifted(len(names))
        self._attached = names is not None

    async def _audit(self) -> None:
        """Compare the kernel's maps with what was written, and repair differences."""
        frontends = await asyncio.to_thread(self.datapath.frontend_drift)
        found = self.datapath.drift(frontends)
        self.drift = len(found)
        self._metrics.drifted(len(found))
        if found:
            parts = {"pods": len(found.pods), "frontends": len(found.frontends), "clients": len(found.clients)}
            parts["config"] = int(found.configuration)
            log.warning("drift found, repairing it", extra=parts)
            self.datapath.adopt()
            self._write_allow_list()
            await self._apply()
