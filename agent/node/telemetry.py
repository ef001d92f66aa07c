"""Flows and events of the kernel, and requests that Envoy reports: for metrics, logs and the status socket."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping

from agent.ir.plan import PodPlan
from agent.ir.tables import RATE_WINDOW_SECONDS, Reason
from agent.kernel.maps import PinnedKernel
from agent.node.request_counter import RequestCounter
from agent.settings import Settings
from agent.telemetry.access_log import AccessLogWriter
from agent.telemetry.event_buffer import Causes, EventBuffer, answer
from agent.telemetry.flows import Flows, document
from agent.telemetry.http import Query, Response
from agent.telemetry.name_index import LiveObjects, NameIndex
from agent.telemetry.request_log import ListenerPorts, PodAddresses, RequestCounts, RequestLog
from agent.telemetry.requests import Requests

log = logging.getLogger(__name__)

READ_SECONDS = 0.2
CLEANUP_SECONDS = 60.0
EVENTS_PER_SECOND = 500  # of all CPUs together; the agent reads these at negligible cost


def events_per_window(cpus: int) -> int:
    """The number of events of one class that one of `cpus` CPUs may emit in a rate window."""
    return max(1, round(EVENTS_PER_SECOND * RATE_WINDOW_SECONDS / cpus))


class Telemetry:
    """Reads flows at each scrape, and events all the time, because what is not read soon is lost.

    Writes requests when the waypoint reports them.
    """

    def __init__(
        self,
        settings: Settings,
        kernel: PinnedKernel,
        known: Callable[[], LiveObjects],
        pods: Callable[[], Mapping[int, PodPlan]],
        ports: Callable[[], Mapping[str, int]],
        is_logged: Callable[[str], bool],
        causes: Causes,
    ) -> None:
        """`known` returns the pods and Services that ids in the kernel can refer to, `pods` the current pods, `ports`
        the ports of the waypoint's listeners. `is_logged` says for which namespaces requests are written to standard
        output. `causes` are those of refusals and failures.
        """
        kernel.flows.make_overflow_row()
        names = NameIndex(known)
        self._kernel = kernel
        self._events = EventBuffer(names, causes, self._lost, time.monotonic_ns, time.time)
        self.flows = Flows(kernel.flows, names, time.monotonic)
        self.requests = Requests(time.monotonic)
        self.access_log = AccessLogWriter(sys.stdout.buffer)
        addresses = PodAddresses(pods)
        self.request_counts = counts = RequestCounts(addresses, self.requests)
        self.request_counter = RequestCounter(settings.xds_socket.parent, settings.requests_file, counts, self.requests)
        self.request_log = RequestLog(addresses, ListenerPorts(ports), is_logged, self.access_log.put)

    def routes(self) -> dict[str, Callable[[Query], Response]]:
        """What the commands request. Only root may read it: it shows which workloads talk to which."""
        return {
            "/flows": lambda _: Response.json({"flows": document(self.flows.load())}),
            "/events": lambda query: answer(self._events, query),
        }

    async def run(self, ready: Callable[[], bool]) -> None:
        """Read events until cancelled. While the agent is `ready`, delete flows of removed workloads once a minute."""
        events = self._kernel.events()
        cleanup_at = time.monotonic() + CLEANUP_SECONDS
        try:
            while True:
                await asyncio.sleep(READ_SECONDS)
                self._events.add(events.read())
                if ready() and time.monotonic() >= cleanup_at:
                    cleanup_at = time.monotonic() + CLEANUP_SECONDS
                    self._delete_stale_flows()
        finally:
            events.close()
            self.access_log.close()

    def _lost(self) -> int:
        """The number of events that the kernel dropped because of the rate limit."""
        return self._kernel.counters()[Reason.EVENT_LOST]

    def _delete_stale_flows(self) -> None:
        try:
            self.flows.delete_stale()
        except OSError as error:
            log.warning("flows could not be swept, trying again", extra={"error": str(error)})
