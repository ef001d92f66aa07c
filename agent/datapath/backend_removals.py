"""Backends that were removed from frontends: sockets connected to them may have to be terminated (DESIGN.md §4)."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from agent.datapath.driver import BackendsRemoved
from agent.ir.plan import FrontendName, FrontendPlan, OnBackendLoss
from agent.ir.tables import Protocol, SocketAddress, address_bytes

Frontend = tuple[Protocol, SocketAddress]


def _frontend(name: FrontendName) -> Frontend:
    return name.protocol, (address_bytes(name.address), name.port)


def _backends(plans: Iterable[FrontendPlan]) -> frozenset[SocketAddress]:
    return frozenset((slot.address, slot.port) for plan in plans for slot in plan.slots if not slot.reject)


class BackendRemovals:
    """The backends of each frontend in all its views, and the frontends that lost some.

    A frontend has a view for each consumer namespace with Routes of its own, and one for all others. A backend is
    removed when no view has it.
    """

    def __init__(self) -> None:
        self._views: defaultdict[Frontend, dict[FrontendName, FrontendPlan]] = defaultdict(dict)
        self._changed: set[Frontend] = set()

    def note(self, frontend: Frontend) -> None:
        """Mark a UDP frontend of unknown history: it may have lost backends while no agent ran."""
        if frontend[0] is Protocol.UDP:
            self._changed.add(frontend)

    def change(self, name: FrontendName, plan: FrontendPlan | None) -> None:
        """Set a view of a frontend; None removes it."""
        frontend = _frontend(name)
        views = self._views[frontend]
        old = views.pop(name, None)
        if plan is not None:
            views[name] = plan
        if not views:
            del self._views[frontend]
        if old is not None and _backends([old]) - _backends([plan] if plan else []):
            self._removed(frontend, old if plan is None else plan)

    def _removed(self, frontend: Frontend, plan: FrontendPlan) -> None:
        """Mark a frontend. A connected UDP socket gets no other signal. A TCP connection ends by itself, so it is
        marked only where the Service asks for a reset.
        """
        if frontend[0] is Protocol.UDP or plan.on_backend_loss is OnBackendLoss.RESET:
            self._changed.add(frontend)

    def take(self, waiting: Collection[FrontendName]) -> list[BackendsRemoved]:
        """The marked frontends, each once, without those whose rows are not written yet."""
        kept = {_frontend(name) for name in waiting} & self._changed if self._changed else set()
        ready, self._changed = self._changed - kept, kept
        return [
            BackendsRemoved(*frontend, _backends(self._views.get(frontend, {}).values())) for frontend in sorted(ready)
        ]
