"""An OTLP/gRPC collector that keeps the spans that it gets."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.ir.resources import ResourceName, ResourceType
from agent.translate.options import Collector
from agent.waypoint.xds.tracing import COLLECTOR, collector_cluster
from support.node.unary_server import serve, started
from support.waypoint.fixtures import WaypointNode, wait_for
from support.waypoint.listeners import SERVERS

PORT = 4317


@dataclass(frozen=True)
class Span:
    """One span, its numbers in hexadecimal digits, as `traceparent` has them."""

    trace: str
    number: str
    parent: str
    name: str
    service: str
    kind: int
    attributes: dict[str, str]


class CollectorHandle:
    """A collector in the node's namespace."""

    def __init__(self, spans: Path) -> None:
        self._spans = spans

    @property
    def spans(self) -> list[Span]:
        """The received spans, oldest first."""
        return [Span(**json.loads(line)) for line in self._spans.read_text().splitlines()]

    def span(self, path: str) -> Span:
        """The span of the request with this path, when it has come."""
        wait_for(f"a span of {path}", lambda: any(self._is_of(span, path) for span in self.spans))
        return next(span for span in self.spans if self._is_of(span, path))

    @staticmethod
    def _is_of(span: Span, path: str) -> bool:
        return span.attributes["http.url"].endswith(path)


@contextmanager
def collector(node: WaypointNode, percent: float = 100) -> Iterator[CollectorHandle]:
    """Listeners that are added meanwhile send spans to a collector."""
    spans = node.folder / "spans"
    with started(node, __file__, PORT, spans):
        before, node.collector = node.collector, Collector(SERVERS, PORT, percent)
        node.resources[ResourceName(ResourceType.CLUSTER, COLLECTOR)] = collector_cluster(node.collector)
        try:
            yield CollectorHandle(spans)
        finally:
            node.collector = before


def main(address: str, port: str, spans: str) -> None:
    """Serve `TraceService/Export`, and write each span as a line of JSON."""
    import grpc  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp  # noqa: PLC0415

    out = Path(spans).open("a", buffering=1)  # noqa: SIM115

    def export(request: otlp.ExportTraceServiceRequest, _: grpc.ServicerContext) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            service = {item.key: item.value.string_value for item in resource.resource.attributes}["service.name"]
            # The stubs are of before `scope_spans` had its name; its number is the same.
            for span in (span for scope in resource.instrumentation_library_spans for span in scope.spans):
                received = Span(
                    trace=span.trace_id.hex(),
                    number=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    service=service,
                    kind=span.kind,
                    attributes={item.key: item.value.string_value for item in span.attributes},
                )
                out.write(json.dumps(received.__dict__) + "\n")
        return otlp.ExportTraceServiceResponse()

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    serve(f"{address}:{port}", service, "Export", otlp.ExportTraceServiceRequest, export)


if __name__ == "__main__":
    main(*sys.argv[1:])
