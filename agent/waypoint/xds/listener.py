"""The listener of a route set: admission, then HTTP as untouched as Envoy can leave it."""

from agent.ir.http import RouteSet
from agent.ir.resources import Json
from agent.translate.filters.registry import HTTP_FILTERS
from agent.translate.options import Options
from agent.waypoint.xds import session
from agent.waypoint.xds.access_log import access_log
from agent.waypoint.xds.client_allow_list import RBAC, admission_name
from agent.waypoint.xds.cluster import ADS, MAX_HEADERS, MAX_HEADERS_KB, PRESERVE_CASE
from agent.waypoint.xds.first_byte import HTTP, duration, first_byte
from agent.waypoint.xds.route import FAULT, REFUSAL
from agent.waypoint.xds.tracing import tracing

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
# A client that is not sent more at once opens another connection; each stream can be a connection to a server.
MAX_STREAMS = 100
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def listener(name: str, route_set: RouteSet, options: Options) -> Json:
    """The listener without its address, which is allocated later."""
    return {
        "name": name,
        **first_byte(HTTP, options.first_byte_seconds),
        "filter_chains": [{"filters": [admission_filter(route_set.consumer), _http(name, route_set, options)]}],
    }


def admission_filter(consumer: str) -> Json:
    """Nobody is let in before Envoy knows whom to admit: the filter has no default, so the listener waits for it."""
    return {
        "name": admission_name(consumer),
        "config_discovery": {"config_source": ADS, "type_urls": [RBAC]},
    }


def _http(name: str, route_set: RouteSet, options: Options) -> Json:
    return {
        "name": "http",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": name,
            "codec_type": "AUTO",
            "rds": {"route_config_name": route_set.name, "config_source": ADS},
            "http_filters": [
                *(one for item in HTTP_FILTERS for one in item.chain),
                {"name": REFUSAL, "typed_config": {"@type": FAULT}},
                {"name": session.NAME, "typed_config": {"@type": session.TYPE}},
                {"name": "router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}},
            ],
            "access_log": [access_log()],
            **_transparent(route_set),
            "request_headers_timeout": duration(options.first_byte_seconds),
            "http2_protocol_options": {"max_concurrent_streams": MAX_STREAMS},
            **(tracing(route_set, options.collector) if options.collector else {}),
        },
    }


def _transparent(route_set: RouteSet) -> Json:
    """What makes Envoy leave requests alone (DESIGN.md §5, "Transparent unless asked")."""
    namespace, _, service = route_set.name.partition(":")[0].partition("/")
    return {
        "http_protocol_options": {
            "accept_http_10": True,
            # HTTP/1.0 knows no Host; Envoy insists on one.
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
        # Whether a body is welcome is for the server to say.
        "proxy_100_continue": True,
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "max_request_headers_kb": MAX_HEADERS_KB,
        "common_http_protocol_options": {"idle_timeout": "3600s", "max_headers_count": MAX_HEADERS},
    }
