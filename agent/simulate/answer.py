"""What the waypoint does with a request, by the route set of its listener."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from agent.model.filters import Filter, HeaderFilter, RequestRedirect
from agent.simulate.cors import ORIGIN, allows, is_preflight, policy_of
from agent.simulate.matching import first_match
from agent.simulate.request import Headers, Request, changed
from agent.simulate.rewriting import location, new_target
from agent.translate.division import divided
from agent.translate.ir import BackendPort, Mirror, RouteSet, Rule, WeightedBackend

NO_MATCH = 404
PREFLIGHT = 200
REFUSED, REFUSED_GRPC = 500, 503


@dataclass(frozen=True, slots=True)
class Share:
    """What becomes of one part of such requests.

    `backend` answers it, as the request for `target` at `authority` that it gets, with `headers`. Where the waypoint
    answers, because the reference is invalid or the backend's filter redirects, there is a `status` instead, in the
    latter case with a `location`. `response` is what is done to the headers of the answer, one after the other;
    `mirrors` get copies.
    """

    part: Fraction
    backend: BackendPort | None
    status: int | None = None
    location: str = ""
    authority: str = ""
    target: str = ""
    headers: Headers = ()
    response: tuple[HeaderFilter, ...] = ()
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request.

    `status` is what the waypoint answers all by itself, with a `location` when it redirects; otherwise each of the
    shares says it. `rule` is None when none matches. `allowed` says whether scripts of the request's origin may have
    the answer, None where no CORS filter judges.
    """

    rule: Rule | None
    status: int | None = None
    location: str = ""
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
    refusal = REFUSED_GRPC if route_set.grpc else REFUSED
    response = tuple(_modifiers(rule.filters, "response"))
    if redirect := _redirect(rule):
        where = location(redirect, rule.match, request, route_set.port)
        return Answer(rule, redirect.status_code, where, response=response)
    if all(item.backend is None for item in rule.backends):
        return Answer(rule, refusal, response=response)
    total = sum(item.weight for item in rule.backends)
    return Answer(
        rule,
        shares=tuple(
            _share(part, item, Fraction(item.weight, total), route_set, request, refusal)
            for part in divided(rule)
            for item in part.backends
        ),
    )


def _share(
    rule: Rule, item: WeightedBackend, part: Fraction, route_set: RouteSet, request: Request, refusal: int
) -> Share:
    """`rule` is with the backend's own filters, which come after the rule's."""
    if item.backend is None:
        return Share(part, None, refusal)
    response = tuple(_modifiers(rule.filters, "response"))
    if redirect := _redirect(rule):
        where = location(redirect, rule.match, request, route_set.port)
        return Share(part, item.backend, redirect.status_code, where, response=response)
    rewrite = next((item.url_rewrite for item in rule.filters if item.url_rewrite), None)
    return Share(
        part,
        item.backend,
        authority=(rewrite.hostname if rewrite else None) or request.authority,
        target=new_target(rewrite.path if rewrite else None, rule.match, request),
        headers=changed(request.headers, _modifiers(rule.filters, "request")),
        response=response,
        mirrors=rule.mirrors,
    )


def _redirect(rule: Rule) -> RequestRedirect | None:
    return next((item.request_redirect for item in rule.filters if item.request_redirect), None)


def _modifiers(filters: Iterable[Filter], kind: str) -> Iterable[HeaderFilter]:
    found = (getattr(item, f"{kind}_header_modifier") for item in filters)
    return (item for item in found if item is not None)
