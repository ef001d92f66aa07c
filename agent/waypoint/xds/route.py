"""A route set as a RouteConfiguration: one virtual host for every name, its routes in order of precedence, then 404."""

from collections.abc import Iterator

from agent.ir.access_log import NO_MATCH
from agent.ir.http import Pool, RouteSet, Rule, WeightedBackend
from agent.ir.resources import Json
from agent.translate.division import divided
from agent.translate.filters.base import EnvoyRoute, Part
from agent.translate.filters.registry import rendered
from agent.waypoint.xds import affinity
from agent.waypoint.xds.cluster import whose
from agent.waypoint.xds.match import route_match
from agent.waypoint.xds.retry import duration, retry_policy
from agent.waypoint.xds.session import session_config
from agent.waypoint.xds.traffic_split import ranges

FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
# The name of the listener's filter that answers an invalid backendRef's share, and of the cluster that is never asked.
REFUSAL = "refusal"
INVALID = "invalid"
# The status of what has no valid backend; Envoy tells a gRPC client 503 as UNAVAILABLE.
REFUSED, REFUSED_GRPC = 500, 503


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
        yield from _part(Part(part, route_set.port, numbers), REFUSED_GRPC if route_set.grpc else REFUSED)


def _part(part: Part, refusal: int) -> Iterator[Json]:
    rule = part.rule
    match = {**route_match(rule.match), **part.numbers.condition}
    if all(item.backend is None for item in rule.backends):
        base = EnvoyRoute(match, "direct_response", {"status": refusal}, configs=session_config(rule))
    else:
        base = EnvoyRoute(match, "route", _clusters(rule, refusal), configs=session_config(rule))
    for route in rendered(base, part):
        yield _written(rule, route.routed(_forwarding(rule)))


def _written(rule: Rule, route: EnvoyRoute) -> Json:
    configs = {"typed_per_filter_config": route.configs} if route.configs else {}
    return {"name": rule.name, "match": route.match, **route.fields, **configs, route.action: route.settings}


def _forwarding(rule: Rule) -> Json:
    """How requests are sent to clusters, besides to which."""
    return {
        "timeout": duration(rule.request_timeout or 0),
        "retry_policy": retry_policy(rule),
        **(affinity.ROUTE if affinity.is_asked(rule.backends) else {}),
    }


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
