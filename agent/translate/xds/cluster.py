"""A backend port as an Envoy cluster, and its endpoints."""

from collections.abc import Iterable

from agent.plan.plan import Json
from agent.translate.ir import BackendPort

HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
PRESERVE_CASE = {
    "stateful_formatter": {
        "name": "envoy.http.stateful_header_formatters.preserve_case",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3."
            "PreserveCaseFormatterConfig"
        },
    }
}
ADS = {"ads": {}, "resource_api_version": "V3"}
NO_LIMIT = 2**31
# Of a request or a response. Envoy's ceiling is 8 MiB; nothing that a server accepts today comes near this.
MAX_HEADERS_KB = 1024
MAX_HEADERS = 1000
# Servers close idle connections after 5 s (Node.js) and more; a request must not meet a connection that is closing.
UPSTREAM_IDLE = "4s"


def cluster(backend: BackendPort) -> Json:
    """The cluster of a backend port. Nothing of Envoy's own limits applies: the mesh must not be narrower than none."""
    limits = {"max_connections": NO_LIMIT, "max_pending_requests": NO_LIMIT, "max_requests": NO_LIMIT}
    return {
        "name": backend.cluster,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
        "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [{**limits, "max_retries": NO_LIMIT}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "common_http_protocol_options": {
                    "idle_timeout": UPSTREAM_IDLE,
                    "max_headers_count": MAX_HEADERS,
                    "max_response_headers_kb": MAX_HEADERS_KB,
                },
                "explicit_http_config": _protocol(backend),
            }
        },
    }


def _protocol(backend: BackendPort) -> Json:
    if backend.protocol == "h2c":
        return {"http2_protocol_options": {}}
    return {"http_protocol_options": {"header_key_format": PRESERVE_CASE, "enable_trailers": True}}


def endpoints(backend: BackendPort, addresses: Iterable[tuple[str, int]]) -> Json:
    """The addresses and ports behind a cluster; none means 503 (no ready endpoint)."""
    found = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in addresses
    ]
    return {"cluster_name": backend.cluster, "endpoints": [{"lb_endpoints": found}] if found else []}
