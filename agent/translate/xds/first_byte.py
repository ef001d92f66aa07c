"""How long a listener waits for a client that says nothing: until its first byte, and for the rest of a request's head.

A connection counts against Envoy's limit from accept on, but an idle time of HTTP, which is long because clients keep
connections for later, would begin at accept as well.
"""

from agent.plan.plan import Json

INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"


def duration(seconds: float) -> str:
    """As protobuf's JSON form writes it."""
    return f"{seconds:g}s"


def first_byte(seconds: float) -> Json:
    """What makes a listener close connections without a first byte after so long: of Envoy's listener filters the one
    that looks at the least. It finds out whether it is TLS, by one look at what came.
    """
    return {
        "listener_filters": [{"name": "tls", "typed_config": {"@type": INSPECTOR}}],
        "listener_filters_timeout": duration(seconds),
        "continue_on_listener_filters_timeout": False,
    }
