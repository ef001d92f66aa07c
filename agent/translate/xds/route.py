"""A route set as a RouteConfiguration: one virtual host for every name, its routes in order of precedence, then 404."""

from collections.abc import Iterator
from typing import Any

from agent.model.filters import URLRewrite
from agent.plan.exchanges import NO_MATCH
from agent.plan.resources import Json
from agent.translate.division import divided
from agent.translate.ir import Pool, RouteSet, Rule, WeightedBackend
from agent.translate.xds import affinity
from agent.translate.xds.cluster import whose
from agent.translate.xds.cors import cors_routes
from agent.translate.xds.draw import Range, ranges
from agent.translate.xds.headers import header_changes
from agent.translate.xds.match import route_match
from agent.translate.xds.received import received_config
from agent.translate.xds.redirect import redirects
from agent.translate.xds.retry import duration, retry_policy
from agent.translate.xds.rewrite import url_rewrite
from agent.translate.xds.session import session_config
from agent.translate.xds.trailers import trailer_config

FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
# The name of the listener's filter that answers an invalid backendRef's share, and of the cluster that is never asked.
REFUSAL = "refusal"
INVALID = "invalid"


def route_configuration(route_set: RouteSet) -> Json:
    """What Envoy does with the requests of a listener. No rule matches: 404 (HTTPRouteRule.matches)."""
    routes = [route for rule in route_set.rules for route in _routes(rule, route_set)]
    missing = {"match": {"prefix": "/"}, "name": NO_MATCH, "direct_response": {"status": 404}}
    return {
        "name": route_set.name,
        "virtual_hosts": [{"name": route_set.name, "domains": ["*"], "routes": [*routes, missing]}],
        "ignore_port_in_host_matching": True,
    }


def _routes(rule: Rule, route_set: RouteSet) -> Iterator[Json]:
    """One match of a rule; more than one route where Envoy needs to be told apart what the Route need not."""
    for part, numbers in ranges(divided(rule)):
        yield from _part(part, numbers, route_set)


def _part(rule: Rule, numbers: Range, route_set: RouteSet) -> Iterator[Json]:
    base: dict[str, Any] = {
        "name": rule.name,
        "match": {**route_match(rule.match), **numbers.condition},
        **header_changes(rule.filters),
    }
    if filters := {**session_config(rule), **received_config(_rewrite(rule)), **trailer_config(rule.filters)}:
        base["typed_per_filter_config"] = filters
    redirect = next((item.request_redirect for item in rule.filters if item.request_redirect), None)
    refusal = 503 if route_set.grpc else 500
    for route in cors_routes(base, rule.filters, rule.match):
        if redirect is not None:
            yield from redirects(route, redirect, rule.match, route_set.port)
        elif all(item.backend is None for item in rule.backends):
            yield {**route, "direct_response": {"status": refusal}}
        else:
            yield {**route, "route": _action(rule, numbers, refusal)}


def _action(rule: Rule, numbers: Range, refusal: int) -> Json:
    rewrite = _rewrite(rule)
    return {
        **_clusters(rule, refusal),
        **(url_rewrite(rewrite, rule.match) if rewrite else {}),
        **_mirrors(rule, numbers),
        "timeout": duration(rule.request_timeout or 0),
        "retry_policy": retry_policy(rule),
        **(affinity.ROUTE if affinity.is_asked(rule.backends) else {}),
    }


def _rewrite(rule: Rule) -> URLRewrite | None:
    return next((item.url_rewrite for item in rule.filters if item.url_rewrite), None)


def _clusters(rule: Rule, refusal: int) -> Json:
    """Weights as the Route gives them."""
    if rule.pool is not None:
        shares = [_pool_share(rule.pool, item, refusal) for item in rule.backends]
        return {"weighted_clusters": {"clusters": shares}}
    first = rule.backends[0].backend
    if len(rule.backends) == 1 and first is not None:
        return {"cluster": first.cluster}
    return {"weighted_clusters": {"clusters": [_share(item, refusal) for item in rule.backends]}}


def _share(item: WeightedBackend, refusal: int) -> Json:
    if item.backend is not None:
        return {"name": item.backend.cluster, "weight": item.weight}
    return _invalid_share(item.weight, refusal)


def _pool_share(pool: Pool, item: WeightedBackend, refusal: int) -> Json:
    """A share for clients without a session: a session's endpoint is taken whichever share is drawn."""
    if item.backend is None:
        return _invalid_share(item.weight, refusal)
    match = {"metadata_match": whose(item.backend.cluster)["metadata"]}
    return {"name": pool.cluster, "weight": item.weight, **match}


def _invalid_share(weight: int, refusal: int) -> Json:
    """An invalid reference's share is answered before a cluster is looked for."""
    always = {"numerator": 100, "denominator": "HUNDRED"}
    fault = {"@type": FAULT, "abort": {"http_status": refusal, "percentage": always}}
    return {"name": INVALID, "weight": weight, "typed_per_filter_config": {REFUSAL: fault}}


def _mirrors(rule: Rule, numbers: Range) -> Json:
    """Copies of requests. A share is drawn of a million: weighted clusters compare the same number, modulo the sum of
    their weights, and of a hundred it would often copy the requests of one backend only.
    """
    policies = [
        {
            "cluster": item.backend.cluster,
            **numbers.first(item.per_million),
            "disable_shadow_host_suffix_append": True,
        }
        for item in rule.mirrors
    ]
    return {"request_mirror_policies": policies} if policies else {}
