"""Flows and events of the kernel, and requests that Envoy reports, for metrics, logs and the status socket."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping

from agent.ir.plan import PodPlan
from agent.ir.tables import RATE_WINDOW_SECONDS, Reason
from agent.kernel.maps import PinnedKernel
from agent.telemetry.access_log import Lines
from agent.telemetry.flows import Flows, document
from agent.telemetry.http import Query, Response
from agent.telemetry.journal import Journal, answer
from agent.telemetry.names import Known, Names
from agent.telemetry.request_log import Addresses, Listeners, Served
from agent.telemetry.requests import Requests

log = logging.getLogger(__name__)

READ_SECONDS = 0.2
SWEEP_SECONDS = 60.0
EVENTS_PER_SECOND = 500  # of all CPUs together: what the agent can read without being noticed


def allowance(cpus: int) -> int:
    """How many events of a kind one of so many CPUs may tell in a turn."""
    return max(1, round(EVENTS_PER_SECOND * RATE_WINDOW_SECONDS / cpus))


class Telemetry:
    """Reads flows when somebody asks, and events all the time: what is not read soon is lost. Takes requests as the
    waypoint tells them.
    """

    def __init__(
        self,
        kernel: PinnedKernel,
        known: Callable[[], Known],
        pods: Callable[[], Mapping[int, PodPlan]],
        ports: Callable[[], Mapping[str, int]],
        is_logged: Callable[[str], bool],
    ) -> None:
        """`known` says which pods and Services the kernel's numbers can mean, `pods` which pods there are, `ports` what
        ports the waypoint's listeners have, `is_logged` of which namespaces requests are written to standard output.
        """
        kernel.flows.make_overflow_row()
        names = Names(known)
        self._kernel = kernel
        self._journal = Journal(names, self._lost, time.monotonic_ns, time.time)
        self.flows = Flows(kernel.flows, names, time.monotonic)
        self.requests = Requests(time.monotonic)
        self.lines = Lines(sys.stdout.buffer)
        self.served = Served(Addresses(pods), Listeners(ports), self.requests, is_logged, self.lines.put)

    def routes(self) -> dict[str, Callable[[Query], Response]]:
        """What the commands ask for. Only root may, for it tells who talks to whom."""
        return {
            "/flows": lambda _: Response.json({"flows": document(self.flows.load())}),
            "/events": lambda query: answer(self._journal, query),
        }

    async def run(self, ready: Callable[[], bool]) -> None:
        """Take in events until cancelled, and now and then, when the agent is `ready`, forget flows of what is gone."""
        events = self._kernel.events()
        sweep_at = time.monotonic() + SWEEP_SECONDS
        try:
            while True:
                await asyncio.sleep(READ_SECONDS)
                self._journal.add(events.read())
                if ready() and time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + SWEEP_SECONDS
                    self._sweep()
        finally:
            events.close()
            self.lines.close()

    def _lost(self) -> int:
        """Events that the kernel did not tell, because there were too many."""
        return self._kernel.counters()[Reason.EVENT_LOST]

    def _sweep(self) -> None:
        try:
            self.flows.sweep()
        except OSError as error:
            log.warning("flows could not be swept, trying again", extra={"error": str(error)})
