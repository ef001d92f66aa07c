"""What the waypoint does with a request, by the IR of its listener."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from agent.explain.matching import first_match
from agent.ir.http import BackendPort, HTTPListenerIR, ResolvedFilter, Rule, WeightedBackend
from agent.ir.request import Headers, Request
from agent.model.filters import Filter, HeaderFilter
from agent.translate.filters.base import Part, RequestState
from agent.translate.filters.registry import evaluated
from agent.translate.per_backend import expand_per_backend

NO_MATCH = 404
REFUSED, REFUSED_GRPC = 500, 503


@dataclass(frozen=True, slots=True)
class Share:
    """The outcome of one part of such requests.

    - `backend`: the backend that answers; it gets a request for `target` at `authority` with `headers`.
    - `status`: set where the waypoint answers, because the reference is invalid or the backend's filter redirects; then
      `location` is that of the redirect.
    - `response`: changes to the headers of the response, in order.
    - `filters`: those of the rule and of the backend; `resolved`: those that send something to other backends.
    """

    part: Fraction
    backend: BackendPort | None
    status: int | None = None
    location: str = ""
    authority: str = ""
    target: str = ""
    headers: Headers = ()
    response: tuple[HeaderFilter, ...] = ()
    filters: tuple[Filter, ...] = ()
    resolved: tuple[ResolvedFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a request.

    - `rule`: None when none matches.
    - `status`: the waypoint's own response, with a `location` when it redirects; None where a share is chosen.
    - `shares`: the outcomes by backend.
    - `facts`: results of the rule's filters for the request.
    """

    rule: Rule | None
    status: int | None = None
    location: str = ""
    shares: tuple[Share, ...] = ()
    response: tuple[HeaderFilter, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def answer(listener_ir: HTTPListenerIR, request: Request) -> Answer:
    """The first rule that matches decides."""
    rule = first_match(listener_ir, request)
    if rule is None:
        return Answer(None, NO_MATCH)
    refusal = REFUSED_GRPC if listener_ir.grpc else REFUSED
    refused = all(item.backend is None for item in rule.backends)
    state = RequestState(request, request, refusal if refused else None)
    found = evaluated(state, Part(rule, listener_ir.port))
    if found.status is not None:
        return Answer(rule, found.status, found.location, response=found.response, facts=found.facts)
    total = sum(item.weight for item in rule.backends)
    shares = tuple(
        _share(Part(part, listener_ir.port), item, Fraction(item.weight, total), request, refusal)
        for part in expand_per_backend(rule)
        for item in part.backends
    )
    return Answer(rule, shares=shares, facts=found.facts)


def _share(part: Part, item: WeightedBackend, share: Fraction, request: Request, refusal: int) -> Share:
    """The outcome of the requests for one backend."""
    if item.backend is None:
        return Share(share, None, refusal, filters=part.rule.filters)
    found = evaluated(RequestState(request, request), part, backend_chosen=True)
    if found.status is not None:
        return Share(
            share, item.backend, found.status, found.location, response=found.response, filters=part.rule.filters
        )
    return Share(
        share,
        item.backend,
        authority=found.request.authority,
        target=found.request.target,
        headers=found.request.headers,
        response=found.response,
        filters=part.rule.filters,
        resolved=part.rule.resolved,
    )
