"""The kernel's flows with names on, and the end of those that nobody has a name for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agent.ir.flow_tables import OVERFLOW_ROW, FlowKey, FlowSums
from agent.ir.identity import Workload
from agent.ir.services import service_name
from agent.ir.tables import Protocol as Ip
from agent.ir.tables import Reason
from agent.model.meta import Key
from agent.telemetry.names import Names

LINGER_SECONDS = 600.0
OVERFLOW_WORKLOAD = Workload("other", "other", "other", "other")
OVERFLOW_SERVICE = Key("Service", "other", "other")
REFUSED = frozenset({Reason.NO_BACKEND, Reason.SHARE_REJECTED, Reason.WAYPOINT_LOST})


class Table(Protocol):
    """`weft_flows`. Every method raises `OSError`."""

    @property
    def capacity(self) -> int:
        """How many rows fit."""

    def load(self) -> dict[FlowKey, FlowSums]:
        """Every row."""

    def delete(self, keys: Iterable[FlowKey]) -> None:
        """Delete rows."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What became of one workload's connections to one Service that were decided, or failed, in one way."""

    client: Workload
    service: Key
    protocol: str
    reason: Reason
    error: int
    sums: FlowSums

    @property
    def refused(self) -> int:
        """Connections that the kernel refused in our name."""
        return self.sums.opened if self.reason in REFUSED else 0


class Flows:
    """Reads the table for whoever asks.

    Rows stay a while when their workload or Service has gone: for the last scrape, and because it may come back.
    """

    def __init__(self, table: Table, names: Names, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self._table = table
        self._names = names
        self._clock = clock
        self._orphans: dict[FlowKey, float] = {}
        self._rows = 0

    def load(self) -> list[Flow]:
        """Every flow that has names, and what found no room. Raises `OSError`."""
        self.refresh()
        return self.read()

    def refresh(self) -> None:
        """Look up which pods and Services there are now."""
        self._names.refresh()

    def read(self) -> list[Flow]:
        """The same as `load` by the names of the last `refresh`; may run in another thread."""
        rows = self._table.load()
        self._rows = len(rows)
        return [flow for key, sums in rows.items() if sums != FlowSums() and (flow := self._named(key, sums))]

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """How many rows there were when somebody last looked, and how many fit."""
        return {"flows": (self._rows, self._table.capacity)}

    def _named(self, key: FlowKey, sums: FlowSums) -> Flow | None:
        if key == OVERFLOW_ROW:
            return Flow(OVERFLOW_WORKLOAD, OVERFLOW_SERVICE, "TCP", Reason.FORWARDED, 0, sums)
        client, service = self._names.workload(key.workload_id), self._names.service(key.service_id)
        if client is None or service is None:
            return None
        return Flow(client, service, Ip(key.protocol).name, Reason(key.reason), key.error, sums)

    def sweep(self) -> int:
        """Delete rows whose workload or Service is gone for good; returns how many. Raises `OSError`."""
        self._names.refresh()
        now, keys = self._clock(), [key for key in self._table.load() if key != OVERFLOW_ROW]
        gone = [key for key in keys if not self._is_current(key)]
        self._orphans = {key: self._orphans.get(key, now) for key in gone}
        ended = [key for key, since in self._orphans.items() if now - since >= LINGER_SECONDS]
        self._table.delete(ended)
        left = set(keys).difference(ended)
        self._names.keep({key.workload_id for key in left}, {key.service_id for key in left})
        return len(ended)

    def _is_current(self, key: FlowKey) -> bool:
        return self._names.has_workload(key.workload_id) and self._names.has_service(key.service_id)


def document(flows: Iterable[Flow]) -> list[dict[str, Any]]:
    """Flows for `weft top`: one row a client workload, Service and protocol; microseconds are sums, to be divided."""
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
