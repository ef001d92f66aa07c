"""Who the client of a connection is, for servers of bytes: its SPIFFE ID, by the address of the pod of this node.

The header of the PROXY protocol has it. Envoy writes the header before the first byte of the client, so no client can
write it.
"""

from collections.abc import Mapping

from agent.ir.identity import PROXY_TLV, spiffe_id
from agent.ir.policy import ServiceAccount
from agent.ir.resources import Json
from agent.waypoint.xds.client_allow_list import METADATA, RBAC, policy_name_key, shadow_rules
from agent.waypoint.xds.cluster import ADS
from agent.waypoint.xds.identities import by_account

NAME = "client-spiffe-ids"
_PREFIX = "spiffe_"
_ID = f"%DYNAMIC_METADATA({METADATA}:{policy_name_key(_PREFIX)})%"
TLVS: Json = {
    "proxy_protocol_tlvs": [
        {
            "type": PROXY_TLV,
            "format_string": {"text_format_source": {"inline_string": _ID}, "omit_empty_values": True},
        }
    ]
}
"""The part of Envoy's TCP proxy that has the ID of the connection's client; empty for a client without one."""


def spiffe_ids_filter() -> Json:
    """The network filter before the TCP proxy. It has no default configuration: the listener accepts no connection
    before Envoy has the resource.
    """
    return {"name": NAME, "config_discovery": {"config_source": ADS, "type_urls": [RBAC]}}


def client_spiffe_ids(accounts: Mapping[str, ServiceAccount], trust_domain: str) -> Json:
    """The resource, one for all listeners: an RBAC filter that refuses nobody. Its shadow rules have the SPIFFE IDs of
    addresses for names.
    """
    named = {spiffe_id(it.namespace, it.name, trust_domain): found for it, found in by_account(accounts).items()}
    return {
        "name": NAME,
        "typed_config": {
            "@type": RBAC,
            "stat_prefix": "client_spiffe_ids",
            **(shadow_rules(named, _PREFIX) if named else {}),
        },
    }
