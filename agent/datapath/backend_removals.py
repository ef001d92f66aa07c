"""Backends that frontends lose: sockets that are connected to them have to be looked after (DESIGN.md §4)."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from agent.datapath.driver import BackendsRemoved
from agent.ir.plan import FrontendName, FrontendPlan, OnBackendLoss
from agent.ir.tables import Place, Protocol, address_bytes

Frontend = tuple[Protocol, Place]


def _frontend(name: FrontendName) -> Frontend:
    return name.protocol, (address_bytes(name.address), name.port)


def _backends(plans: Iterable[FrontendPlan]) -> frozenset[Place]:
    return frozenset((slot.address, slot.port) for plan in plans for slot in plan.slots if not slot.reject)


class BackendRemovals:
    """What each frontend has in every view of it, and which frontends lost something.

    A consumer's view does not count alone: a backend is there while anybody's view has it.
    """

    def __init__(self) -> None:
        self._views: defaultdict[Frontend, dict[FrontendName, FrontendPlan]] = defaultdict(dict)
        self._changed: set[Frontend] = set()

    def note(self, frontend: Frontend) -> None:
        """A frontend of UDP whose past is not known: an agent may have been away while it shrank."""
        if frontend[0] is Protocol.UDP:
            self._changed.add(frontend)

    def change(self, name: FrontendName, plan: FrontendPlan | None) -> None:
        """A view of a frontend is now this; None: it is gone."""
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
        """UDP has no other way to learn of it. TCP ends by itself, unless the Service asks for more."""
        if frontend[0] is Protocol.UDP or plan.on_backend_loss is OnBackendLoss.RESET:
            self._changed.add(frontend)

    def take(self, waiting: Collection[FrontendName]) -> list[BackendsRemoved]:
        """The frontends that lost something, each once; not those that the kernel has not been told of yet."""
        kept = {_frontend(name) for name in waiting} & self._changed if self._changed else set()
        ready, self._changed = self._changed - kept, kept
        return [
            BackendsRemoved(*frontend, _backends(self._views.get(frontend, {}).values())) for frontend in sorted(ready)
        ]
