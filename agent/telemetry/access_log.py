"""The access log: one line of JSON for each request, with names that Envoy does not know."""

import json
import queue
from datetime import UTC, datetime
from threading import Thread
from typing import Any, BinaryIO

from agent.ir.access_log import AccessLogEntry
from agent.ir.plan import PodPlan
from agent.telemetry.escape import escape
from agent.telemetry.requests import backend_of, rule_of

QUEUED_LINES = 4096
STOP_SECONDS = 1.0


def format_line(item: AccessLogEntry, client: PodPlan | None, service: str | None) -> bytes:
    """The line of one request. `service` is `namespace/name:port` as the client dialled it. Unknown values are null."""
    return escape(json.dumps(_document(item, client, service), separators=(",", ":"))).encode() + b"\n"


def _document(item: AccessLogEntry, client: PodPlan | None, service: str | None) -> dict[str, Any]:
    route, rule = rule_of(item.route)
    return {
        "time": datetime.fromtimestamp(item.start, UTC).isoformat(timespec="milliseconds"),
        "namespace": client.namespace if client else None,
        "pod": client.pod.name if client else None,
        "workload": client.workload.name if client else None,
        "address": item.client,
        "service": service,
        "route": route,
        "rule": rule,
        "backend": backend_of(item.cluster, item.members),
        "upstream": item.upstream or None,
        "protocol": item.protocol,
        "method": item.method,
        "authority": item.authority,
        "path": item.path,
        "code": item.code,
        "grpcStatus": item.grpc_status or None,
        "flags": item.flags,
        "details": item.details,
        "audit": item.audit[0] if item.audit else None,
        "auditedPolicies": item.audit[1] if item.audit else None,
        "attempts": item.attempts,
        "received": item.received,
        "sent": item.sent,
        "milliseconds": round(item.seconds * 1000, 3),
        "upstreamMilliseconds": round(item.upstream_seconds * 1000, 3),
        "userAgent": item.user_agent or None,
        "requestId": item.request_id or None,
        "traceparent": item.traceparent or None,
    }


class AccessLogWriter:
    """Writes lines in a thread of its own, so that a slow reader of standard output does not stop the agent. `dropped`
    counts the lines that did not fit into the queue.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._waiting: queue.Queue[bytes | None] = queue.Queue(QUEUED_LINES)
        self._thread = Thread(target=self._write, daemon=True, name="access-log")
        self._thread.start()
        self.dropped = 0

    def put(self, text: bytes) -> None:
        """Queue a line."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write the queued lines, for at most a second."""
        try:
            self._waiting.put(None, timeout=STOP_SECONDS)
        except queue.Full:
            return
        self._thread.join(STOP_SECONDS)

    def _write(self) -> None:
        while (text := self._waiting.get()) is not None:
            try:
                self._out.write(text)
                if self._waiting.empty():
                    self._out.flush()
            except OSError:
                self.dropped += 1
