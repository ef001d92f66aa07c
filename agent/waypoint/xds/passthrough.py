"""The listener of TLSRoutes: the client allow list, then bytes to the server that the client's SNI names."""

from typing import Any

from agent.ir.http import TLSListenerIR, TLSRule, WeightedBackend
from agent.ir.resources import Json
from agent.translate.options import Options
from agent.translate.rule_requirements import ByBackend, of_connection
from agent.waypoint.xds import affinity
from agent.waypoint.xds.authorization import authorization_filters
from agent.waypoint.xds.first_byte import TLS, first_byte
from agent.waypoint.xds.listener import client_allow_list_filter
from agent.waypoint.xds.spiffe_ids import TLVS, spiffe_ids_filter

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
# Envoy reads no more of a client before it has connected to the server.
EARLY_DATA_BYTES = 16384
# A cluster that there is not: its share of the connections is closed.
NOWHERE = "invalid"


def passthrough_listener(listener_ir: TLSListenerIR, requirements: ByBackend, options: Options) -> Json:
    """The listener without its address. Envoy looks for the exact name, then for the longest matching `*.`. Where none
    matches, or the connection is not TLS, it closes the connection.
    """
    return {
        "name": listener_ir.name,
        **first_byte(TLS, options.first_byte_seconds),
        "filter_chains": [_chain(rule, listener_ir, requirements) for rule in listener_ir.rules],
    }


def _chain(rule: TLSRule, listener_ir: TLSListenerIR, requirements: ByBackend) -> Json:
    required = of_connection(rule, requirements)
    with_header = any(item.backend is not None and item.backend.proxy_trust_domain for item in rule.backends)
    names = {"server_names": list(rule.server_names)} if rule.server_names else {}
    return {
        "name": rule.name,
        "filter_chain_match": {"transport_protocol": "tls", **names},
        "filters": [
            client_allow_list_filter(listener_ir.consumer),
            *authorization_filters(required),
            *((spiffe_ids_filter(),) if with_header else ()),
            _proxy(rule, listener_ir.name, bool(required), with_header),
        ],
    }


def _proxy(rule: TLSRule, name: str, protected: bool, with_header: bool) -> Json:
    """Weights as in the Route. Envoy has no idle timeout: client and server have their own. It connects to servers that
    are protected, or get a header with the client, when it knows the client: at the first byte.
    """
    config: dict[str, Any] = {"@type": TCP_PROXY, "stat_prefix": name, "idle_timeout": "0s"}
    if with_header:
        config |= TLVS
    if protected or with_header:
        config |= {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": EARLY_DATA_BYTES}
    if rule.backends:
        shares = [{"name": _cluster(item), "weight": item.weight} for item in rule.backends]
        config |= {
            "weighted_clusters": {"clusters": shares},
            **(affinity.PROXY if affinity.any_affinity(rule.backends) else {}),
        }
    else:
        config["cluster"] = NOWHERE
    return {"name": "tcp", "typed_config": config}


def _cluster(share: WeightedBackend) -> str:
    return share.backend.cluster if share.backend is not None else NOWHERE
