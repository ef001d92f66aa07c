"""A listener IR as a RouteConfiguration: one virtual host for all names, routes in order of precedence, then 404."""

from collections.abc import Iterator
from typing import NamedTuple

from agent.ir.access_log import NO_MATCH
from agent.ir.http import HTTPListenerIR, Pool, Rule, WeightedBackend
from agent.ir.resources import Json
from agent.translate.filters.base import EnvoyRoute, Part
from agent.translate.filters.registry import rendered
from agent.translate.per_backend import expand_per_backend
from agent.translate.rule_requirements import (
    Audits,
    ByBackend,
    audits_of_rule,
    audits_of_share,
    of_rule,
    of_share,
    without_forbidden_copies,
)
from agent.waypoint.xds import affinity
from agent.waypoint.xds.authorization import authorization_config
from agent.waypoint.xds.cluster import whose
from agent.waypoint.xds.identities import xfcc_headers
from agent.waypoint.xds.match import route_match
from agent.waypoint.xds.retry import duration, retry_policy
from agent.waypoint.xds.session import session_config
from agent.waypoint.xds.traffic_split import fraction_ranges

FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
# The name of the listener's filter that answers for an invalid backendRef, and of the cluster, which gets no request.
REFUSAL = "refusal"
INVALID = "invalid"
# The status of requests without a valid backend; a gRPC client gets 503 as UNAVAILABLE.
REFUSED, REFUSED_GRPC = 500, 503


class Judging(NamedTuple):
    """What policies require at backends, and what audited ones would."""

    requirements: ByBackend
    audits: Audits


def route_configuration(listener_ir: HTTPListenerIR, requirements: ByBackend, audits: Audits) -> Json:
    """The route table of a listener. Where no rule matches Envoy answers 404 (HTTPRouteRule.matches)."""
    judging = Judging(requirements, audits)
    routes = [route for rule in listener_ir.rules for route in _routes(rule, listener_ir, judging)]
    identity = xfcc_headers() if listener_ir.xfcc_trust_domain else {}
    missing = {"match": {"prefix": "/"}, "name": NO_MATCH, "direct_response": {"status": 404}}
    return {
        "name": listener_ir.name,
        "virtual_hosts": [{"name": listener_ir.name, "domains": ["*"], "routes": [*routes, missing], **identity}],
        "ignore_port_in_host_matching": True,
    }


def _routes(rule: Rule, listener_ir: HTTPListenerIR, judging: Judging) -> Iterator[Json]:
    """The routes for one match of a rule; several where Envoy needs more than one."""
    for part, numbers in fraction_ranges(expand_per_backend(rule)):
        allowed = without_forbidden_copies(part, judging.requirements)
        refusal = REFUSED_GRPC if listener_ir.grpc else REFUSED
        yield from _part(Part(allowed, listener_ir.port, numbers), refusal, judging)


def _part(part: Part, refusal: int, judging: Judging) -> Iterator[Json]:
    rule = part.rule
    configs = {
        **session_config(rule),
        **authorization_config(of_rule(rule, judging.requirements), audits_of_rule(rule, judging.audits)),
    }
    match = {**route_match(rule.match), **part.fraction_range.condition}
    if all(item.backend is None for item in rule.backends):
        base = EnvoyRoute(match, "direct_response", {"status": refusal}, configs=configs)
    else:
        base = EnvoyRoute(match, "route", _clusters(rule, refusal, judging), configs=configs)
    for route in rendered(base, part):
        yield _written(rule, route.routed(_forwarding(rule)))


def _written(rule: Rule, route: EnvoyRoute) -> Json:
    configs = {"typed_per_filter_config": route.configs} if route.configs else {}
    return {"name": rule.name, "match": route.match, **route.fields, **configs, route.action: route.settings}


def _forwarding(rule: Rule) -> Json:
    """Timeouts, retries and affinity of requests to clusters."""
    return {
        "timeout": duration(rule.request_timeout or 0),
        "retry_policy": retry_policy(rule),
        **(affinity.ROUTE if affinity.any_affinity(rule.backends) else {}),
    }


def _clusters(rule: Rule, refusal: int, judging: Judging) -> Json:
    """The clusters, with weights as in the Route."""
    if rule.pool is not None:
        shares = [_pool_share(rule.pool, item, refusal) for item in rule.backends]
        return {"weighted_clusters": {"clusters": shares}}
    first = rule.backends[0].backend
    if len(rule.backends) == 1 and first is not None:
        return {"cluster": first.cluster}
    return {"weighted_clusters": {"clusters": [_share(rule, item, refusal, judging) for item in rule.backends]}}


def _share(rule: Rule, item: WeightedBackend, refusal: int, judging: Judging) -> Json:
    if item.backend is None:
        return _invalid_share(item.weight, refusal)
    configs = authorization_config(
        of_share(rule, item, judging.requirements), audits_of_share(rule, item, judging.audits)
    )
    own = {"typed_per_filter_config": configs} if configs else {}
    return {"name": item.backend.cluster, "weight": item.weight, **own}


def _pool_share(pool: Pool, item: WeightedBackend, refusal: int) -> Json:
    """A share for clients without a session: a session keeps its endpoint, whichever share Envoy chooses."""
    if item.backend is None:
        return _invalid_share(item.weight, refusal)
    match = {"metadata_match": whose(item.backend.cluster)["metadata"]}
    return {"name": pool.cluster, "weight": item.weight, **match}


def _invalid_share(weight: int, refusal: int) -> Json:
    """Envoy answers the share of an invalid reference before it looks for a cluster."""
    always = {"numerator": 100, "denominator": "HUNDRED"}
    fault = {"@type": FAULT, "abort": {"http_status": refusal, "percentage": always}}
    return {"name": INVALID, "weight": weight, "typed_per_filter_config": {REFUSAL: fault}}
