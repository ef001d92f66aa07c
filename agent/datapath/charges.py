"""Which namespace is charged for rows of frontends and slots, and for connections to the waypoint."""

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.budget import Budget
from agent.datapath.allocate import OverBudgetError
from agent.ir.identity import name_id
from agent.ir.plan import PodPlan
from agent.ir.tables import ALL_NAMESPACES, Config, FrontendKey

# The owner of what an earlier agent left, until the plan says whose it is. No namespace has this name.
UNKNOWN = ""


def connection_budget(config: Config, counts: Mapping[int, int], pods: Iterable[PodPlan]) -> Budget:
    """The budget of connections to the waypoint, which the programs of the kernel apply. `counts` are theirs, by id of
    the client's namespace; `pods` are those of this node.
    """
    names = {name_id(pod.namespace): pod.namespace for pod in pods}
    used: Counter[str] = Counter()
    for key, count in counts.items():
        if key != ALL_NAMESPACES:
            used[names.get(key, UNKNOWN)] += count
    return Budget("connections", config.waypoint_connections, used)


class Charges:
    """The budgets of frontends and of slots. An index is charged with its frontend."""

    def __init__(self, frontends: int = 0, slots: int = 0, installed: Mapping[FrontendKey, int] | None = None) -> None:
        """The capacities in rows, and the number of slots of each frontend that is installed."""
        self.frontends = Budget("frontends", frontends)
        self.slots = Budget("slots", slots)
        self._charged: dict[FrontendKey, tuple[str, int]] = {}
        for key, length in (installed or {}).items():
            self.charge(key, UNKNOWN, length)

    def owner(self, key: FrontendKey) -> str:
        """Who is charged for a frontend that is installed."""
        return self._charged[key][0]

    def check(self, key: FrontendKey, namespace: str, length: int) -> None:
        """Raise `OverBudgetError` if the namespace may not have the frontend with so many slots."""
        owner, has = self._charged.get(key, (UNKNOWN, 0))
        rows, growth = (0, length - has) if owner == namespace else (1, length)
        refusal = self.frontends.refusal(namespace, rows) or self.slots.refusal(namespace, growth)
        if refusal:
            raise OverBudgetError(refusal)

    def charge(self, key: FrontendKey, namespace: str, length: int) -> None:
        """Charge a frontend with so many slots to a namespace, and to nobody else."""
        if self._charged.get(key) != (namespace, length):
            self.release(key)
            self.frontends.add(namespace, 1)
            self.slots.add(namespace, length)
            self._charged[key] = namespace, length

    def length(self, key: FrontendKey) -> int:
        """The number of slots that are charged for a frontend; 0 where it is not installed."""
        return self._charged.get(key, (UNKNOWN, 0))[1]

    def assign(self, key: FrontendKey, namespace: str, length: int) -> None:
        """Charge a frontend of unknown owner to this namespace. `length` is the number of its slots, those that it has
        or, at the waypoint, will need; the latter only as far as the budget allows.
        """
        owner, has = self._charged[key]
        if owner == UNKNOWN:
            allowed = length <= has or self.slots.refusal(namespace, length) is None
            self.charge(key, namespace, length if allowed else has)

    def release(self, key: FrontendKey) -> None:
        """Charge nobody for a frontend."""
        if key in self._charged:
            namespace, length = self._charged.pop(key)
            self.frontends.add(namespace, -1)
            self.slots.add(namespace, -length)
