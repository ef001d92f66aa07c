"""What the waypoint does with a request, by the route set of its listener."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from agent.model.filters import Filter, HeaderFilter
from agent.simulate.cors import ORIGIN, allows, is_preflight, policy_of
from agent.simulate.matching import first_match
from agent.simulate.request import Headers, Request, changed
from agent.simulate.rewriting import location, new_target
from agent.translate.ir import BackendPort, RouteSet, Rule, WeightedBackend

NO_MATCH = 404
PREFLIGHT = 200
REFUSED, REFUSED_GRPC = 500, 503


@dataclass(frozen=True, slots=True)
class Share:
    """What becomes of one part of such requests.

    `backend` answers it, as the request that it gets with `headers`; where the reference is invalid there is none, and
    the waypoint answers with `status`. `response` is what is done to the headers of the answer, one after the other.
    """

    part: Fraction
    backend: BackendPort | None
    status: int | None
    headers: Headers = ()
    response: tuple[HeaderFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request.

    `status` is what the waypoint answers all by itself, with a `location` when it redirects; otherwise the request goes
    on as `authority` and `target`, to the backend of one of the shares. `rule` is None when none matches. `allowed`
    says whether scripts of the request's origin may have the answer, None where no CORS filter judges.
    """

    rule: Rule | None
    status: int | None = None
    location: str = ""
    authority: str = ""
    target: str = ""
    shares: tuple[Share, ...] = ()
    response: tuple[HeaderFilter, ...] = ()
    allowed: bool | None = None


def answer(route_set: RouteSet, request: Request) -> Answer:
    """The first rule that matches decides."""
    rule = first_match(route_set, request)
    if rule is None:
        return Answer(None, NO_MATCH)
    found = _decided(rule, route_set, request)
    policy = policy_of(rule)
    # Envoy's CORS filter has no say in what the waypoint answers itself (measured on 1.40).
    if found.status is not None or policy is None or not request.values(ORIGIN):
        return found
    if is_preflight(request):
        return Answer(rule, PREFLIGHT, allowed=allows(policy, request))
    return replace(found, allowed=allows(policy, request))


def _decided(rule: Rule, route_set: RouteSet, request: Request) -> Answer:
    response = tuple(_modifiers(rule.filters, "response"))
    redirect = next((item.request_redirect for item in rule.filters if item.request_redirect), None)
    if redirect is not None:
        where = location(redirect, rule.match, request, route_set.port)
        return Answer(rule, redirect.status_code, where, response=response)
    refusal = REFUSED_GRPC if route_set.grpc else REFUSED
    if all(item.backend is None for item in rule.backends):
        return Answer(rule, refusal, response=response)
    return _forwarded(rule, request, refusal)


def _forwarded(rule: Rule, request: Request, refusal: int) -> Answer:
    rewrite = next((item.url_rewrite for item in rule.filters if item.url_rewrite), None)
    host = rewrite.hostname if rewrite else None
    target = new_target(rewrite.path if rewrite else None, rule.match, request)
    total = sum(item.weight for item in rule.backends)
    shares = tuple(_share(item, total, rule, request, refusal) for item in rule.backends)
    return Answer(rule, authority=host or request.authority, target=target, shares=shares)


def _share(item: WeightedBackend, total: int, rule: Rule, request: Request, refusal: int) -> Share:
    """A backend's own filters come after the rule's."""
    part = Fraction(item.weight, total)
    if item.backend is None:
        return Share(part, None, refusal)
    filters = (*rule.filters, *item.filters)
    headers = changed(request.headers, _modifiers(filters, "request"))
    return Share(part, item.backend, None, headers, tuple(_modifiers(filters, "response")))


def _modifiers(filters: Iterable[Filter], kind: str) -> Iterable[HeaderFilter]:
    found = (getattr(item, f"{kind}_header_modifier") for item in filters)
    return (item for item in found if item is not None)
