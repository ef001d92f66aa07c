"""The listener of a listener IR: the client allow list, then HTTP as untouched as Envoy can leave it."""

from agent.ir.http import HTTPListenerIR
from agent.ir.resources import Json
from agent.translate.filters.registry import HTTP_FILTERS
from agent.translate.options import Options
from agent.waypoint.xds import session
from agent.waypoint.xds.access_log import access_log
from agent.waypoint.xds.authorization import authorization_filter
from agent.waypoint.xds.client_allow_list import RBAC, client_allow_list_name
from agent.waypoint.xds.cluster import ADS, MAX_HEADERS, MAX_HEADERS_KB, PRESERVE_CASE
from agent.waypoint.xds.first_byte import HTTP, duration, first_byte
from agent.waypoint.xds.identities import identities_filter
from agent.waypoint.xds.request_stats import request_stats
from agent.waypoint.xds.route import FAULT, REFUSAL
from agent.waypoint.xds.tracing import tracing

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
# A client that is not sent more at once opens another connection; each stream can be a connection to a server.
MAX_STREAMS = 100
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def listener(name: str, listener_ir: HTTPListenerIR, options: Options) -> Json:
    """The listener without its address, which is allocated later."""
    return {
        "name": name,
        **first_byte(HTTP, options.first_byte_seconds),
        "filter_chains": [
            {"filters": [client_allow_list_filter(listener_ir.consumer), _http(name, listener_ir, options)]}
        ],
    }


def client_allow_list_filter(consumer: str) -> Json:
    """The filter without a default configuration: the listener accepts no connection before Envoy has the list."""
    return {
        "name": client_allow_list_name(consumer),
        "config_discovery": {"config_source": ADS, "type_urls": [RBAC]},
    }


def _http(name: str, listener_ir: HTTPListenerIR, options: Options) -> Json:
    return {
        "name": "http",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": name,
            "codec_type": "AUTO",
            "rds": {"route_config_name": listener_ir.name, "config_source": ADS},
            "http_filters": [
                identities_filter(),
                authorization_filter(),
                *(one for item in HTTP_FILTERS for one in item.chain),
                {"name": REFUSAL, "typed_config": {"@type": FAULT}, "disabled": True},
                {"name": session.NAME, "typed_config": {"@type": session.TYPE}, "disabled": True},
                {"name": "router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}},
            ],
            "access_log": [*request_stats(name), access_log(name.partition("/")[0])],
            **_transparent(listener_ir),
            "request_headers_timeout": duration(options.first_byte_seconds),
            "http2_protocol_options": {"max_concurrent_streams": MAX_STREAMS},
            **(tracing(listener_ir, options.collector) if options.collector else {}),
        },
    }


def _transparent(listener_ir: HTTPListenerIR) -> Json:
    """Settings with which Envoy passes requests unchanged (DESIGN.md §5, "Transparent unless asked")."""
    namespace, _, service = listener_ir.name.partition(":")[0].partition("/")
    return {
        "http_protocol_options": {
            "accept_http_10": True,
            # HTTP/1.0 has no Host; Envoy requires one.
            "default_host_for_http_10": f"{service}.{namespace}",
            "header_key_format": PRESERVE_CASE,
            "enable_trailers": True,
        },
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "preserve_external_request_id": True,
        # The client's own address is the peer's: nothing is derived from, or added to, X-Forwarded-For.
        "use_remote_address": False,
        "skip_xff_append": True,
        # The server decides about `Expect: 100-continue`.
        "proxy_100_continue": True,
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "max_request_headers_kb": MAX_HEADERS_KB,
        "common_http_protocol_options": {"idle_timeout": "3600s", "max_headers_count": MAX_HEADERS},
    }
