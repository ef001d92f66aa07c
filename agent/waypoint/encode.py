"""Resources from plain mappings to the bytes that Envoy reads."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import resolve_name

from envoy.config.trace.v3 import opentelemetry_pb2 as _tracer
from envoy.extensions.access_loggers.grpc.v3 import als_pb2 as _access_log
from envoy.extensions.filters.http.composite.v3 import composite_pb2 as _composite
from envoy.extensions.filters.http.fault.v3 import fault_pb2 as _fault
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as _http_rbac
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2 as _set_filter_state
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2 as _session
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2 as _http_inspector
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as _tls_inspector
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as _hcm
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as _rbac
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as _tcp_proxy
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2 as _preserve_case
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2 as _session_cookie
from envoy.extensions.http.stateful_session.header.v3 import header_pb2 as _session_header
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2 as _network_inputs
from envoy.extensions.request_id.uuid.v3 import uuid_pb2 as _uuid
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as _previous_hosts
from envoy.extensions.tracers.opentelemetry.samplers.v3 import parent_based_sampler_pb2 as _parent_based
from envoy.extensions.tracers.opentelemetry.samplers.v3 import trace_id_ratio_based_sampler_pb2 as _ratio_based
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2 as _proxy_protocol
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2 as _raw_buffer
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http_options
from google.protobuf import any_pb2, json_format
from xds.type.matcher.v3 import ip_pb2 as _ip_matcher
from xds.type.v3 import typed_struct_pb2 as _typed_struct

from agent.ir.addresses import Addresses
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.filters.registry import HTTP_FILTERS

# Messages that resources hold packed: imported so that protobuf knows them by name.
PACKED = (
    _access_log,
    _typed_struct,
    _tracer,
    _uuid,
    _parent_based,
    _ratio_based,
    _session,
    _session_cookie,
    _session_header,
    _fault,
    _previous_hosts,
    _router,
    _hcm,
    _tcp_proxy,
    _http_inspector,
    _tls_inspector,
    _rbac,
    _http_rbac,
    _composite,
    _set_filter_state,
    _network_inputs,
    _ip_matcher,
    _preserve_case,
    _http_options,
    _proxy_protocol,
    _raw_buffer,
    *(import_module(name) for item in HTTP_FILTERS for name in item.messages),
)

# The limits of one Route and of the Routes of a port keep resources below it.
RESOURCE_BYTES = 32 * 2**20

_MESSAGES = {kind: resolve_name(kind.message) for kind in ResourceType}


class EncodeError(ValueError):
    """A resource that its message cannot hold, or that is too large; names the resource and the field."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A resource's bytes, packed, with their hash as version: the same content has the same version for ever.

    `cluster_refs` are the clusters that it names.
    """

    version: str
    packed: any_pb2.Any
    cluster_refs: frozenset[str]


def encode(name: ResourceName, resource: Json, addresses: Addresses | None = None, port: int | None = None) -> Encoded:
    """Encode a resource; a listener gets its addresses. Raises `EncodeError`."""
    if name.kind is ResourceType.LISTENER:
        # Protobuf would take an absent port for 0, and Envoy would listen on any port.
        sockets = [{"socket_address": {"address": address, "port_value": port}} for address in addresses or ()]
        if not sockets or not port:
            raise EncodeError(f"Listener {name.name}: address: needs both an address and a port")
        # Without this field where there is one address, as an earlier version has it: it is not sent again.
        more = {"additional_addresses": [{"address": socket} for socket in sockets[1:]]} if sockets[1:] else {}
        resource = {**resource, "address": sockets[0], **more}
    try:
        message = json_format.ParseDict(dict(resource), _MESSAGES[name.kind]())
    except json_format.ParseError as error:
        raise EncodeError(f"{name}: {error}") from error
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    if len(packed.value) > RESOURCE_BYTES:
        raise EncodeError(f"{name}: has {len(packed.value)} bytes, more than {RESOURCE_BYTES}")
    version = hashlib.blake2b(packed.value, digest_size=12).hexdigest()
    return Encoded(version, packed, frozenset(_clusters(resource, name.kind is ResourceType.ROUTE)))


def _clusters(value: object, grpc: bool) -> Iterator[str]:
    """The clusters that routes and proxies anywhere in a resource name.

    `grpc`: of gRPC services too. Those of a listener are for telemetry, which no traffic waits for.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "cluster":
                yield item
            elif key == "weighted_clusters":
                yield from (share["name"] for share in item["clusters"])
            elif key == "envoy_grpc" and grpc:
                yield item["cluster_name"]
            else:
                yield from _clusters(item, grpc)
    elif isinstance(value, list):
        for item in value:
            yield from _clusters(item, grpc)
