"""Requests that the waypoint counts and reports, with the names of pods and Services."""

from collections import Counter
from collections.abc import Callable, Mapping

from agent.datapath.verdicts import Combinations
from agent.ir.access_log import AccessLogEntry
from agent.ir.plan import PodPlan
from agent.ir.policy import AUDIT
from agent.ir.request_stats import Growth, Series
from agent.ir.services import service_key
from agent.telemetry.access_log import format_line
from agent.telemetry.policy_metrics import Counts
from agent.telemetry.requests import UNKNOWN_WORKLOAD, Edge, Requests, edge_of

MAX_ADDRESSES = 4096


class PodAddresses:
    """Which pod has an address, or had it last."""

    def __init__(self, pods: Callable[[], Mapping[int, PodPlan]]) -> None:
        """`pods` returns the current pods of this node."""
        self._pods = pods
        self._known: dict[str, PodPlan] = {}

    def refresh(self) -> None:
        """Read the current pods. Of removed pods only the `MAX_ADDRESSES` most recent addresses are kept."""
        for plan in self._pods().values():
            for address in plan.addresses:
                self._known.pop(address, None)
                self._known[address] = plan
        for address in list(self._known)[:-MAX_ADDRESSES]:
            del self._known[address]

    def pod(self, address: str) -> PodPlan | None:
        """The pod with this address."""
        return self._known.get(address)


class ListenerPorts:
    """Which listener has a port. A removed listener is known until another one gets its port."""

    def __init__(self, ports: Callable[[], Mapping[str, int]]) -> None:
        """`ports` returns the listeners' ports, by name."""
        self._ports = ports
        self._by_port: dict[int, str] = {}

    def name(self, port: int) -> str | None:
        """The listener's name: `namespace/service:port`, with `@consumer` for a consumer route."""
        found = self._by_port.get(port)
        if found is None or self._ports().get(found) != port:
            self._by_port |= {number: name for name, number in self._ports().items()}
        return self._by_port.get(port)


class RequestCounts:
    """Adds what Envoys counted to the metrics, with the names of pods and Services."""

    def __init__(self, addresses: PodAddresses, requests: Requests) -> None:
        self._addresses = addresses
        self._requests = requests
        self._combinations = Combinations()
        self._audits: Counter[tuple[str, str]] = Counter()

    def record(self, growth: Growth) -> None:
        """Add new requests."""
        self._addresses.refresh()
        for series, sums in growth:
            self._requests.add(self._edge(series) if series is not None else None, sums)
            if series is not None and series.audit is not None:
                verdict, policies = series.audit
                self._audits[self._combinations.bounded(policies), verdict] += sums.requests

    def audited(self) -> Counts:
        """What audited policies would have decided about requests since this agent started."""
        return {(policy, verdict, "waypoint", AUDIT): count for (policy, verdict), count in self._audits.items()}

    def _edge(self, series: Series) -> Edge:
        client = self._addresses.pod(series.client)
        service = service_key(dialled(series.listener).rpartition(":")[0])
        return edge_of(series, client.workload if client else UNKNOWN_WORKLOAD, service)


class RequestLog:
    """Writes the requests that the waypoint reports."""

    def __init__(
        self,
        addresses: PodAddresses,
        listeners: ListenerPorts,
        is_logged: Callable[[str], bool],
        write: Callable[[bytes], None],
    ) -> None:
        """`is_logged` says for a Service's namespace whether its requests are written; `write` takes a line."""
        self._addresses = addresses
        self._listeners = listeners
        self._is_logged = is_logged
        self._write = write

    def record(self, items: list[AccessLogEntry]) -> None:
        """Write those of a batch of requests whose namespace asks for it."""
        self._addresses.refresh()
        for item in items:
            listener = self._listeners.name(item.port)
            if listener is not None and self._is_logged(listener.partition("/")[0]):
                self._write(format_line(item, self._addresses.pod(item.client), dialled(listener)))


def dialled(listener: str) -> str:
    """The Service port that the clients of a listener dial: its name without the consumer's."""
    return listener.partition("@")[0]
