"""The kernel's flows with names, and the removal of flows whose workload or Service is gone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agent.ir.flow_tables import OVERFLOW_ROW, FlowKey, FlowSums
from agent.ir.identity import Workload
from agent.ir.services import service_name
from agent.ir.tables import Protocol as Ip
from agent.ir.tables import Reason
from agent.model.meta import Key
from agent.telemetry.name_index import NameIndex

RETENTION_SECONDS = 600.0
OVERFLOW_WORKLOAD = Workload("other", "other", "other", "other")
OVERFLOW_SERVICE = Key("Service", "other", "other")
REFUSED = frozenset(
    {Reason.NO_BACKEND, Reason.SHARE_REJECTED, Reason.WAYPOINT_LOST, Reason.OVER_BUDGET, Reason.POLICY_FORBIDS}
)


class Table(Protocol):
    """The map `weft_flows`. Every method raises `OSError`."""

    @property
    def capacity(self) -> int:
        """The maximum number of rows."""

    def load(self) -> dict[FlowKey, FlowSums]:
        """All rows."""

    def delete(self, keys: Iterable[FlowKey]) -> None:
        """Delete rows."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The connections of one workload to one Service with one reason, error and protocol."""

    client: Workload
    service: Key
    protocol: str
    reason: Reason
    error: int
    sums: FlowSums

    @property
    def refused(self) -> int:
        """The number of connections that weft rejected."""
        return self.sums.opened if self.reason in REFUSED else 0


class Flows:
    """Reads the map on request.

    Rows of a removed workload or Service stay for `RETENTION_SECONDS`: for the last scrape, and because it may come
    back.
    """

    def __init__(self, table: Table, names: NameIndex, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._table = table
        self._names = names
        self._clock = clock
        self._orphans: dict[FlowKey, float] = {}
        self._rows = 0

    def load(self) -> list[Flow]:
        """Every flow that has names, and the overflow row. Raises `OSError`."""
        self.refresh()
        return self.read()

    def refresh(self) -> None:
        """Look up the current pods and Services."""
        self._names.refresh()

    def read(self) -> list[Flow]:
        """The flows, with the names of the last `refresh`. May run in another thread. Raises `OSError`."""
        rows = self._table.load()
        self._rows = len(rows)
        return [flow for key, sums in rows.items() if sums != FlowSums() and (flow := self._named(key, sums))]

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """The number of rows at the last read, and the maximum."""
        return {"flows": (self._rows, self._table.capacity)}

    def _named(self, key: FlowKey, sums: FlowSums) -> Flow | None:
        if key == OVERFLOW_ROW:
            return Flow(OVERFLOW_WORKLOAD, OVERFLOW_SERVICE, "TCP", Reason.FORWARDED, 0, sums)
        client, service = self._names.workload(key.workload_id), self._names.service(key.service_id)
        if client is None or service is None:
            return None
        return Flow(client, service, Ip(key.protocol).name, Reason(key.reason), key.error, sums)

    def delete_stale(self) -> int:
        """Delete rows whose workload or Service is gone for `RETENTION_SECONDS`. Returns their number. Raises
        `OSError`.
        """
        self._names.refresh()
        now, keys = self._clock(), [key for key in self._table.load() if key != OVERFLOW_ROW]
        gone = [key for key in keys if not self._is_current(key)]
        self._orphans = {key: self._orphans.get(key, now) for key in gone}
        ended = [key for key, since in self._orphans.items() if now - since >= RETENTION_SECONDS]
        self._table.delete(ended)
        left = set(keys).difference(ended)
        self._names.keep({key.workload_id for key in left}, {key.service_id for key in left})
        return len(ended)

    def _is_current(self, key: FlowKey) -> bool:
        return self._names.has_workload(key.workload_id) and self._names.has_service(key.service_id)


def document(flows: Iterable[Flow]) -> list[dict[str, Any]]:
    """Flows for `weft top`: a row for each client workload, Service and protocol. Microseconds are sums."""
    rows: dict[tuple[Workload, Key, str], dict[str, Any]] = {}
    for flow in flows:
        row = rows.setdefault((flow.client, flow.service, flow.protocol), _empty(flow))
        for name in ("opened", "established", "closed", "sent", "received"):
            row[name] += getattr(flow.sums, name)
        row["connectMicroseconds"] += flow.sums.connect_us
        row["rttMicroseconds"] += flow.sums.rtt_us
        row["refused"] += flow.refused
        row["failed"] += flow.sums.failed
    return [rows[key] for key in sorted(rows)]


def _empty(flow: Flow) -> dict[str, Any]:
    return {
        "namespace": flow.client.namespace,
        "workload": flow.client.name,
        "service": service_name(flow.service),
        "protocol": flow.protocol,
        **dict.fromkeys(("opened", "established", "refused", "failed", "closed", "sent", "received"), 0),
        "connectMicroseconds": 0,
        "rttMicroseconds": 0,
    }
