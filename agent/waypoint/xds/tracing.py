"""Spans: one for each request that is sampled, sent to a collector by OpenTelemetry's protocol over gRPC (OTLP)."""

import ipaddress

from agent.ir.http import HTTPListenerIR
from agent.ir.resources import Json
from agent.translate.options import Collector

TRACER = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"
UUID = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
SAMPLERS = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3"
HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# The cluster that is the collector, and what spans say that they are of.
COLLECTOR, SERVICE_NAME = "otlp", "weft-waypoint"
PER_MILLION = 10_000


def tracing(listener_ir: HTTPListenerIR, collector: Collector) -> Json:
    """The listener's tracing settings. The sampling decision in a request's trace context applies; of other requests a
    share is sampled.

    The tracer samples, because Envoy's own sampling needs an `x-request-id`, which weft does not add to requests.
    """
    share = {"numerator": round(collector.percent * PER_MILLION), "denominator": "MILLION"}
    ratio = {"@type": f"{SAMPLERS}.TraceIdRatioBasedSamplerConfig", "sampling_percentage": share}
    sampler = {"name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", "typed_config": ratio}
    parent = {"@type": f"{SAMPLERS}.ParentBasedSamplerConfig", "wrapped_sampler": sampler}
    provider = {
        "@type": TRACER,
        "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": "1s"},
        "service_name": SERVICE_NAME,
        "sampler": {"name": "envoy.tracers.opentelemetry.samplers.parent_based", "typed_config": parent},
    }
    tags = {"weft.service": listener_ir.name.partition("@")[0], "weft.rule": "%ROUTE_NAME%"}
    return {
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
            "operation": "%ROUTE_NAME%",
            "custom_tags": [{"tag": tag, "value": value} for tag, value in tags.items()],
        },
        "request_id_extension": {"typed_config": {"@type": UUID, "use_request_id_for_trace_sampling": False}},
    }


def collector_cluster(collector: Collector) -> Json:
    """The collector as a cluster of its own kind: an address, or a name that Envoy resolves."""
    socket = {"address": collector.host, "port_value": collector.port}
    endpoint = {"endpoint": {"address": {"socket_address": socket}}}
    return {
        "name": COLLECTOR,
        "type": "STATIC" if _is_address(collector.host) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": COLLECTOR, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
