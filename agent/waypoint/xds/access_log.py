"""The listeners' log of requests: streamed to the agent, where somebody asks for it.

Each listener has it, and a filter that asks the runtime for the Service's namespace. The stream's settings are the same
in each of them, so that Envoy has one stream for all listeners of a worker; the agent finds the listener by its port.
"""

from agent.ir.access_log import EXPLAIN
from agent.ir.resources import Json
from agent.translate.filters.url_rewrite import received_tags
from agent.waypoint.xds.authorization import AUDIT
from agent.waypoint.xds.cluster import LB, MEMBER
from agent.waypoint.xds.runtime import access_log_key

TYPE = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
# The cluster of Envoy's bootstrap that is the agent: in it since before there was a log, so also in an old Envoy's.
AGENT = "agent"
# The cluster, which Envoy's own field names only where an endpoint was asked; and whose endpoint it was, in a pool.
CLUSTER_TAG, MEMBERS_TAG = "cluster", "members"
AUDIT_TAG = "audit"
# What Envoy has no fields for.
REQUEST_HEADERS = (":method", "content-type", "traceparent")
GRPC_STATUS = "grpc-status"
# What is not sent after so long is sent, and what fills so many bytes before.
FLUSH, BUFFER_BYTES = "1s", 2**20


def access_log(namespace: str) -> Json:
    """The logger of a namespace's listeners. What the agent does not take in time, Envoy drops and counts."""
    path = {"key": LB, "path": [{"key": MEMBER}]}
    config = {
        "@type": TYPE,
        "common_config": {
            "log_name": "requests",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": AGENT}},
            "buffer_flush_interval": FLUSH,
            "buffer_size_bytes": BUFFER_BYTES,
            "custom_tags": [
                {"tag": CLUSTER_TAG, "value": "%UPSTREAM_CLUSTER%"},
                {"tag": MEMBERS_TAG, "metadata": {"kind": {"host": {}}, "metadata_key": path}},
                {"tag": AUDIT_TAG, "value": AUDIT},
                *received_tags(),
            ],
        },
        "additional_request_headers_to_log": list(REQUEST_HEADERS),
        "additional_response_headers_to_log": [GRPC_STATUS],
        "additional_response_trailers_to_log": [GRPC_STATUS],
    }
    return {"name": "agent", "typed_config": config, "filter": {"or_filter": {"filters": _asked_for(namespace)}}}


def _asked_for(namespace: str) -> list[Json]:
    """Requests to a namespace whose access log is on, and those that `weft explain --live` sends."""
    explained = {"name": "x-request-id", "string_match": {"prefix": EXPLAIN}}
    none = {"numerator": 0, "denominator": "HUNDRED"}
    logged = {"runtime_key": access_log_key(namespace), "percent_sampled": none, "use_independent_randomness": True}
    return [{"header_filter": {"header": explained}}, {"runtime_filter": logged}]
