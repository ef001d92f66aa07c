"""The filter that decides who may connect: discovered by name, so that a new pod does not touch any listener."""

from collections.abc import Iterable, Mapping

from agent.ir.policy import ServiceAccount
from agent.ir.resources import Json
from agent.waypoint.xds.identities import account_match, by_account, cidr

RBAC = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
METADATA = "envoy.filters.network.rbac"
METADATA_PREFIX = "client_"


def client_allow_list_name(consumer: str) -> str:
    """The name of the filter of listeners for all clients, or for clients of one namespace."""
    return f"client-allow-list@{consumer}" if consumer else "client-allow-list"


def client_allow_list(name: str, addresses: Iterable[str], accounts: Mapping[str, ServiceAccount]) -> Json:
    """An RBAC filter that allows these source addresses only.

    Its shadow rules have the service accounts of addresses for names. Envoy puts the name of the rule that matches into
    the connection's metadata: there the network filters that follow find the client's identity.
    """
    known = list(addresses)
    principals = [_principal(address) for address in known]
    enrolled = {"permissions": [{"any": True}], "principals": principals}
    named = by_account({address: accounts[address] for address in known if address in accounts})
    return {
        "name": name,
        "typed_config": {
            "@type": RBAC,
            "stat_prefix": "client_allow_list",
            "rules": {"action": "ALLOW", "policies": {"enrolled": enrolled} if principals else {}},
            **(
                shadow_rules({str(account): found for account, found in named.items()}, METADATA_PREFIX)
                if named
                else {}
            ),
        },
    }


def connection_principal(account: ServiceAccount) -> Json:
    """Connections of this service account, in the terms of Envoy's network RBAC filter."""
    path = [{"key": policy_name_key(METADATA_PREFIX)}]
    return {"metadata": {"filter": METADATA, "path": path, "value": {"string_match": account_match(account)}}}


def policy_name_key(prefix: str) -> str:
    """Where in the connection's metadata Envoy puts the name of the shadow rule that matches."""
    return f"{prefix}shadow_effective_policy_id"


def shadow_rules(named: Mapping[str, Iterable[str]], prefix: str) -> Json:
    """Shadow rules that have these names for connections from these addresses."""
    policies = {
        name: {"permissions": [{"any": True}], "principals": [_principal(address) for address in addresses]}
        for name, addresses in named.items()
    }
    return {"shadow_rules": {"action": "ALLOW", "policies": policies}, "shadow_rules_stat_prefix": prefix}


def _principal(address: str) -> Json:
    return {"direct_remote_ip": cidr(address)}
