"""Frontends in the kernel: converts plans to rows, actions and slots, and back.

The order of writes keeps readers safe (DESIGN.md §2.3): slots and the service row first, then the two actions, then the
key of the frontend. Of the rows that a program can reach only the actions are edited in place, each by one store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.budget import Budget, charged_namespace
from agent.datapath.allocate import FullError, RangeAllocator
from agent.datapath.charges import Charges
from agent.datapath.driver import Kernel
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName, FrontendPlan, OnLoss
from agent.ir.services import service_name
from agent.ir.tables import (
    ANY_NAMESPACE,
    Action,
    FrontendAction,
    FrontendKey,
    Mode,
    Reason,
    ServiceRow,
    Slot,
    address_bytes,
)
from agent.ir.waypoint_state import WaypointState

CLIENT_MODES = (Mode.L4, Mode.L7)
REJECT_NO_BACKEND = FrontendAction(Action.REJECT, Reason.NO_BACKEND)
REJECT_LOST = FrontendAction(Action.REJECT, Reason.WAYPOINT_LOST)
TO_WAYPOINT = FrontendAction(Action.WAYPOINT)

Actions = tuple[FrontendAction, FrontendAction]


@dataclass(frozen=True, slots=True)
class Installed:
    """A frontend as it is in the kernel. `base` is None where it has no slots."""

    index: int
    service: ServiceRow
    actions: Actions
    base: int | None
    slots: tuple[Slot, ...]


def frontend_key(name: FrontendName) -> FrontendKey:
    """The key of a frontend."""
    namespace = name_id(name.consumer) if name.consumer else ANY_NAMESPACE
    return FrontendKey(namespace, address_bytes(name.address), name.port, name.protocol)


def goes_to_waypoint(plan: FrontendPlan, client: Mode) -> bool:
    """Whether the waypoint serves this client mode: the deeper mode of client and Service decides (DESIGN.md §3)."""
    return plan.listener is not None and max(plan.mode, client) == Mode.L7


def waypoint_action(
    name: FrontendName, plan: FrontendPlan, client: Mode, waypoint: WaypointState, current: FrontendAction | None
) -> FrontendAction | None:
    """The action for clients of a mode that does not forward in the kernel; None where the kernel forwards.

    Until a probe of the listener has succeeded, its traffic stays where it is: at the waypoint (or refused, after a
    loss) when an earlier agent left it there, else in the kernel. The port that clients were sent to may by now belong
    to another listener, so no client is sent there while the listener has no port. Where the waypoint has no address of
    the family of the frontend, the on-loss policy applies once it serves the other family.
    """
    if not goes_to_waypoint(plan, client):
        return None
    if waypoint.is_ready(plan.listener, name.address):
        return TO_WAYPOINT
    has_address = plan.listener in waypoint.ports and waypoint.has_family(name.address)
    astray = current == TO_WAYPOINT and not has_address
    if waypoint.is_unavailable(plan.listener, name.address) or astray:
        return None if plan.on_loss is OnLoss.KERNEL else REJECT_LOST
    return current if current in (TO_WAYPOINT, REJECT_LOST) else None


class Frontends:
    """The frontends of one node: the installed ones, and the allocation of indices and slots."""

    def __init__(self, kernel: Kernel, clock: Callable[[], float]) -> None:
        self._kernel = kernel
        self._clock = clock
        self.installed: dict[FrontendKey, Installed] = {}
        self._indices = RangeAllocator(0)
        self._ranges = RangeAllocator(0)
        self._charges = Charges()
        # The number of frees since the start.
        self.frees = 0

    def adopt(self) -> None:
        """Read the frontends from the kernel, and discard all other state. Raises `OSError`."""
        self.installed = read(self._kernel)
        if overlapping := _overlapping(self.installed):
            self._kernel.frontends.delete(overlapping)
            self.installed = {key: item for key, item in self.installed.items() if key not in overlapping}
        now = self._clock()
        self._indices = RangeAllocator(
            self._kernel.services.capacity, ((item.index, 1) for item in self.installed.values()), now
        )
        used = ((item.base, len(item.slots)) for item in self.installed.values() if item.base is not None)
        self._ranges = RangeAllocator(self._kernel.slots.capacity, used, now)
        lengths = {key: len(item.slots) for key, item in self.installed.items()}
        rows = min(self._kernel.frontends.capacity, self._kernel.services.capacity)
        self._charges = Charges(rows, self._kernel.slots.capacity, lengths)

    def assign(self, plans: Mapping[FrontendName, FrontendPlan]) -> None:
        """Charge the frontends that an earlier agent installed to the namespaces that they are of by these plans."""
        for name, plan in plans.items():
            item = self.installed.get(key := frontend_key(name))
            if item is not None and item.service.service_id == name_id(service_name(plan.service)):
                self._charges.assign(
                    key, charged_namespace(plan.service.namespace, name.consumer), len(item.slots or plan.slots)
                )

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of frontends and of slots."""
        return self._charges.frontends, self._charges.slots

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Rows in use and capacity, by table."""
        return {
            "frontends": (len(self.installed), self._kernel.frontends.capacity),
            "services": (self._indices.used, self._indices.capacity),
            "slots": (self._ranges.used, self._ranges.capacity),
        }

    def install(self, name: FrontendName, plan: FrontendPlan, waypoint: WaypointState) -> bool:
        """Write one frontend; returns whether anything was written. Raises `OSError` and `FullError`, which is
        `OverBudgetError` where its namespace may not have more.

        After an `OSError` the state of the kernel is unknown: call `adopt` before the next attempt.
        """
        key, namespace = frontend_key(name), charged_namespace(plan.service.namespace, name.consumer)
        old = self.installed.get(key)
        current = old.actions if old else (None, None)
        fixed = [
            waypoint_action(name, plan, mode, waypoint, action)
            for mode, action in zip(CLIENT_MODES, current, strict=True)
        ]
        slots = plan.slots if None in fixed else ()
        service = self._service_row(name, plan, old, waypoint)
        self._charges.check(key, namespace, len(slots))
        if (old is None or old.service != service) and self._indices.used == self._indices.capacity:
            # Checked before slots are allocated: freed again, they would be quarantined and not available to others.
            raise FullError(f"no room for more than {self._indices.capacity} frontends")
        base = self._allocate_slots(slots, old, namespace)
        index = self._index(service, old, base, len(slots), namespace)
        kernel = REJECT_NO_BACKEND if base is None else FrontendAction(Action.FORWARD, base, len(slots))
        new = Installed(index, service, (fixed[0] or kernel, fixed[1] or kernel), base, slots)
        if new != old:
            self._write(key, new, old)
        # A frontend at the waypoint keeps the charge for its slots: it needs them when it leaves.
        self._charges.charge(key, namespace, len(slots) or min(len(plan.slots), self._charges.length(key)))
        return new != old

    def interrupt(self, name: FrontendName) -> bool:
        """Refuse the clients that are sent to the waypoint, where their new action does not fit; returns whether
        anything was written. Raises `OSError` as `install` does.
        """
        key = frontend_key(name)
        old = self.installed.get(key)
        if old is None or TO_WAYPOINT not in old.actions:
            return False
        first, second = (REJECT_LOST if action == TO_WAYPOINT else action for action in old.actions)
        self._write(key, replace(old, actions=(first, second)), old)
        return True

    def vacate(self, name: FrontendName, plan: FrontendPlan) -> bool:
        """Remove the frontend if it is another Service's that had this address before, where the new one does not fit;
        returns whether it was removed. Raises `OSError` as `install` does.
        """
        key = frontend_key(name)
        old = self.installed.get(key)
        if old is None or old.service.service_id == name_id(service_name(plan.service)):
            return False
        self.remove(key)
        return True

    def remove(self, key: FrontendKey) -> None:
        """Remove a frontend: its clients are no longer intercepted. Raises `OSError`."""
        self._kernel.frontends.delete([key])
        old = self.installed.pop(key)
        self._free_index(key, old)
        self._free_slots(key, old)
        self._charges.release(key)

    def _allocate_slots(self, slots: tuple[Slot, ...], old: Installed | None, namespace: str) -> int | None:
        """The base of the slots: an existing array is reused, else one is allocated."""
        if not slots:
            return None
        if old and old.slots == slots:
            return old.base
        return self._ranges.allocate(len(slots), self._clock(), namespace)

    def _index(self, service: ServiceRow, old: Installed | None, base: int | None, length: int, namespace: str) -> int:
        """The index: a new one when the service row has to change. On failure a newly allocated slot range is freed."""
        if old and old.service == service:
            return old.index
        try:
            return self._indices.allocate(1, self._clock(), namespace)
        except FullError:
            if base is not None and (old is None or old.base != base):
                self._ranges.free(base, length, self._clock(), namespace)
            raise

    @staticmethod
    def _service_row(
        name: FrontendName, plan: FrontendPlan, old: Installed | None, waypoint: WaypointState
    ) -> ServiceRow:
        """The service row. An existing port is kept without a listener, as no program reads it, and while clients are
        sent there and the listener is not ready: its port may be another one that nobody has probed.
        """
        port = old.service.waypoint_port if old else 0
        stays = old is not None and TO_WAYPOINT in old.actions and not waypoint.is_ready(plan.listener, name.address)
        if plan.listener is not None and not stays:
            port = waypoint.ports.get(plan.listener, port)
        return ServiceRow(name_id(service_name(plan.service)), port, plan.affinity_seconds)

    def _write(self, key: FrontendKey, new: Installed, old: Installed | None) -> None:
        """Write the differences, the rows that programs reach last first. An audit finds rows that a failure leaves
        behind.
        """
        moved = old is None or old.index != new.index
        if new.base is not None and (old is None or old.base != new.base):
            self._kernel.slots.upsert(dict(enumerate(new.slots, new.base)))
        if moved:
            self._kernel.services.upsert({new.index: new.service})
        if moved or (old and old.actions != new.actions):
            self._kernel.actions.upsert({2 * new.index: new.actions[0], 2 * new.index + 1: new.actions[1]})
        if moved:
            self._kernel.frontends.upsert({key: new.index})
        self.installed[key] = new
        if old and moved:
            self._free_index(key, old)
        if old and old.base != new.base:
            self._free_slots(key, old)

    def _free_index(self, key: FrontendKey, old: Installed) -> None:
        self.frees += 1
        self._indices.free(old.index, 1, self._clock(), self._charges.owner(key))

    def _free_slots(self, key: FrontendKey, old: Installed) -> None:
        if old.base is not None:
            self.frees += 1
            self._ranges.free(old.base, len(old.slots), self._clock(), self._charges.owner(key))


def _overlapping(installed: Mapping[FrontendKey, Installed]) -> set[FrontendKey]:
    """Frontends that share an index or slots with another. weft writes no such rows, but may find them.

    Otherwise one frontend would free what the other still uses, and it would be allocated to a third.
    """
    overlapping: set[FrontendKey] = set()
    indices: set[int] = set()
    end = 0
    for key, item in sorted(installed.items(), key=lambda entry: (entry[1].base or 0, entry[0])):
        overlaps = item.base is not None and item.base < end
        if item.index in indices or overlaps:
            overlapping.add(key)
            continue
        indices.add(item.index)
        end = end if item.base is None else item.base + len(item.slots)
    return overlapping


def read(kernel: Kernel) -> dict[FrontendKey, Installed]:
    """The frontends in the kernel, decoded. Invalid rows are read as they are; they will differ from the plan."""
    actions, services, slots = kernel.actions.load(), kernel.services.load(), kernel.slots.load()
    nothing = FrontendAction(Action.PASS)
    found: dict[FrontendKey, Installed] = {}
    for key, index in kernel.frontends.load().items():
        pair = (actions.get(2 * index, nothing), actions.get(2 * index + 1, nothing))
        base, array = _array(pair, slots)
        found[key] = Installed(index, services.get(index, ServiceRow(0)), pair, base, array)
    return found


def _array(pair: Actions, slots: Mapping[int, Slot]) -> tuple[int | None, tuple[Slot, ...]]:
    """The slot array of the actions of a frontend, if one of them forwards.

    None does while all its clients are sent to the waypoint: the array is written when one of them needs it. An action
    that forwards to no slots, which weft does not write, has no array either: an empty range cannot be freed.
    """
    action = next((action for action in pair if action.kind is Action.FORWARD and action.count), None)
    if action is None:
        return None, ()
    end = action.base + action.count
    if any(slot not in slots for slot in range(action.base, end)):
        return None, ()
    return action.base, tuple(slots[slot] for slot in range(action.base, end))
