"""The listeners' loggers that count requests inside Envoy (`envoy.access_loggers.stats`), for the agent to read.

Every request is counted twice: in the series of its client, rule, backend and outcome, and in one sum of all requests.
The series have a capacity, and those without requests for a while are removed. What they lack is in the sum, so that
the agent can count it as `other`. Tags are one string, since each one costs time for every metric of a request.

Settings are a TypedStruct: the published protobuf classes lack the field `stats_scope` (xds-protos 1.85, Envoy 1.40).
"""

from typing import Any

from agent.ir.resources import Json
from agent.waypoint.xds.authorization import AUDIT
from agent.waypoint.xds.cluster import LB, MEMBER

TYPE = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"
# The prefixes of names: `all` sorts before `by`, so Envoy reports the sum first, and the series are never behind it.
ALL, BY = "weft.all", "weft.by"
SEPARATOR = "|"
HTTP, GRPC = "http", "grpc"
# A series takes three histograms, 10 kB in all; each of its outcomes a counter.
MAX_SERIES = 400
MAX_OUTCOMES = 8 * MAX_SERIES
COUNTER = "requests"
# By the names of `agent.ir.request_stats.BOUNDS`. Sizes are those on the connection.
VALUES = {
    "duration": ("Microseconds", "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"),
    "received": ("Bytes", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
    "sent": ("Bytes", "%DOWNSTREAM_WIRE_BYTES_SENT%"),
}
_OUTCOME = ("%RESPONSE_CODE%", "%RESPONSE_FLAGS%")
_IS_GRPC: Json = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_IS_NOT_GRPC: Json = {**_IS_GRPC, "invert_match": True, "treat_missing_header_as_empty": True}


def request_stats(listener: str) -> list[Json]:
    """The loggers of a listener. The series come before the sum, so that the sum is never ahead of them."""
    return [
        _series(listener, HTTP, _IS_NOT_GRPC, _OUTCOME),
        _series(listener, GRPC, _IS_GRPC, (*_OUTCOME, "%GRPC_STATUS_NUMBER%")),
        _logger({"prefix": ALL}, [], []),
    ]


def _series(listener: str, protocol: str, header: Json, outcome: tuple[str, ...]) -> Json:
    """The logger of requests of a protocol, which their header tells."""
    scope = {
        "prefix": BY,
        "max_counters": MAX_OUTCOMES,
        "max_histograms": len(VALUES) * MAX_SERIES,
        "enable_eviction": True,
        "sharing_name": BY,
    }
    key = (
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        listener,
        "%ROUTE_NAME%",
        "%UPSTREAM_CLUSTER%",
        f"%UPSTREAM_METADATA({LB}:{MEMBER})%",
        protocol,
        AUDIT,
    )
    tags = [_tag("k", key)]
    return {**_logger(scope, tags, [*tags, _tag("o", outcome)]), "filter": {"header_filter": {"header": header}}}


def _tag(name: str, values: tuple[str, ...]) -> Json:
    return {"name": name, "value_format": SEPARATOR.join(values)}


def _logger(scope: dict[str, Any], tags: list[Json], outcome_tags: list[Json]) -> Json:
    histograms = [
        {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}
        for name, (unit, value) in VALUES.items()
    ]
    counter = {"stat": {"name": COUNTER, "tags": outcome_tags}, "value_fixed": 1}
    settings = {"stats_scope": scope, "counters": [counter], "histograms": histograms}
    return {
        "name": "stats",
        "typed_config": {"@type": STRUCT, "type_url": TYPE, "value": settings},
    }
