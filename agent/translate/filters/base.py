"""The interface of a filter type: schema, checks, lowering, Envoy routes, evaluation, and what `weft explain` shows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from agent.ir.http import BackendPort, ResolvedFilter, Rule
from agent.ir.request import Request
from agent.ir.request_conditions import RequestConditions
from agent.ir.resources import Json
from agent.model.filters import BackendObjectReference, Filter, HeaderFilter
from agent.model.limits import Violation
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.field_errors import FieldError

C = TypeVar("C")
MILLION = 1_000_000


class FilterPlace(Flag):
    """The places in a Route where a filter of a type is allowed."""

    HTTP_RULE = auto()
    HTTP_BACKEND = auto()
    GRPC_RULE = auto()
    GRPC_BACKEND = auto()
    HTTP = HTTP_RULE | HTTP_BACKEND
    EVERYWHERE = HTTP | GRPC_RULE | GRPC_BACKEND


@dataclass(frozen=True, slots=True)
class FractionRange:
    """Random numbers modulo a million: from `low`, below `high`."""

    low: int = 0
    high: int = MILLION

    @property
    def condition(self) -> Json:
        """The condition of a RouteMatch after the routes for lower numbers; empty when there are no higher ones."""
        return {} if self.high == MILLION else _below(self.high)

    def first(self, per_million: int) -> Json:
        """The fraction of a route's policy that is to apply to so many of a million of the route's requests."""
        return _below(self.low + (self.high - self.low) * per_million // MILLION)


def _below(number: int) -> Json:
    return {"runtime_fraction": {"default_value": {"numerator": number, "denominator": "MILLION"}}}


@dataclass(frozen=True, slots=True)
class Part:
    """The requests that a filter acts on: those of a rule, or of one of its backends where backends have filters (then
    `rule` has the filters of both, the backend's last).

    `service_port` is the port that clients dial. `fraction_range` are the random numbers for which Envoy takes this
    part of the rule.
    """

    rule: Rule
    service_port: int
    fraction_range: FractionRange = FractionRange()


@dataclass(frozen=True, slots=True)
class EnvoyRoute:
    """A Route of Envoy's API, while it is built.

    - `action`: the name of the field with the action; `settings` is its value.
    - `fields`: further fields.
    - `configs`: settings of HTTP filters, by their name in the chain.
    """

    match: Json
    action: str
    settings: Json
    fields: Json = field(default_factory=dict)
    configs: Json = field(default_factory=dict)

    def matching(self, *headers: Json) -> "EnvoyRoute":
        """The same with further header matches."""
        return replace(self, match={**self.match, "headers": [*self.match.get("headers", ()), *headers]})

    def configured(self, name: str, config: Json) -> "EnvoyRoute":
        """The same with these settings of an HTTP filter."""
        return replace(self, configs={**self.configs, name: config})

    def routed(self, settings: Json) -> "EnvoyRoute":
        """The same with these settings, where its action is to send requests to a cluster."""
        return replace(self, settings={**self.settings, **settings}) if self.action == "route" else self


@dataclass(frozen=True, slots=True)
class RequestState:
    """The state of a request after some filters: `original` as the client sent it, `request` as a backend gets it.

    - `status`: set where the waypoint answers itself; `location` is that of a redirect.
    - `response`: changes to the headers of the response, in order.
    - `facts`: results of filters (see `Fact`).
    """

    original: Request
    request: Request
    status: int | None = None
    location: str = ""
    response: tuple[HeaderFilter, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Changes(NamedTuple):
    """What a filter may change of a request that a backend gets. `headers` are names in lower case; None: any."""

    method: bool = False
    path: bool = False
    headers: frozenset[str] | None = frozenset()

    def touch(self, conditions: RequestConditions) -> bool:
        """Whether a backend may get other values than those that these conditions were compared with."""
        names = {name for name, _ in conditions.headers}
        by_header = names if self.headers is None else names & self.headers
        return bool((self.method and conditions.methods) or (self.path and conditions.paths) or by_header)


class Fact(NamedTuple):
    """A result of a filter for a request: its name in JSON, its label in text output, and how a value is formatted."""

    name: str
    label: str
    format: Callable[[Any], str]


class HTTPFilter(ABC, Generic[C]):
    """One type of filter; `C` is its field in the API. A method that a subclass does not define has no effect.

    - `type`: its name in the API.
    - `places`: where a Route may have it.
    - `excludes`: types that a rule cannot have as well.
    - `repeatable`: a rule may have several.
    - `no_backends`: why a rule with it cannot have backends; empty where it can.
    - `before_backend`: it acts before a backend is chosen, so also on requests for an invalid reference.
    - `fails_closed`: it decides whether a request may pass. A rule that cannot be implemented because of its fields
      still takes its requests, and answers 500.
    - `chain`: the HTTP filters of Envoy's listeners for it. One that is for routes with settings only is `disabled`:
      Envoy has it take part in the requests of these routes, and a Route that begins to need it changes no listener.
    - `messages`: modules of the protobuf messages that its settings contain packed.
    - `features`: its names in the conformance suite.
    - `facts`: its results for `weft explain` and `simulate`.
    """

    type: ClassVar[str]
    places: ClassVar[FilterPlace]
    excludes: ClassVar[frozenset[str]] = frozenset()
    repeatable: ClassVar[bool] = False
    no_backends: ClassVar[str] = ""
    before_backend: ClassVar[bool] = False
    fails_closed: ClassVar[bool] = False
    chain: ClassVar[tuple[Json, ...]] = ()
    messages: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[Fact, ...]] = ()

    @abstractmethod
    def config(self, item: Filter) -> C | None:
        """The type's field of a filter; None for filters of other types."""

    def configs(self, filters: Iterable[Filter]) -> list[C]:
        """The type's field of all filters of this type."""
        return [found for item in filters if (found := self.config(item)) is not None]

    def violations(self, field: str, config: C) -> Iterator[Violation]:
        """Violations of the schema that an API server enforces."""
        return iter(())

    def check(self, field: str, config: C) -> Iterator[FieldError]:
        """Errors: what weft does not implement."""
        return iter(())

    def check_matches(self, field: str, config: C, matches: Sequence[HTTPRouteMatch]) -> Iterator[FieldError]:
        """Errors together with the rule's matches."""
        return iter(())

    def references(self, config: C) -> Iterator[tuple[str, BackendObjectReference]]:
        """The backends that it refers to, by JSON path from its field."""
        return iter(())

    def resolve(self, config: C, backends: Sequence[BackendPort | None]) -> ResolvedFilter | None:
        """The filter with the backends of `references`, each None where it does not exist."""
        return None

    def other_match(self, config: C, match: HTTPRouteMatch | GRPCRouteMatch, request: Request) -> HTTPRouteMatch | None:
        """A further match by which the rule takes such a request; None where there is none."""
        return None

    def render(self, route: EnvoyRoute, configs: Sequence[C], part: Part) -> Iterable[EnvoyRoute]:
        """The routes that replace one route of Envoy; that one itself where nothing changes.

        `configs` are those of all filters of this type, in order; there may be none.
        """
        return (route,)

    def evaluate(self, state: RequestState, configs: Sequence[C], part: Part) -> RequestState:
        """The state after this filter."""
        return state

    def changes(self, config: C) -> Changes:
        """What it may change of a request. Policies are judged before all filters."""
        return Changes()

    def describe(self, resolved: Iterable[ResolvedFilter]) -> dict[str, Any]:
        """What `weft explain` shows of a rule in addition to its filters, by names that are always present."""
        return {}
