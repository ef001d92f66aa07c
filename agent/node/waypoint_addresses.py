"""Where the Envoys of this node are: their addresses, and the pods that have them."""

from collections.abc import Callable, Mapping

from agent.ir.envoy import Envoy
from agent.ir.plan import PodPlan
from agent.store.store import Store, TrackedView
from agent.translate.enrolment import WAYPOINT, is_in_weft_namespace, weft_component_addresses


class WaypointAddresses:
    """The addresses of the node's Envoys, from the store, from their streams and from the kernel's configuration."""

    def __init__(
        self,
        store: Store,
        node: str,
        envoys: Callable[[], list[Envoy]],
        written: Callable[[], tuple[str, ...]],
        pods: Callable[[], Mapping[int, PodPlan]],
    ) -> None:
        """`envoys` are those that are connected, `written` the addresses in `weft_config`, `pods` those of the node."""
        self._store = store
        self._node = node
        self._envoys = envoys
        self._written = written
        self._pods = pods

    def pod_addresses(self) -> list[str]:
        """The addresses of this node's waypoint pods, as far as they are known."""
        return weft_component_addresses(TrackedView(self._store), WAYPOINT, self._node)

    def addresses(self) -> list[str]:
        """The addresses of the node's Envoys, of the standby and of draining ones too."""
        return list(self._written())

    def pods(self) -> set[int]:
        """The cgroup ids of the pods of the node's Envoys."""
        return {cgroup for found in self.cgroups().values() for cgroup in found}

    def cgroups(self) -> dict[str, dict[int, frozenset[str]]]:
        """For each address of the node's Envoys, weft's own pods that have it: cgroups and all addresses."""
        connected = (address for envoy in self._envoys() for address in envoy.addresses)
        own = [(cgroup, pod) for cgroup, pod in self._pods().items() if is_in_weft_namespace(pod)]
        return {
            address: {cgroup: frozenset(pod.addresses) for cgroup, pod in own if address in pod.addresses}
            for address in {*self._written(), *connected}
        }
