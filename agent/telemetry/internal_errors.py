"""Faults of weft's own code, as they are logged and counted: each with its traceback, once."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.internal_errors import Fault, Faults

log = logging.getLogger(__name__)

# In tests `1`: a fault ends the process, so that none is overlooked.
STRICT = "WEFT_STRICT"


def logged_faults() -> Faults:
    """The faults of a process that runs on: logged, and kept to their objects."""
    return Faults(strict=os.environ.get(STRICT) == "1", report=_log)


def _log(fault: Fault, error: Exception) -> None:
    said = {"part": fault.part, "object": fault.subject}
    log.error("internal error, the last good state stays", extra=said, exc_info=error)


class FaultMetrics(Collector):
    """`weft_internal_errors_total`, of the agent and of the controller."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        text = "Errors of weft's own code, by part; each concerns one object, whose last good state stays."
        family = CounterMetricFamily("weft_internal_errors", text, labels=["part"])
        for part, count in self._counts().items():
            family.add_metric([part], count)
        yield family
