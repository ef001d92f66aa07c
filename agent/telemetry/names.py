"""Names for the numbers that the kernel tells: pods by cgroup, workloads and Services by their hashes."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache

from agent.ir.identity import Workload, name_id
from agent.ir.plan import PodPlan
from agent.ir.services import service_name
from agent.model.meta import Key

Known = tuple[Mapping[int, PodPlan], Iterable[Key]]


@lru_cache(maxsize=65536)
def service_id(service: Key) -> int:
    """A Service's number in the kernel, remembered: a node looks at each of its Services with every scrape."""
    return name_id(service_name(service))


class Names:
    """What is there now, and what was there and still has rows in the kernel."""

    def __init__(self, known: Callable[[], Known]) -> None:
        """`known` says which pods (by cgroup id) and which Services there are now."""
        self._known = known
        self._pods: dict[int, PodPlan] = {}
        self._workloads: dict[int, Workload] = {}
        self._services: dict[int, Key] = {}
        self._current_workloads: frozenset[int] = frozenset()
        self._current_services: frozenset[int] = frozenset()

    def refresh(self) -> None:
        """Look again at what there is."""
        pods, services = self._known()
        self._pods = dict(pods)
        workloads = {plan.workload.id: plan.workload for plan in self._pods.values()}
        current = {service_id(service): service for service in services}
        self._workloads |= workloads
        self._services |= current
        self._current_workloads, self._current_services = frozenset(workloads), frozenset(current)

    def keep(self, workloads: Collection[int], services: Collection[int]) -> None:
        """Forget names that are neither there any more nor among these numbers."""
        kept = self._current_workloads.union(workloads), self._current_services.union(services)
        self._workloads = {number: name for number, name in self._workloads.items() if number in kept[0]}
        self._services = {number: name for number, name in self._services.items() if number in kept[1]}

    def has_workload(self, number: int) -> bool:
        """Whether a workload of this number is there now."""
        return number in self._current_workloads

    def has_service(self, number: int) -> bool:
        """Whether a Service of this number is there now."""
        return number in self._current_services

    def pod(self, cgroup_id: int) -> PodPlan | None:
        """The pod whose cgroup this is."""
        return self._pods.get(cgroup_id)

    def workload(self, number: int) -> Workload | None:
        """The workload of this number, also one that has gone a while ago."""
        return self._workloads.get(number)

    def service(self, number: int) -> Key | None:
        """The Service of this number, also one that has gone a while ago."""
        return self._services.get(number)
