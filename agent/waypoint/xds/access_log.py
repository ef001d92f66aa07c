"""The listeners' log of requests: streamed to the agent, one stream for all listeners of a worker.

It is the same in each of them, so that Envoy makes one logger of it; the agent finds the listener by its port.
"""

from agent.ir.resources import Json
from agent.translate.filters.url_rewrite import received_tags
from agent.waypoint.xds.cluster import LB, MEMBER

TYPE = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
# The cluster of Envoy's bootstrap that is the agent: in it since before there was a log, so also in an old Envoy's.
AGENT = "agent"
# The cluster, which Envoy's own field names only where an endpoint was asked; and whose endpoint it was, in a pool.
CLUSTER_TAG, MEMBERS_TAG = "cluster", "members"
# What Envoy has no fields for.
REQUEST_HEADERS = (":method", "content-type", "traceparent")
GRPC_STATUS = "grpc-status"
# What is not sent after so long is sent, and what fills so many bytes before.
FLUSH, BUFFER_BYTES = "1s", 16384


def access_log() -> Json:
    """One logger. What the agent does not take in time, Envoy drops and counts."""
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
                *received_tags(),
            ],
        },
        "additional_request_headers_to_log": list(REQUEST_HEADERS),
        "additional_response_headers_to_log": [GRPC_STATUS],
        "additional_response_trailers_to_log": [GRPC_STATUS],
    }
    return {"name": "agent", "typed_config": config}
