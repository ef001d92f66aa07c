"""Frontends in the kernel: from what each should do to rows, actions and slots, and back.

The order of writes is what keeps readers safe (DESIGN.md §2.3): slots and the service row first, then the two actions,
then the frontend's key. Nothing that a reader can reach is edited in place but the actions, and those by one store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.datapath.allocate import FullError, RangeAllocator
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
    """The kernel's key for a frontend."""
    namespace = name_id(name.consumer) if name.consumer else ANY_NAMESPACE
    return FrontendKey(namespace, address_bytes(name.address), name.port, name.protocol)


def goes_to_waypoint(plan: FrontendPlan, client: Mode) -> bool:
    """Whether a client of this mode belongs at the waypoint: the deeper end decides (DESIGN.md §3)."""
    return plan.listener is not None and max(plan.mode, client) == Mode.L7


def waypoint_action(
    name: FrontendName, plan: FrontendPlan, client: Mode, waypoint: WaypointState, current: FrontendAction | None
) -> FrontendAction | None:
    """The action that takes clients of a mode out of the kernel's hands; None where the kernel itself answers them.

    Until a listener has proved itself traffic stays where it is: at the waypoint (or refused, after a loss) when it
    was there before this agent started, in the kernel otherwise. The port that it was sent to there may be another
    listener's by now: nobody is sent on to it while the listener has none. Where the waypoint has no address of the
    frontend's family, the on-loss policy applies once it serves the other one.
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
    """The frontends of one node: what is installed, and the space for it."""

    def __init__(self, kernel: Kernel, clock: Callable[[], float]) -> None:
        self._kernel = kernel
        self._clock = clock
        self.installed: dict[FrontendKey, Installed] = {}
        self._indices = RangeAllocator(0)
        self._ranges = RangeAllocator(0)
        # How often space was given back since the start.
        self.frees = 0

    def adopt(self) -> None:
        """Read back what the kernel has, and forget everything else. Raises `OSError`."""
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

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table that is filled here: rows in use and capacity."""
        return {
            "frontends": (len(self.installed), self._kernel.frontends.capacity),
            "services": (self._indices.used, self._indices.capacity),
            "slots": (self._ranges.used, self._ranges.capacity),
        }

    def install(self, name: FrontendName, plan: FrontendPlan, waypoint: WaypointState) -> bool:
        """Make one frontend so; says whether anything had to be written. Raises `OSError` and `FullError`.

        After an `OSError` what the kernel has is unknown: `adopt` before trying again.
        """
        key = frontend_key(name)
        old = self.installed.get(key)
        current = old.actions if old else (None, None)
        fixed = [
            waypoint_action(name, plan, mode, waypoint, action)
            for mode, action in zip(CLIENT_MODES, current, strict=True)
        ]
        slots = plan.slots if None in fixed else ()
        service = self._service_row(plan, old, waypoint)
        if (old is None or old.service != service) and self._indices.used == self._indices.capacity:
            # Asked before slots are taken: those given back would rest, and be missed by others meanwhile.
            raise FullError(f"no room for more than {self._indices.capacity} frontends")
        base = self._place(slots, old)
        index = self._index(service, old, base, len(slots))
        kernel = REJECT_NO_BACKEND if base is None else FrontendAction(Action.FORWARD, base, len(slots))
        new = Installed(index, service, (fixed[0] or kernel, fixed[1] or kernel), base, slots)
        if new == old:
            return False
        self._write(key, new, old)
        return True

    def interrupt(self, name: FrontendName) -> bool:
        """Refuse the clients that are sent to the waypoint, where there is no room for what they should get instead;
        says whether anything had to be written. Raises `OSError` as `install` does.
        """
        key = frontend_key(name)
        old = self.installed.get(key)
        if old is None or TO_WAYPOINT not in old.actions:
            return False
        first, second = (REJECT_LOST if action == TO_WAYPOINT else action for action in old.actions)
        self._write(key, replace(old, actions=(first, second)), old)
        return True

    def remove(self, key: FrontendKey) -> None:
        """Take a frontend away: its clients are no longer intercepted. Raises `OSError`."""
        self._kernel.frontends.delete([key])
        old = self.installed.pop(key)
        self._free_index(old)
        self._free_slots(old)

    def _place(self, slots: tuple[Slot, ...], old: Installed | None) -> int | None:
        """Where the slots are or will be: an array that is there already is used as it is."""
        if not slots:
            return None
        if old and old.slots == slots:
            return old.base
        return self._ranges.allocate(len(slots), self._clock())

    def _index(self, service: ServiceRow, old: Installed | None, base: int | None, length: int) -> int:
        """The index: a new one when the constant row has to change. Without one a new slot range is given back."""
        if old and old.service == service:
            return old.index
        try:
            return self._indices.allocate(1, self._clock())
        except FullError:
            if base is not None and (old is None or old.base != base):
                self._ranges.free(base, length, self._clock())
            raise

    @staticmethod
    def _service_row(plan: FrontendPlan, old: Installed | None, waypoint: WaypointState) -> ServiceRow:
        """The constant row. Without a listener a port that is there is left alone: nobody reads it."""
        unused = old.service.waypoint_port if old else 0
        port = unused if plan.listener is None else waypoint.ports.get(plan.listener, unused)
        return ServiceRow(name_id(service_name(plan.service)), port, plan.affinity_seconds)

    def _write(self, key: FrontendKey, new: Installed, old: Installed | None) -> None:
        """Write what differs, what is reached last first. What a failure leaves behind is found by the next audit."""
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
            self._free_index(old)
        if old and old.base != new.base:
            self._free_slots(old)

    def _free_index(self, old: Installed) -> None:
        self.frees += 1
        self._indices.free(old.index, 1, self._clock())

    def _free_slots(self, old: Installed) -> None:
        if old.base is not None:
            self.frees += 1
            self._ranges.free(old.base, len(old.slots), self._clock())


def _overlapping(installed: Mapping[FrontendKey, Installed]) -> set[FrontendKey]:
    """Frontends that use an index or slots of another's. weft writes no such rows, but may find them.

    What two use would be freed by one while the other still needs it, and then be given to a third.
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
    """What the kernel has, decoded. Rows that make no sense are read as they are; they will differ from the plan."""
    actions, services, slots = kernel.actions.load(), kernel.services.load(), kernel.slots.load()
    nothing = FrontendAction(Action.PASS)
    found: dict[FrontendKey, Installed] = {}
    for key, index in kernel.frontends.load().items():
        pair = (actions.get(2 * index, nothing), actions.get(2 * index + 1, nothing))
        base, array = _array(pair, slots)
        found[key] = Installed(index, services.get(index, ServiceRow(0)), pair, base, array)
    return found


def _array(pair: Actions, slots: Mapping[int, Slot]) -> tuple[int | None, tuple[Slot, ...]]:
    """The slot array that a frontend's actions point at, if one does.

    None does while all its clients are at the waypoint: the array is written when one of them needs it.
    """
    action = next((action for action in pair if action.kind is Action.FORWARD), None)
    if action is None:
        return None, ()
    end = action.base + action.count
    if any(slot not in slots for slot in range(action.base, end)):
        return None, ()
    return action.base, tuple(slots[slot] for slot in range(action.base, end))
