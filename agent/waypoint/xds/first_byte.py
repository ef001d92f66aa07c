"""How long a listener waits for a silent client: for its first byte, and for the rest of a request's head.

A connection counts against Envoy's limit from accept on, but an idle time of HTTP, which is long because clients keep
connections for later, would begin at accept as well.
"""

from agent.ir.resources import Json

_FILTERS = "type.googleapis.com/envoy.extensions.filters.listener"
# What looks at the first bytes without taking them. For HTTP it waits for the request's first line or HTTP/2's preface,
# and lets pass what is neither; it costs a new connection less than half of what the other does.
HTTP: Json = {"name": "http", "typed_config": {"@type": f"{_FILTERS}.http_inspector.v3.HttpInspector"}}
TLS: Json = {"name": "tls", "typed_config": {"@type": f"{_FILTERS}.tls_inspector.v3.TlsInspector"}}


def duration(seconds: float) -> str:
    """A Duration in protobuf's JSON form."""
    return f"{seconds:g}s"


def first_byte(inspector: Json, seconds: float) -> Json:
    """What makes a listener close connections whose first bytes `inspector` has not seen after so long."""
    return {
        "listener_filters": [inspector],
        "listener_filters_timeout": duration(seconds),
        "continue_on_listener_filters_timeout": False,
    }
