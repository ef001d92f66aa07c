"""Envoy's log of requests, streamed to the agent (ALS) over the socket of its configuration.

Envoy buffers entries that are not read yet, and drops entries that do not fit: a slow or absent agent slows no request.
So the agent reads for at most half of its time.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from envoy.service.accesslog.v3 import als_pb2

from agent.ir.access_log import AccessLogEntry
from agent.ir.tables import host_port
from agent.translate.filters.url_rewrite import AUTHORITY, MAX_TEXT, PATH
from agent.waypoint.xds.access_log import AUDIT_TAG, CLUSTER_TAG, GRPC_STATUS, MEMBERS_TAG
from agent.waypoint.xds.authorization import audit_of_id

SERVICE = "envoy.service.accesslog.v3.AccessLogService"
METHOD = "StreamAccessLogs"
# https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, by the field that is set.
FLAGS = {
    "failed_local_healthcheck": "LH",
    "no_healthy_upstream": "UH",
    "upstream_request_timeout": "UT",
    "local_reset": "LR",
    "upstream_remote_reset": "UR",
    "upstream_connection_failure": "UF",
    "upstream_connection_termination": "UC",
    "upstream_overflow": "UO",
    "no_route_found": "NR",
    "delay_injected": "DI",
    "fault_injected": "FI",
    "rate_limited": "RL",
    "unauthorized_details": "UAEX",
    "rate_limit_service_error": "RLSE",
    "downstream_connection_termination": "DC",
    "upstream_retry_limit_exceeded": "URX",
    "stream_idle_timeout": "SI",
    "invalid_envoy_request_headers": "IH",
    "downstream_protocol_error": "DPE",
    "upstream_max_stream_duration_reached": "UMSDR",
    "response_from_cache_filter": "RFCF",
    "no_filter_config_found": "NFCF",
    "duration_timeout": "DT",
    "upstream_protocol_error": "UPE",
    "no_cluster_found": "NC",
    "overload_manager": "OM",
    "dns_resolution_failure": "DF",
    "downstream_remote_reset": "DR",
}
# Clients write texts; what is longer than `MAX_TEXT` is cut.
_PROTOCOLS = {1: "HTTP/1.0", 2: "HTTP/1.1", 3: "HTTP/2", 4: "HTTP/3"}


EntriesHandler = Callable[[list[AccessLogEntry]], None]
"""Gets the entries of one message, the oldest first."""


class AccessLog:
    """Takes the log of every Envoy that connects."""

    def __init__(self, take: EntriesHandler) -> None:
        self._take = take
        self._reading = asyncio.Lock()
        self._readers: set[asyncio.Future[None]] = set()

    def handler(self) -> Any:
        """The handler for a gRPC server."""
        method = grpc.stream_unary_rpc_method_handler(
            self._serve,
            request_deserializer=als_pb2.StreamAccessLogsMessage.FromString,
            response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    def stop(self) -> None:
        """Close all streams."""
        for reader in self._readers:
            reader.cancel()

    async def _serve(self, messages: Any, _context: Any) -> Any:
        """One stream of one worker, until it ends."""
        reader = asyncio.ensure_future(self._read(messages))
        self._readers.add(reader)
        try:
            await asyncio.wait([reader])
        finally:
            self._readers.discard(reader)
            reader.cancel()
        if not reader.cancelled():
            reader.result()
        return als_pb2.StreamAccessLogsResponse()

    async def _read(self, messages: Any) -> None:
        clock = asyncio.get_running_loop().time
        async for message in messages:
            async with self._reading:
                began = clock()
                self._take([parse_entry(entry) for entry in message.http_logs.log_entry])
                # As long again for other tasks, with any number of streams.
                await asyncio.sleep(clock() - began)


def parse_entry(entry: Any) -> AccessLogEntry:
    """A log entry (`envoy.data.accesslog.v3.HTTPAccessLogEntry`) as a value."""
    common, request, response = entry.common_properties, entry.request, entry.response
    headers = request.request_headers
    is_grpc = headers.get("content-type", "").startswith("application/grpc")
    return AccessLogEntry(
        start=common.start_time.seconds + common.start_time.nanos / 1e9,
        client=common.downstream_direct_remote_address.socket_address.address,
        port=common.downstream_local_address.socket_address.port_value,
        route=common.route_name,
        cluster=_tag(common.custom_tags, CLUSTER_TAG),
        audit=audit_of_id(_tag(common.custom_tags, AUDIT_TAG)),
        members=_members(common.custom_tags),
        upstream=_endpoint(common.upstream_remote_address.socket_address),
        protocol=_PROTOCOLS.get(entry.protocol_version, ""),
        method=headers.get(":method", "")[:MAX_TEXT],
        authority=(_tag(common.custom_tags, AUTHORITY) or request.authority)[:MAX_TEXT],
        # Not `original_path`: that is a header, which any client can write.
        path=(_tag(common.custom_tags, PATH) or request.path)[:MAX_TEXT],
        user_agent=request.user_agent[:MAX_TEXT],
        request_id=request.request_id[:MAX_TEXT],
        traceparent=headers.get("traceparent", "")[:MAX_TEXT],
        is_grpc=is_grpc,
        code=response.response_code.value,
        grpc_status=_grpc_status(response) if is_grpc else "",
        flags=_flags(common.response_flags),
        details=response.response_code_details,
        attempts=common.upstream_request_attempt_count,
        received=request.request_headers_bytes + request.request_body_bytes,
        sent=response.response_headers_bytes + response.response_body_bytes,
        seconds=_seconds(common.duration),
        upstream_seconds=_seconds(common.time_to_last_upstream_rx_byte),
    )


def _tag(tags: Mapping[str, str], tag: str) -> str:
    """A tag's value; Envoy writes `-` where there is none."""
    text = tags.get(tag, "")
    return "" if text == "-" else text


def _members(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The clusters that the endpoint is of: a JSON list, where there is any."""
    text = tags.get(MEMBERS_TAG, "")
    return tuple(json.loads(text)) if text.startswith("[") else ()


def _endpoint(address: Any) -> str:
    return host_port(address.address, address.port_value) if address.address else ""


def _grpc_status(response: Any) -> str:
    """It is in the trailers, or in the headers of a response that has nothing else."""
    return str(response.response_trailers.get(GRPC_STATUS) or response.response_headers.get(GRPC_STATUS, ""))


def _flags(flags: Any) -> str:
    return ",".join(FLAGS[field.name] for field, _ in flags.ListFields() if field.name in FLAGS) or "-"


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
