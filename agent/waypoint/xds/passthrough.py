"""The listener of TLSRoutes: admission, then bytes to whoever the client's first message names."""

from typing import Any

from agent.ir.http import TLSRouteSet, TLSRule, WeightedBackend
from agent.ir.resources import Json
from agent.translate.options import Options
from agent.waypoint.xds import affinity
from agent.waypoint.xds.first_byte import TLS, first_byte
from agent.waypoint.xds.listener import admission_filter

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
# A cluster that there is not: its share of the connections is closed.
NOWHERE = "invalid"


def passthrough_listener(route_set: TLSRouteSet, options: Options) -> Json:
    """The listener without its address. Envoy looks for the exact name, then for the longest `*.` that fits; where
    none does, and where somebody speaks no TLS, it closes the connection.
    """
    return {
        "name": route_set.name,
        **first_byte(TLS, options.first_byte_seconds),
        "filter_chains": [_chain(rule, route_set) for rule in route_set.rules],
    }


def _chain(rule: TLSRule, route_set: TLSRouteSet) -> Json:
    names = {"server_names": list(rule.server_names)} if rule.server_names else {}
    return {
        "name": rule.name,
        "filter_chain_match": {"transport_protocol": "tls", **names},
        "filters": [admission_filter(route_set.consumer), _proxy(rule, route_set.name)],
    }


def _proxy(rule: TLSRule, name: str) -> Json:
    """Weights as the Route gives them. How long a connection may be silent is for its two ends to say."""
    config: dict[str, Any] = {"@type": TCP_PROXY, "stat_prefix": name, "idle_timeout": "0s"}
    if rule.backends:
        shares = [{"name": _cluster(item), "weight": item.weight} for item in rule.backends]
        config |= {
            "weighted_clusters": {"clusters": shares},
            **(affinity.PROXY if affinity.is_asked(rule.backends) else {}),
        }
    else:
        config["cluster"] = NOWHERE
    return {"name": "tcp", "typed_config": config}


def _cluster(share: WeightedBackend) -> str:
    return share.backend.cluster if share.backend is not None else NOWHERE
