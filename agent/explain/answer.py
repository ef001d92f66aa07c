"""What the waypoint does with a request, by the route set of its listener."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from agent.explain.matching import first_match
from agent.ir.http import BackendPort, ResolvedFilter, RouteSet, Rule, WeightedBackend
from agent.ir.request import Headers, Request
from agent.model.filters import HeaderFilter
from agent.translate.division import divided
from agent.translate.filters.base import Part, Passage
from agent.translate.filters.registry import evaluated

NO_MATCH = 404
REFUSED, REFUSED_GRPC = 500, 503


@dataclass(frozen=True, slots=True)
class Share:
    """What becomes of one part of such requests.

    `backend` answers it, as the request for `target` at `authority` that it gets, with `headers`. Where the waypoint
    answers, because the reference is invalid or the backend's filter redirects, there is a `status` instead, in the
    latter case with a `location`. `response` is what is done to the headers of the answer, one after the other;
    `resolved` are the filters that send something to other backends.
    """

    part: Fraction
    backend: BackendPort | None
    status: int | None = None
    location: str = ""
    authority: str = ""
    target: str = ""
    headers: Headers = ()
    response: tuple[HeaderFilter, ...] = ()
    resolved: tuple[ResolvedFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request.

    `status` is what the waypoint answers all by itself, with a `location` when it redirects; otherwise each of the
    shares says it. `rule` is None when none matches. `facts` are what the rule's filters found out about the request.
    """

    rule: Rule | None
    status: int | None = None
    location: str = ""
    shares: tuple[Share, ...] = ()
    response: tuple[HeaderFilter, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def answer(route_set: RouteSet, request: Request) -> Answer:
    """The first rule that matches decides."""
    rule = first_match(route_set, request)
    if rule is None:
        return Answer(None, NO_MATCH)
    refusal = REFUSED_GRPC if route_set.grpc else REFUSED
    refused = all(item.backend is None for item in rule.backends)
    passage = Passage(request, request, refusal if refused else None)
    found = evaluated(passage, Part(rule, route_set.port))
    if found.status is not None:
        return Answer(rule, found.status, found.location, response=found.response, facts=found.facts)
    total = sum(item.weight for item in rule.backends)
    shares = tuple(
        _share(Part(part, route_set.port), item, Fraction(item.weight, total), request, refusal)
        for part in divided(rule)
        for item in part.backends
    )
    return Answer(rule, shares=shares, facts=found.facts)


def _share(part: Part, item: WeightedBackend, share: Fraction, request: Request, refusal: int) -> Share:
    """What becomes of the requests for one backend."""
    if item.backend is None:
        return Share(share, None, refusal)
    found = evaluated(Passage(request, request), part, backend_chosen=True)
    if found.status is not None:
        return Share(share, item.backend, found.status, found.location, response=found.response)
    return Share(
        share,
        item.backend,
        authority=found.request.authority,
        target=found.request.target,
        headers=found.request.headers,
        response=found.response,
        resolved=part.rule.resolved,
    )
