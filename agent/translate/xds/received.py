"""The path and host that a client sent, kept for the access log where a rule rewrites them.

Envoy logs a request as it is in the end. It would keep the former path in `x-envoy-original-path`, a header that
clients can write too, and that servers shall not get from the waypoint.
"""

from agent.model.filters import URLRewrite
from agent.plan.resources import Json

NAME = "received"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
# Names of the filter state, and of the log's tags.
PATH, AUTHORITY = "received-path", "received-authority"
# Characters that are kept, as many as the agent logs.
MAX_TEXT = 2048


def received_filter() -> Json:
    """The listener's filter, off but for routes that have `received_config`."""
    return {"name": NAME, "typed_config": {"@type": TYPE}, "disabled": True}


def received_config(rewrite: URLRewrite | None) -> Json:
    """The filter's part of a route; nothing for one that rewrites nothing."""
    kept = {
        PATH: ":PATH" if rewrite and rewrite.path is not None else "",
        AUTHORITY: ":AUTHORITY" if rewrite and rewrite.hostname is not None else "",
    }
    values = [_value(name, header) for name, header in kept.items() if header]
    return {NAME: {"@type": TYPE, "on_request_headers": values}} if values else {}


def received_tags() -> list[Json]:
    """What the access log says of it: `-` where nothing was kept."""
    return [{"tag": name, "value": f"%FILTER_STATE({name}:PLAIN)%"} for name in (PATH, AUTHORITY)]


def _value(name: str, header: str) -> Json:
    return {
        "object_key": name,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": f"%REQ({header}):{MAX_TEXT}%"}},
    }
