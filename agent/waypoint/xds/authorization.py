"""The requirements of backends in Envoy: a request whose client does not meet all of them is answered 403."""

from collections.abc import Callable, Iterable

from agent.ir.policy import ServiceAccount
from agent.ir.requirements import Requirement
from agent.ir.resources import Json
from agent.waypoint.xds.client_allow_list import RBAC as NETWORK_RBAC
from agent.waypoint.xds.client_allow_list import connection_principal
from agent.waypoint.xds.identities import ENABLED, request_principal

Principal = Callable[[ServiceAccount], Json]

# The listener's filter, which is disabled but for routes with requirements.
NAME = "authorization"
RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
PER_ROUTE = f"{RBAC}PerRoute"


def authorization_filter() -> Json:
    """The listener's filter."""
    return {"name": NAME, "typed_config": {"@type": RBAC}, "disabled": True}


def authorization_config(requirements: Iterable[Requirement]) -> Json:
    """The filter's part of a route or of a share of it, which also enables the filter of identities; nothing without
    requirements.
    """
    rules = _denials(requirements, request_principal)
    return {**ENABLED, NAME: {"@type": PER_ROUTE, "rbac": {"rules": rules}}} if rules else {}


def authorization_filters(requirements: Iterable[Requirement]) -> list[Json]:
    """The network filter of connections that Envoy forwards as bytes; none without requirements."""
    rules = _denials(requirements, connection_principal)
    config = {"@type": NETWORK_RBAC, "stat_prefix": NAME, "rules": rules}
    return [{"name": NAME, "typed_config": config}] if rules else []


def _denials(requirements: Iterable[Requirement], principal: Principal) -> Json:
    """Rules that deny whoever does not meet a requirement. As denials, because Envoy names a rule that denies in its
    log, and none where no rule allows. Requirements of the same policies at different ports get numbers.
    """
    policies: dict[str, Json] = {}
    for item in requirements:
        name = item.name if item.name not in policies else f"{item.name}#{len(policies)}"
        policies[name] = {"permissions": [{"any": True}], "principals": [_others(item, principal)]}
    return {"action": "DENY", "policies": policies} if policies else {}


def _others(item: Requirement, principal: Principal) -> Json:
    """Everybody but the requirement's clients."""
    clients = [principal(account) for account in item.clients]
    return {"not_id": {"or_ids": {"ids": clients}}} if clients else {"any": True}
