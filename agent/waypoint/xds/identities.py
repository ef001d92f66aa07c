"""Who the client of a request is: its service account, by the address of the pod of this node.

It is one resource for all listeners, discovered by name, so that a new pod touches no listener and no Route. The result
is in Envoy's filter state, which no client can write.
"""

from collections import defaultdict
from collections.abc import Mapping

from agent.ir.identity import XFCC_HEADER, xfcc_value
from agent.ir.policy import ANY, ServiceAccount
from agent.ir.resources import Json
from agent.translate.filters.external_auth import COMPOSITE, EXECUTE, MATCHER
from agent.waypoint.xds.cluster import ADS

NAME = "client-identities"
STATE = "weft.identity"
XFCC_STATE = "weft.xfcc"
SET_STATE = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
SOURCE = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput"
IP_MATCHER = "type.googleapis.com/xds.type.matcher.v3.IPMatcher"


# The part of a route that enables the filter: an empty configuration that is set (Envoy 1.40).
ENABLED: Json = {NAME: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}}


def identities_filter() -> Json:
    """The listener's filter, disabled but for routes that enable it. It has no default configuration: the listener
    accepts no connection before Envoy has the resource.
    """
    return {"name": NAME, "config_discovery": {"config_source": ADS, "type_urls": [MATCHER]}, "disabled": True}


def client_identities(accounts: Mapping[str, ServiceAccount], trust_domain: str = "") -> Json:
    """The resource: service accounts by address; with a trust domain also their values of XFCC. Without
    accounts the filter does nothing.
    """
    ranges = [_range(account, addresses, trust_domain) for account, addresses in by_account(accounts).items()]
    return {
        "name": NAME,
        "typed_config": {
            "@type": MATCHER,
            "xds_matcher": _by_source(ranges) if ranges else {},
            "extension_config": {"name": "composite", "typed_config": {"@type": COMPOSITE}},
        },
    }


def request_principal(account: ServiceAccount) -> Json:
    """Requests of this service account, in the terms of Envoy's RBAC filter."""
    return {"filter_state": {"key": STATE, "string_match": account_match(account)}}


def account_match(account: ServiceAccount) -> Json:
    """A StringMatcher of the identities that a service account of a policy stands for."""
    return {"prefix": f"{account.namespace}/"} if account.name == ANY else {"exact": str(account)}


def by_account(accounts: Mapping[str, ServiceAccount]) -> Mapping[ServiceAccount, list[str]]:
    """The addresses of each service account, sorted."""
    addresses: dict[ServiceAccount, list[str]] = defaultdict(list)
    for address, account in sorted(accounts.items(), key=lambda item: (item[1], item[0])):
        addresses[account].append(address)
    return addresses


def cidr(address: str) -> Json:
    """The range of one address."""
    return {"address_prefix": address, "prefix_len": 128 if ":" in address else 32}


def _by_source(ranges: list[Json]) -> Json:
    matcher = {"@type": IP_MATCHER, "range_matchers": ranges}
    return {
        "matcher_tree": {
            "input": {"name": "source", "typed_config": {"@type": SOURCE}},
            "custom_match": {"name": "ip", "typed_config": matcher},
        }
    }


def xfcc_headers() -> Json:
    """The part of a virtual host by which servers get XFCC. It comes after the headers that Routes set, and a client
    without an identity has no header: Envoy has removed the client's own.
    """
    header = {"key": XFCC_HEADER, "value": f"%FILTER_STATE({XFCC_STATE}:PLAIN)%"}
    return {
        "request_headers_to_remove": [XFCC_HEADER],
        "request_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "typed_per_filter_config": ENABLED,
    }


def _range(account: ServiceAccount, addresses: list[str], trust_domain: str) -> Json:
    states = [_state(STATE, str(account))]
    if trust_domain:
        states.append(_state(XFCC_STATE, xfcc_value(account.namespace, account.name, trust_domain)))
    config = {"@type": SET_STATE, "on_request_headers": states}
    run = {"@type": EXECUTE, "typed_config": {"name": "set_filter_state", "typed_config": config}}
    return {
        "ranges": [cidr(address) for address in addresses],
        "on_match": {"action": {"name": "set", "typed_config": run}},
    }


def _state(key: str, value: str) -> Json:
    return {
        "object_key": key,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": value}},
        "read_only": True,
    }
