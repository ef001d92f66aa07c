"""Internal errors in the log and the metrics. Each is logged once, with its traceback."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.internal_errors import InternalError, InternalErrors

log = logging.getLogger(__name__)

# Tests set `1`. Then an internal error ends the process, so that no test overlooks it.
STRICT = "WEFT_STRICT"


def logged_errors() -> InternalErrors:
    """The internal errors of a process that continues after them: they are logged, and confined to their objects."""
    return InternalErrors(strict=os.environ.get(STRICT) == "1", report=_log)


def _log(item: InternalError, error: Exception) -> None:
    fields = {"part": item.part, "object": item.subject}
    log.error("internal error, the last good state stays", extra=fields, exc_info=error)


class InternalErrorMetrics(Collector):
    """`weft_internal_errors_total`, for the agent and the controller."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        text = "Errors of weft's own code, by part; each concerns one object, whose last good state stays."
        family = CounterMetricFamily("weft_internal_errors", text, labels=["part"])
        for part, count in self._counts().items():
            family.add_metric([part], count)
        yield family
