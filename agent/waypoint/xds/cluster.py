"""A backend port as an Envoy cluster, and its endpoints."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from agent.ir.http import BackendPort, EndpointAddress, Pool
from agent.ir.identity import PROXY_TLV
from agent.ir.resources import Json
from agent.waypoint.xds import affinity

HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
PRESERVE_CASE = {
    "stateful_formatter": {
        "name": "envoy.http.stateful_header_formatters.preserve_case",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3."
            "PreserveCaseFormatterConfig",
            "forward_reason_phrase": True,
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


# The metadata of a pool's endpoints with the member that they belong to.
LB, MEMBER = "envoy.lb", "backend"

# A member's share goes to its endpoints only. An endpoint can belong to several members.
_SUBSETS: Json = {
    "lb_subset_config": {
        "fallback_policy": "NO_FALLBACK",
        "subset_selectors": [{"keys": [MEMBER]}],
        "list_as_any": True,
    }
}

_SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets"
# Each connection begins with the header that the listener's TCP proxy made for its client, with no other TLV.
_PROXY_PROTOCOL: Json = {
    "transport_socket": {
        "name": "proxy_protocol",
        "typed_config": {
            "@type": f"{_SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "config": {"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE", "tlv_type": [PROXY_TLV]}},
            "transport_socket": {
                "name": "raw_buffer",
                "typed_config": {"@type": f"{_SOCKETS}.raw_buffer.v3.RawBuffer"},
            },
        },
    }
}


def cluster(backend: BackendPort | Pool) -> Json:
    """The cluster of a backend port or a pool.

    Nothing of Envoy's own limits applies: the mesh must not be narrower than none.
    """
    limits = {"max_connections": NO_LIMIT, "max_pending_requests": NO_LIMIT, "max_requests": NO_LIMIT}
    return {
        "name": backend.cluster,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
        "connect_timeout": "10s",
        **(affinity.CLUSTER if backend.client_ip_affinity else {}),
        "circuit_breakers": {"thresholds": [{**limits, "max_retries": NO_LIMIT}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        **(_SUBSETS if isinstance(backend, Pool) else {}),
        **(_PROXY_PROTOCOL if isinstance(backend, BackendPort) and backend.proxy_trust_domain else {}),
        **_http_options(backend),
    }


def _http_options(backend: BackendPort | Pool) -> Json:
    """Its HTTP protocol options; none for bytes."""
    if backend.protocol == "tcp":
        return {}
    return {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "common_http_protocol_options": {
                    "idle_timeout": UPSTREAM_IDLE,
                    "max_headers_count": MAX_HEADERS,
                    "max_response_headers_kb": MAX_HEADERS_KB,
                },
                **_protocol(backend),
            }
        },
    }


def _protocol(backend: BackendPort | Pool) -> Json:
    http1 = {"http_protocol_options": {"header_key_format": PRESERVE_CASE, "enable_trailers": True}}
    http2: Json = {"http2_protocol_options": {}}
    if backend.protocol == "same":
        return {"use_downstream_protocol_config": {**http1, **http2}}
    return {"explicit_http_config": http2 if backend.protocol == "h2c" else http1}


def endpoints(backend: BackendPort, addresses: Iterable[EndpointAddress]) -> Json:
    """The addresses and ports of a cluster; with none Envoy answers 503 (no ready endpoint)."""
    return _assignment(backend.cluster, [_endpoint(item) for item in addresses])


def pool_endpoints(pool: Pool, addresses: Mapping[BackendPort, Iterable[EndpointAddress]]) -> Json:
    """The addresses and ports of all members, each once, with the members that it belongs to."""
    owners: dict[EndpointAddress, list[str]] = defaultdict(list)
    for member in pool.members:
        for address in addresses[member]:
            owners[address].append(member.cluster)
    found: list[Json] = [{**_endpoint(item), **whose(names)} for item, names in sorted(owners.items())]
    return _assignment(pool.cluster, found)


def whose(member: str | list[str]) -> Json:
    """The metadata of a pool's endpoint, and the metadata match of a share."""
    return {"metadata": {"filter_metadata": {LB: {MEMBER: member}}}}


def _endpoint(address: EndpointAddress) -> Json:
    return {"endpoint": {"address": {"socket_address": {"address": address[0], "port_value": address[1]}}}}


def _assignment(name: str, found: list[Json]) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": found}] if found else []}
