"""The requirements of backends in Envoy: a request whose client does not meet all of them is answered 403."""

import re
from collections.abc import Callable, Iterable, Sequence

from agent.ir.policy import ALLOWED, REFUSED, bounded_name
from agent.ir.request_conditions import AMBIGUOUS_PATH, PathCondition, RequestConditions
from agent.ir.requirements import AuditedRequirements, RequestRule, Requirement
from agent.ir.resources import Json
from agent.waypoint.xds.client_allow_list import RBAC as NETWORK_RBAC
from agent.waypoint.xds.client_allow_list import connection_principal
from agent.waypoint.xds.identities import ENABLED, request_principal

# The listener's filter, which is disabled but for routes with requirements.
NAME = "authorization"
RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
PER_ROUTE = f"{RBAC}PerRoute"
ORDER = (REFUSED, ALLOWED)
AUDIT_PREFIX = "audit_"
# What audited policies would decide about a request: the name of a rule, `-` where there are none.
AUDIT = f"%DYNAMIC_METADATA(envoy.filters.http.rbac:{AUDIT_PREFIX}shadow_effective_policy_id)%"


def authorization_filter() -> Json:
    """The listener's filter."""
    return {"name": NAME, "typed_config": {"@type": RBAC}, "disabled": True}


def authorization_config(requirements: Iterable[Requirement], audits: Sequence[AuditedRequirements] = ()) -> Json:
    """The filter's part of a route or of a share of it, which also enables the filter of identities; nothing without
    requirements and audited policies.
    """
    rules = _denials(requirements, _requests)
    rbac = {**({"rules": rules} if rules else {}), **(_shadow_rules(audits) if audits else {})}
    return {**ENABLED, NAME: {"@type": PER_ROUTE, "rbac": rbac}} if rbac else {}


def _shadow_rules(audits: Sequence[AuditedRequirements]) -> Json:
    """Rules that only name themselves in the request's dynamic metadata: the first that matches, in the order of names.
    Of the action LOG, because Envoy names no rule for what a denial does not match.
    """
    policies: dict[str, Json] = {}
    for item in audits:
        others = [_others(_requests(required)) for required in item.requirements]
        name = audit_id(REFUSED, item.name)
        if others:
            before = policies[name]["principals"] if name in policies else []
            policies[name] = {"permissions": [{"any": True}], "principals": [*before, *others]}
    every = bounded_name(sorted({key for item in audits for key in item.audited}))
    policies[audit_id(ALLOWED, every)] = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    return {"shadow_rules": {"action": "LOG", "policies": policies}, "shadow_rules_stat_prefix": AUDIT_PREFIX}


def audit_id(verdict: str, policies: str) -> str:
    """The name of a rule of audited policies. Those that refuse are first."""
    return f"{ORDER.index(verdict)} {verdict} {policies}"


def audit_of_id(text: str) -> tuple[str, str] | None:
    """Verdict and policies of such a name; None for another text."""
    _, verdict, policies = text.split(" ", 2) if text.count(" ") == 2 else ("", "", "")
    return (verdict, policies) if verdict in ORDER else None


def authorization_filters(requirements: Iterable[Requirement]) -> list[Json]:
    """The network filter of connections that Envoy forwards as bytes; none without requirements."""
    rules = _denials(requirements, _connections)
    config = {"@type": NETWORK_RBAC, "stat_prefix": NAME, "rules": rules}
    return [{"name": NAME, "typed_config": config}] if rules else []


def _requests(item: Requirement) -> list[Json]:
    """The requests that meet a requirement, as principals of Envoy's RBAC: these can look at requests too."""
    return [*map(request_principal, item.clients), *map(_request, item.rules)]


def _connections(item: Requirement) -> list[Json]:
    """The connections that meet it: rules about requests match none."""
    return [connection_principal(account) for account in item.clients]


def _denials(requirements: Iterable[Requirement], allowed: Callable[[Requirement], list[Json]]) -> Json:
    """Rules that deny whoever does not meet a requirement. As denials, because Envoy names a rule that denies in its
    log, and none where no rule allows. Requirements of the same policies at different ports get numbers.
    """
    policies: dict[str, Json] = {}
    for item in requirements:
        name = item.name if item.name not in policies else f"{item.name}#{len(policies)}"
        policies[name] = {"permissions": [{"any": True}], "principals": [_others(allowed(item))]}
    return {"action": "DENY", "policies": policies} if policies else {}


def _others(allowed: list[Json]) -> Json:
    """Everybody but these."""
    return {"not_id": _any(allowed)} if allowed else {"any": True}


def _request(rule: RequestRule) -> Json:
    clients = [] if rule.anyone else [_any(map(request_principal, rule.clients))]
    return {"and_ids": {"ids": [*clients, *_conditions(rule.conditions)]}}


def _conditions(conditions: RequestConditions) -> Iterable[Json]:
    """Principals that must all match."""
    if conditions.methods:
        yield _any(_header(":method", {"exact": method}) for method in conditions.methods)
    if conditions.paths:
        yield {"not_id": _path({"safe_regex": {"regex": AMBIGUOUS_PATH}})}
        yield _any(one for path in conditions.paths for one in _paths(path))
    for name, value in conditions.headers:
        yield _header(name, {"exact": value})
        # Of a header that is there several times Envoy takes any value that matches (1.40): there must be no other one.
        yield {"not_id": _header(name, {"safe_regex": {"regex": other_than(value)}})}


def _paths(path: PathCondition) -> Iterable[Json]:
    """RBAC has no match of whole segments."""
    if path.exact or path.value:
        yield _path({"exact": path.value})
    if not path.exact:
        yield _path({"prefix": f"{path.value}/"})


def _path(match: Json) -> Json:
    """A condition on the path without its query."""
    return {"url_path": {"path": match}}


def _header(name: str, match: Json) -> Json:
    return {"header": {"name": name, "string_match": match}}


def other_than(text: str) -> str:
    """An expression for every text but this one, which is ASCII and not empty; RE2 has no negation."""
    *others, last = map(re.escape, text)
    expression = f"(?:[^{last}].*|{last}.+)"
    for character in reversed(others):
        expression = f"(?:[^{character}].*|{character}{expression}?)"
    return f"(?s){expression}?"


def _any(items: Iterable[Json]) -> Json:
    return {"or_ids": {"ids": list(items)}}
