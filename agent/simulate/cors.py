"""Requests of scripts from other origins, as far as the waypoint answers them (HTTPCORSFilter)."""

from agent.model.filters import CORS
from agent.simulate.request import Request
from agent.translate.ir import Rule
from agent.translate.routes.regex import full_match
from agent.translate.xds.cors import origin_regex

ORIGIN, ASKED_METHOD = "origin", "access-control-request-method"


def policy_of(rule: Rule) -> CORS | None:
    """The CORS filter of a rule, None when it has none."""
    return next((item.cors for item in rule.filters if item.cors is not None), None)


def is_preflight(request: Request) -> bool:
    """Whether a browser asks beforehand (Fetch, "CORS-preflight request")."""
    asks = bool(request.values(ORIGIN)) and any(request.values(ASKED_METHOD))
    return request.method == "OPTIONS" and asks


def asks_about(request: Request, method: str) -> bool:
    """Whether this is a preflight for a request with that method."""
    return is_preflight(request) and method in request.values(ASKED_METHOD)


def allows(policy: CORS, request: Request) -> bool:
    """Whether scripts of the request's origin may ask."""
    expressions = [origin_regex(item) for item in policy.allow_origins]
    origins = request.values(ORIGIN)
    return any(full_match(expression, origin) for expression in expressions for origin in origins)
