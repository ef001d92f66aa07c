"""Brings the tables of the kernel in line with the plan: it writes changes, retries failures and audits all rows.

An object that does not fit in a table, or whose namespace may not have more of it, is not pending: `failures` names it.
It is retried when it changes, or when space was freed and its quarantine is over.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.budget import Budget
from agent.datapath.adoption import Inherited, adopted, sent_to
from agent.datapath.allocate import FullError, QuarantinedError
from agent.datapath.allow_list import AllowList
from agent.datapath.backend_removals import BackendRemovals
from agent.datapath.charges import connection_budget
from agent.datapath.diff import Diff, diff
from agent.datapath.drift import Drift
from agent.datapath.driver import BackendsRemoved, Kernel
from agent.datapath.frontends import Frontends, Installed, frontend_key, read
from agent.datapath.pods import Pods
from agent.datapath.rejected_frontends import RejectedFrontends
from agent.ir.plan import NAME_ORDER, FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import KEY_ORDER, OTHER_WAYPOINTS, Config, FrontendKey
from agent.ir.waypoint_state import Adopted, PortFamily, WaypointState


@dataclass(slots=True)
class Applied:
    """The result of one pass: rows written, and the frontends that lost backends."""

    writes: int = 0
    backends_removed: list[BackendsRemoved] = field(default_factory=list)


class Datapath:
    """The desired pods and frontends, and their reconciliation with the kernel."""

    def __init__(self, kernel: Kernel, config: Config, clock: Callable[[], float], own: Iterable[str] = ()) -> None:
        """`own` are the addresses of this agent, from which it probes waypoint listeners."""
        self._kernel = kernel
        self._config = config
        self._clock = clock
        self._frontends = Frontends(kernel, clock)
        self._pods = Pods(kernel.pods)
        self._clients = AllowList(kernel.clients, own)
        self.desired: dict[FrontendName, FrontendPlan] = {}
        self._dirty: set[FrontendName] = set()
        self._stale: set[FrontendKey] = set()
        self._full = RejectedFrontends(clock)
        self._removals = BackendRemovals()
        self._waypoint = WaypointState()

    def inherit(self) -> Inherited:
        """Read the state that an earlier agent left in the kernel. Called first. Raises `OSError`."""
        former = self._kernel.configuration()
        active, others = former.waypoints()
        if active:
            self._config = self._config.with_waypoints(active, others, former.waypoint_connections)
        self.adopt()
        return Inherited(active, tuple(others), tuple(self._pods.enrolled))

    def take_over(
        self,
        inherited: Inherited,
        frontends: Mapping[FrontendName, FrontendPlan],
        pods: Mapping[int, PodPlan],
        clients: Iterable[str],
    ) -> Adopted:
        """Set everything that is desired, over the inherited state."""
        self.want_frontends(frontends, ())
        self._frontends.assign(self.desired)
        self.want_pods(pods)
        self.want_clients(clients)
        self._waypoint = WaypointState(active=inherited.active, others=inherited.others)
        return adopted(inherited, self.desired, self.installed)

    def adopt(self) -> None:
        """Read the tables; everything desired is compared with them again. Raises `OSError`."""
        if self._kernel.configuration() != self._config:
            self._kernel.configure(self._config)
        self._frontends.adopt()
        self._frontends.assign(self.desired)
        self._pods.adopt()
        self._clients.adopt()
        self._dirty = set(self.desired)
        self._stale = self._frontends.installed.keys() - {frontend_key(name) for name in self.desired}
        for key in self._frontends.installed:
            self._removals.note((key.protocol, (key.address, key.port)))

    @property
    def waypoints(self) -> tuple[str, ...]:
        """Addresses of the Envoys of the node in `weft_config`, the active one first."""
        active, others = self._config.waypoints()
        return (*active, *others)

    def follow(self, waypoint: WaypointState) -> None:
        """Set the state of the waypoint; the next pass writes the consequences."""
        changed, self._waypoint = waypoint.changed_listeners(self._waypoint), waypoint
        if changed:
            self._dirty.update(name for name, plan in self.desired.items() if plan.listener in changed)

    @property
    def installed(self) -> Mapping[FrontendKey, Installed]:
        """Frontends as last written or read."""
        return self._frontends.installed

    @property
    def sent_to(self) -> frozenset[PortFamily]:
        """Ports of the waypoint to which clients are sent now."""
        return sent_to(self.installed)

    @property
    def unprotected(self) -> dict[str, str]:
        """Waypoints that pods can dial because `weft_config` has no room for them: name → reason."""
        reason = f"weft_config has room for {OTHER_WAYPOINTS} other waypoints: pods can dial it"
        return {f"waypoint {address}": reason for address in self._waypoint.others[OTHER_WAYPOINTS:]}

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        return {"pods": self._pods.fill, "clients": self._clients.fill, **self._frontends.fill}

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of what namespaces share in the kernel's tables."""
        return self._frontends.budgets

    @property
    def connections(self) -> Budget:
        """The budget of connections to the waypoint, as the programs have counted them. Raises `OSError`."""
        return connection_budget(self._config, self._kernel.connections(), self._pods.desired.values())

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """The number of frontends that a budget refuses, by resource and namespace."""
        return self._full.refused

    @property
    def desired_pods(self) -> dict[int, PodPlan]:
        """The desired pods by cgroup id."""
        return self._pods.desired

    def want_pods(self, pods: Mapping[int, PodPlan]) -> None:
        """Replace the desired pods."""
        self._pods.desired = dict(pods)

    def want_clients(self, addresses: Iterable[str]) -> None:
        """Replace the clients that may connect to waypoints, as many as fit."""
        self._clients.want(addresses)

    def write_allow_list(self) -> int:
        """Write the client allow-list; returns the number of rows written. Raises `OSError` as `apply` does."""
        return self._clients.write()

    def want_frontends(self, upserts: Mapping[FrontendName, FrontendPlan], deletes: Iterable[FrontendName]) -> None:
        """Change the desired frontends."""
        for name in deletes:
            if self.desired.pop(name, None) is not None:
                self._dirty.discard(name)
                self._full.discard(name)
                self._stale.add(frontend_key(name))
                self._removals.change(name, None)
        for name, plan in upserts.items():
            self.desired[name] = plan
            self._removals.change(name, plan)
            self._dirty.add(name)
            self._stale.discard(frontend_key(name))

    @property
    def pending(self) -> int:
        """Frontends and pods whose rows are not written yet, without those that do not fit."""
        return len(self._dirty) + len(self._stale) + self._pods.pending + (self._wanted_config() != self._config)

    @property
    def rejected_rows(self) -> dict[str, int]:
        """The number of objects that do not fit, by table."""
        pods, clients = len(self._pods.rejected), len(self._clients.rejected)
        return {"frontends": len(self._full), "pods": pods, "clients": clients, "config": len(self.unprotected)}

    @property
    def failures(self) -> dict[str, str]:
        """Objects that do not fit: name → reason."""
        return {**self._full.texts, **self._pods.failures, **self._clients.failures, **self.unprotected}

    def apply(self, waypoint: WaypointState) -> Applied:
        """Write what is pending, with the waypoint in this state. Raises `OSError`: call `adopt`, then retry.

        Rows of pods that left are deleted first and rows of new pods written last, except those that `enrol` wrote
        before.
        """
        self.follow(waypoint)
        done = Applied()
        for _ in self.applying(done):
            pass
        return done

    def applying(self, done: Applied) -> Iterator[None]:
        """The same in small steps, added up in `done`. Between steps the caller may change and enrol pods.

        Before the waypoint's address changes, frontends leave the old one whose listener is unavailable or not ready
        at the new one, and frontends that are not wanted are removed.
        """
        waypoint = self._waypoint
        done.writes += self._pods.remove()
        moves = self._config.waypoints()[0] != waypoint.active
        if moves:
            # What does not fit may still be sent to the old address.
            self._dirty |= self._full.names
        leaving: list[FrontendName] = []
        staying: list[FrontendName] = []
        for name in self._names():
            (leaving if self._leaves(name, moves) else staying).append(name)
            yield
        for name in leaving:
            self._install(name, waypoint, done, leaves=True)
            yield
        yield from self._remove_stale(done)
        self._move()
        for name in staying:
            self._install(name, waypoint, done, leaves=moves)
            yield
        self._full.plan_retry(self._frontends.frees)
        done.writes += self.enrol()
        done.backends_removed = self._removals.take(self._dirty | self._full.names)

    def _remove_stale(self, done: Applied) -> Iterator[None]:
        for key in sorted(self._stale, key=KEY_ORDER):
            if key in self._frontends.installed:
                self._frontends.remove(key)
                done.writes += 1
            self._stale.discard(key)
            yield

    def enrol(self) -> int:
        """Write the desired pods, as many as fit; returns the number of rows. Raises `OSError` as `apply` does."""
        return self._pods.write()

    def frontend_drift(self) -> Diff[FrontendKey, Installed]:
        """Compare the frontends in the kernel with those last written; thousands take a third of a second. It may run
        in a thread, while only pods are written. Raises `OSError`.
        """
        return diff(self.installed, read(self._kernel))

    def drift(self, frontends: Diff[FrontendKey, Installed]) -> Drift:
        """The drift of all tables, given that of the frontends. Changes nothing. Raises `OSError`."""
        return Drift(self._pods.drift(), frontends, self._clients.drift(), self._kernel.configuration() != self._config)

    def _wanted_config(self) -> Config:
        return self._config.with_waypoints(self._waypoint.active, self._waypoint.others, self._waypoint.connections)

    def _leaves(self, name: FrontendName, moves: bool) -> bool:
        """Whether no client of a frontend may be sent to the waypoint any more when its address `moves`."""
        listener, waypoint = self.desired[name].listener, self._waypoint
        return waypoint.is_unavailable(listener, name.address) or (
            moves and not waypoint.is_ready(listener, name.address)
        )

    def _move(self) -> None:
        """Send new connections for the waypoint to the active address, by one store. Raises `OSError`."""
        config = self._wanted_config()
        if config != self._config:
            self._kernel.configure(config)
            self._config = config

    def _install(self, name: FrontendName, waypoint: WaypointState, done: Applied, *, leaves: bool) -> None:
        """Write one frontend; refuse its clients where it `leaves` the waypoint and does not fit."""
        plan = self.desired[name]
        try:
            done.writes += self._frontends.install(name, plan, waypoint)
        except (FullError, QuarantinedError) as error:
            done.writes += self._frontends.vacate(name, plan)
            if leaves:
                done.writes += self._frontends.interrupt(name)
            if isinstance(error, QuarantinedError):
                return
            self._full.add(name, error)
        else:
            self._full.discard(name)
        self._dirty.discard(name)

    @property
    def retry_at(self) -> float | None:
        """The time of the next attempt with objects that did not fit."""
        return self._full.retry_at

    @property
    def retry_due(self) -> bool:
        """Whether objects that did not fit are due for another attempt."""
        return self._full.due

    def _names(self) -> list[FrontendName]:
        """The frontends of this pass. What changed comes before what did not fit, and small arrays come before large
        ones, so that no namespace's many or large arrays delay the changes of others.
        """
        found = []
        for names in (self._dirty, self._full.take_due(self.budgets) - self._dirty):
            found += sorted(sorted(names, key=NAME_ORDER), key=lambda name: len(self.desired[name].slots))
        return found
