"""Brings the tables of the kernel in line with the plan: it writes changes, retries failures and audits all rows.

An object that does not fit in a table is not pending: `failures` names it. It is retried when it changes, or when space
was freed and its quarantine is over.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import filterfalse
from operator import attrgetter

from agent.datapath.adoption import Inherited, adopted, sent_to
from agent.datapath.allocate import QUARANTINE_SECONDS, FullError, QuarantinedError
from agent.datapath.allow_list import AllowList
from agent.datapath.backend_removals import BackendRemovals
from agent.datapath.diff import Diff, diff
from agent.datapath.drift import Drift
from agent.datapath.driver import BackendsRemoved, Kernel
from agent.datapath.frontends import Frontends, Installed, frontend_key, read
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import OTHER_WAYPOINTS, Config, FrontendKey, Mode, PodRow
from agent.ir.waypoint_state import Adopted, PortFamily, WaypointState

# The order of `FrontendName`; as a sort key it is ten times faster for thousands of names.
_ORDER = attrgetter("address", "port", "protocol", "consumer")


@dataclass(slots=True)
class Applied:
    """The result of one pass: rows written, and the frontends that lost backends."""

    writes: int = 0
    backends_removed: list[BackendsRemoved] = field(default_factory=list)


def pod_row(plan: PodPlan) -> PodRow:
    """The row of a pod."""
    return PodRow(name_id(plan.namespace), plan.mode, plan.flags, plan.workload.id)


class Datapath:
    """The desired pods and frontends, and their reconciliation with the kernel."""

    def __init__(self, kernel: Kernel, config: Config, clock: Callable[[], float], own: Iterable[str] = ()) -> None:
        """`own` are the addresses of this agent, from which it probes waypoint listeners."""
        self._kernel = kernel
        self._config = config
        self._clock = clock
        self._frontends = Frontends(kernel, clock)
        self._pods: dict[int, PodRow] = {}
        self._clients = AllowList(kernel.clients, own)
        self.desired_pods: dict[int, PodPlan] = {}
        self.desired: dict[FrontendName, FrontendPlan] = {}
        self._dirty: set[FrontendName] = set()
        self._stale: set[FrontendKey] = set()
        # Frontends that did not fit with the reason, the count of frees at the last check, and the time of the next
        # attempt.
        self._full: dict[FrontendName, str] = {}
        self._frees = 0
        self.retry_at: float | None = None
        self._pods_without_row: set[int] = set()
        self._removals = BackendRemovals()
        self._waypoint = WaypointState()

    def inherit(self) -> Inherited:
        """Read the state that an earlier agent left in the kernel. Called first. Raises `OSError`."""
        active, others = self._kernel.configuration().waypoints()
        if active:
            self._config = self._config.with_waypoints(active, others)
        self.adopt()
        enrolled = [cgroup for cgroup, row in self._pods.items() if row.mode is not Mode.NONE]
        return Inherited(active, tuple(others), tuple(enrolled))

    def take_over(
        self,
        inherited: Inherited,
        frontends: Mapping[FrontendName, FrontendPlan],
        pods: Mapping[int, PodPlan],
        clients: Iterable[str],
    ) -> Adopted:
        """Set everything that is desired, over the inherited state."""
        self.want_frontends(frontends, ())
        self.want_pods(pods)
        self.want_clients(clients)
        self._waypoint = WaypointState(active=inherited.active, others=inherited.others)
        return adopted(inherited, self.desired, self.installed)

    def adopt(self) -> None:
        """Read the tables; everything desired is compared with them again. Raises `OSError`."""
        if self._kernel.configuration() != self._config:
            self._kernel.configure(self._config)
        self._frontends.adopt()
        self._pods = self._kernel.pods.load()
        self._clients.adopt()
        self._pods_without_row = set()
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
        pods = len(self._pods), self._kernel.pods.capacity
        return {"pods": pods, "clients": self._clients.fill, **self._frontends.fill}

    def want_pods(self, pods: Mapping[int, PodPlan]) -> None:
        """Replace the desired pods."""
        self.desired_pods = dict(pods)

    def want_clients(self, addresses: Iterable[str]) -> None:
        """Replace the clients that may connect to waypoints, as many as fit."""
        self._clients.want(addresses)

    def admit(self) -> int:
        """Write the client allow-list; returns the number of rows written. Raises `OSError` as `apply` does."""
        return self._clients.write()

    def want_frontends(self, upserts: Mapping[FrontendName, FrontendPlan], deletes: Iterable[FrontendName]) -> None:
        """Change the desired frontends."""
        for name in deletes:
            if self.desired.pop(name, None) is not None:
                self._dirty.discard(name)
                self._full.pop(name, None)
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
        pods = self._pod_change()
        pods_left = len(pods) - len(pods.upserts.keys() & self._pods_without_row)
        return len(self._dirty) + len(self._stale) + pods_left + (self._wanted_config() != self._config)

    @property
    def without_room(self) -> dict[str, int]:
        """The number of objects that do not fit, by table."""
        pods = len(self._pods_without_row & self.desired_pods.keys())
        clients = len(self._clients.without_room)
        return {"frontends": len(self._full), "pods": pods, "clients": clients, "config": len(self.unprotected)}

    @property
    def failures(self) -> dict[str, str]:
        """Objects that do not fit: name → reason."""
        pods = (str(self.desired_pods[cgroup].pod) for cgroup in self._pods_without_row & self.desired_pods.keys())
        return {
            **{str(name): text for name, text in self._full.items()},
            **dict.fromkeys(pods, f"no room for more than {self._kernel.pods.capacity} pods"),
            **self._clients.failures,
            **self.unprotected,
        }

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

        Frontends whose listener is unavailable at the new address leave the old one before the address changes.
        """
        waypoint = self._waypoint
        done.writes += self._remove_pods()
        names = sorted(self._dirty | self._take_retry(), key=_ORDER)
        unavailable = {name for name in names if waypoint.is_unavailable(self.desired[name].listener, name.address)}
        for name in (*filter(unavailable.__contains__, names), None, *filterfalse(unavailable.__contains__, names)):
            if name is None:
                self._move()
            else:
                self._install(name, waypoint, done)
            yield
        for key in sorted(self._stale):
            if key in self._frontends.installed:
                self._frontends.remove(key)
                done.writes += 1
            self._stale.discard(key)
            yield
        self._plan_retry()
        done.writes += self.enrol()
        done.backends_removed = self._removals.take(self._dirty | self._full.keys())

    def enrol(self) -> int:
        """Write the desired pods, as many as fit; returns the number of rows. Raises `OSError` as `apply` does."""
        rows = self._pod_change().upserts
        new = [cgroup for cgroup in rows if cgroup not in self._pods]
        self._pods_without_row = set(new[max(0, self._kernel.pods.capacity - len(self._pods)) :])
        rows = {cgroup: row for cgroup, row in rows.items() if cgroup not in self._pods_without_row}
        if rows:
            self._kernel.pods.upsert(rows)
            self._pods = {**self._pods, **rows}
        return len(rows)

    def frontend_drift(self) -> Diff[FrontendKey, Installed]:
        """Compare the frontends in the kernel with those last written. Raises `OSError`.

        Thousands take a third of a second: it may run in a thread, while only pods are written.
        """
        return diff(self.installed, read(self._kernel))

    def drift(self, frontends: Diff[FrontendKey, Installed]) -> Drift:
        """The drift of all tables, given that of the frontends. Changes nothing. Raises `OSError`."""
        pods = diff(self._pods, self._kernel.pods.load())
        return Drift(pods, frontends, self._clients.drift(), self._kernel.configuration() != self._config)

    def _wanted_config(self) -> Config:
        return self._config.with_waypoints(self._waypoint.active, self._waypoint.others)

    def _move(self) -> None:
        """Send new connections for the waypoint to the active address, by one store. Raises `OSError`."""
        config = self._wanted_config()
        if config != self._config:
            self._kernel.configure(config)
            self._config = config

    def _install(self, name: FrontendName, waypoint: WaypointState, done: Applied) -> None:
        plan = self.desired[name]
        try:
            done.writes += self._frontends.install(name, plan, waypoint)
        except (FullError, QuarantinedError) as error:
            if waypoint.is_unavailable(plan.listener, name.address):
                # The address to which its clients are sent may change in this pass.
                done.writes += self._frontends.interrupt(name)
            if isinstance(error, QuarantinedError):
                return
            self._full[name] = str(error)
        else:
            self._full.pop(name, None)
        self._dirty.discard(name)

    @property
    def retry_due(self) -> bool:
        """Whether objects that did not fit are due for another attempt."""
        return self.retry_at is not None and self._clock() >= self.retry_at

    def _take_retry(self) -> set[FrontendName]:
        """The frontends that did not fit, when their next attempt is due."""
        if not self.retry_due:
            return set()
        self.retry_at = None
        return set(self._full)

    def _plan_retry(self) -> None:
        """After space was freed, schedule an attempt at the end of its quarantine: at most one in that time, however
        many changes there are.
        """
        if self._full and self.retry_at is None and self._frees != self._frontends.frees:
            self._frees, self.retry_at = self._frontends.frees, self._clock() + QUARANTINE_SECONDS

    def _pod_change(self) -> Diff[int, PodRow]:
        return diff({cgroup: pod_row(plan) for cgroup, plan in self.desired_pods.items()}, self._pods)

    def _remove_pods(self) -> int:
        gone = self._pod_change().deletes
        if gone:
            self._kernel.pods.delete(gone)
            self._pods = {cgroup: row for cgroup, row in self._pods.items() if cgroup not in set(gone)}
        return len(gone)
