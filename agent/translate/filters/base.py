"""What there is to know of a type of filter, from its schema to Envoy and to what `weft explain` says of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from agent.ir.http import BackendPort, ResolvedFilter, Rule
from agent.ir.request import Request
from agent.ir.resources import Json
from agent.model.filters import BackendObjectReference, Filter, HeaderFilter
from agent.model.limits import Violation
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.field_errors import FieldError

C = TypeVar("C")
MILLION = 1_000_000


class Place(Flag):
    """Where a Route may have a filter of a type."""

    HTTP_RULE = auto()
    HTTP_BACKEND = auto()
    GRPC_RULE = auto()
    GRPC_BACKEND = auto()
    HTTP = HTTP_RULE | HTTP_BACKEND
    EVERYWHERE = HTTP | GRPC_RULE | GRPC_BACKEND


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers, modulo a million, from `low` up to `high`: this one not."""

    low: int = 0
    high: int = MILLION

    @property
    def condition(self) -> Json:
        """What a RouteMatch asks for, behind the routes for lower numbers; nothing when there are no higher ones."""
        return {} if self.high == MILLION else _below(self.high)

    def first(self, per_million: int) -> Json:
        """What a policy of such a route asks for, to take so many of a million of the route's requests."""
        return _below(self.low + (self.high - self.low) * per_million // MILLION)


def _below(number: int) -> Json:
    return {"runtime_fraction": {"default_value": {"numerator": number, "denominator": "MILLION"}}}


@dataclass(frozen=True, slots=True)
class Part:
    """The requests that a filter sees: those of a rule, or of one of its backends where backends have filters of their
    own (then `rule` has both, the backend's last). `service_port` is the port that clients dial; `numbers` are those
    that Envoy draws for this part of the rule's requests.
    """

    rule: Rule
    service_port: int
    numbers: Range = Range()


@dataclass(frozen=True, slots=True)
class EnvoyRoute:
    """A Route of Envoy's API in the making. `action` names the field that says what to do, `settings` is its value;
    `fields` are further fields, `configs` the settings of HTTP filters by their name in the chain.
    """

    match: Json
    action: str
    settings: Json
    fields: Json = field(default_factory=dict)
    configs: Json = field(default_factory=dict)

    def matching(self, *headers: Json) -> "EnvoyRoute":
        """The same for requests whose headers match these too."""
        return replace(self, match={**self.match, "headers": [*self.match.get("headers", ()), *headers]})

    def configured(self, name: str, config: Json) -> "EnvoyRoute":
        """The same with these settings of an HTTP filter."""
        return replace(self, configs={**self.configs, name: config})

    def routed(self, settings: Json) -> "EnvoyRoute":
        """The same with these settings where it sends requests to a cluster."""
        return replace(self, settings={**self.settings, **settings}) if self.action == "route" else self


@dataclass(frozen=True, slots=True)
class Passage:
    """A request on its way through filters: `asked` as the client sent it, `request` as a backend gets it.

    Where the waypoint answers itself there is a `status`, and the `location` of a redirect. `response` are the changes
    to the answer's headers, one after the other; `facts` what filters found out about the request (see `Fact`).
    """

    asked: Request
    request: Request
    status: int | None = None
    location: str = ""
    response: tuple[HeaderFilter, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Fact(NamedTuple):
    """Something that a filter finds out about a request: its name in JSON, what a line about it begins with, and the
    line's words for a value.
    """

    name: str
    label: str
    words: Callable[[Any], str]


class HTTPFilter(ABC, Generic[C]):
    """One type of filter; `C` is its field in the API. What a subclass leaves out, filters of its type do not do.

    `type` is the name in the API. `excludes` are types that cannot be beside it; `repeatable`: a rule may have several.
    `no_backends` says why a rule with such a filter has no backends, empty where it may. `before_backend`: it acts
    before a backend is chosen, so also on requests whose backend's reference is invalid. `fails_closed`: it decides
    whether a request may pass, so a rule that cannot be done because of its fields still takes its requests, and
    answers 500.
    `chain` are the HTTP filters that Envoy's listeners have for it, and that do nothing without a route's settings;
    `messages` the modules of the protobuf messages that its settings hold packed. `features` are its names in the
    conformance suite.
    """

    type: ClassVar[str]
    places: ClassVar[Place]
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
        """Its field of a filter; None for filters of other types."""

    def configs(self, filters: Iterable[Filter]) -> list[C]:
        """Its field of all filters of this type."""
        return [found for item in filters if (found := self.config(item)) is not None]

    def violations(self, field: str, config: C) -> Iterator[Violation]:
        """What breaks the schema that an API server applies."""
        return iter(())

    def check(self, field: str, config: C) -> Iterator[FieldError]:
        """What cannot be done."""
        return iter(())

    def check_matches(self, field: str, config: C, matches: Sequence[HTTPRouteMatch]) -> Iterator[FieldError]:
        """What does not go together with the rule's matches."""
        return iter(())

    def references(self, config: C) -> Iterator[tuple[str, BackendObjectReference]]:
        """The backends that it refers to, by JSON path from its field."""
        return iter(())

    def resolve(self, config: C, backends: Sequence[BackendPort | None]) -> ResolvedFilter | None:
        """What it does with the backends of `references`, None for those that are not there."""
        return None

    def other_match(self, config: C, match: HTTPRouteMatch | GRPCRouteMatch, request: Request) -> HTTPRouteMatch | None:
        """The match by which such a request is the rule's too, if there is one."""
        return None

    def render(self, route: EnvoyRoute, configs: Sequence[C], part: Part) -> Iterable[EnvoyRoute]:
        """The routes that Envoy needs instead of one; just that one where nothing is to be changed.

        `configs` are those of all filters of this type, in order; there may be none.
        """
        return (route,)

    def evaluate(self, passage: Passage, configs: Sequence[C], part: Part) -> Passage:
        """What becomes of a request."""
        return passage

    def words(self, resolved: Iterable[ResolvedFilter]) -> dict[str, Any]:
        """What `weft explain` says of a rule besides its filters, by names that are always there."""
        return {}
