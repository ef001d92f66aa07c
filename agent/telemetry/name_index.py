"""Names for ids in the kernel: pods by cgroup id, workloads and Services by the hashes of their names."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache

from agent.ir.identity import Workload, name_id
from agent.ir.plan import PodPlan
from agent.ir.services import service_name
from agent.model.meta import Key

LiveObjects = tuple[Mapping[int, PodPlan], Iterable[Key]]


@lru_cache(maxsize=65536)
def service_id(service: Key) -> int:
    """A Service's id in the kernel. It is cached, because each scrape computes it for all Services of a node."""
    return name_id(service_name(service))


class NameIndex:
    """Names of current objects, and of removed objects that still have rows in the kernel."""

    def __init__(self, known: Callable[[], LiveObjects]) -> None:
        """`known` returns the current pods (by cgroup id) and Services."""
        self._known = known
        self._pods: dict[int, PodPlan] = {}
        self._workloads: dict[int, Workload] = {}
        self._services: dict[int, Key] = {}
        self._current_workloads: frozenset[int] = frozenset()
        self._current_services: frozenset[int] = frozenset()

    def refresh(self) -> None:
        """Read the current objects."""
        pods, services = self._known()
        self._pods = dict(pods)
        workloads = {plan.workload.id: plan.workload for plan in self._pods.values()}
        current = {service_id(service): service for service in services}
        self._workloads |= workloads
        self._services |= current
        self._current_workloads, self._current_services = frozenset(workloads), frozenset(current)

    def keep(self, workloads: Collection[int], services: Collection[int]) -> None:
        """Forget names that are neither current nor among these ids."""
        kept = self._current_workloads.union(workloads), self._current_services.union(services)
        self._workloads = {number: name for number, name in self._workloads.items() if number in kept[0]}
        self._services = {number: name for number, name in self._services.items() if number in kept[1]}

    def has_workload(self, number: int) -> bool:
        """Whether a workload with this id exists now."""
        return number in self._current_workloads

    def has_service(self, number: int) -> bool:
        """Whether a Service with this id exists now."""
        return number in self._current_services

    def pod(self, cgroup_id: int) -> PodPlan | None:
        """The pod with this cgroup id."""
        return self._pods.get(cgroup_id)

    def pod_at(self, address: str) -> PodPlan | None:
        """The pod of this node with an address."""
        return next((plan for plan in self._pods.values() if address in plan.addresses), None)

    def workload(self, number: int) -> Workload | None:
        """The workload with this id, also one that was removed a while ago."""
        return self._workloads.get(number)

    def service(self, number: int) -> Key | None:
        """The Service with this id, also one that was removed a while ago."""
        return self._services.get(number)
