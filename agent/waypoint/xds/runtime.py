"""The layer of Envoy's runtime that the agent sends (RTDS): the namespaces whose requests Envoy reports to it.

A value of the runtime changes no listener and no route, so a namespace is switched without touching a connection.
"""

from collections.abc import Iterable

from agent.ir.resources import Json

LAYER = "weft"
_ALL_REQUESTS = 100


def access_log_key(namespace: str) -> str:
    """The runtime key with the percentage of requests to a namespace's Services that Envoy reports."""
    return f"weft.access_log.{namespace}"


def runtime(logged: Iterable[str]) -> Json:
    """The layer: all requests to Services of these namespaces are reported, and none to others."""
    return {"name": LAYER, "layer": {access_log_key(namespace): _ALL_REQUESTS for namespace in sorted(logged)}}
