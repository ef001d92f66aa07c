"""RequestMirror: copies of requests to another backend, whose responses are discarded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.ir.http import BackendPort, ResolvedFilter
from agent.model.filters import BackendObjectReference, Filter, RequestMirror
from agent.model.limits import Violation
from agent.translate.filters.base import MILLION, EnvoyRoute, FilterPlace, HTTPFilter, Part


@dataclass(frozen=True, slots=True)
class Mirror(ResolvedFilter):
    """A backend, and how many of a million requests are copied to it."""

    backend: BackendPort
    per_million: int

    @property
    def backends(self) -> tuple[BackendPort, ...]:
        """That backend."""
        return (self.backend,)


class MirrorFilter(HTTPFilter[RequestMirror]):
    """A backend that does not exist gets no copies, and requests pass all the same (HTTPRequestMirrorFilter)."""

    type = "RequestMirror"
    places = FilterPlace.EVERYWHERE
    repeatable = True

    def config(self, item: Filter) -> RequestMirror | None:
        return item.request_mirror

    def violations(self, field: str, config: RequestMirror) -> Iterator[Violation]:
        if config.fraction is None:
            return
        if config.percent is not None:
            yield field, "only one of percent and fraction may be set"
        if config.share > 1:
            yield f"{field}.fraction", "is more than 1"

    def references(self, config: RequestMirror) -> Iterator[tuple[str, BackendObjectReference]]:
        yield "backendRef", config.backend_ref

    def resolve(self, config: RequestMirror, backends: Sequence[BackendPort | None]) -> Mirror | None:
        share = round(config.share * MILLION)
        return Mirror(backends[0], share) if backends[0] is not None and share else None

    def render(self, route: EnvoyRoute, configs: Sequence[RequestMirror], part: Part) -> Iterable[EnvoyRoute]:
        """Shares are fractions of a million: weighted clusters use the same random number, modulo the sum of their
        weights, so that fractions of a hundred would often copy the requests of one backend only.
        """
        policies = [
            {
                "cluster": item.backend.cluster,
                **part.fraction_range.first(item.per_million),
                "disable_shadow_host_suffix_append": True,
            }
            for item in mirrors(part.rule.resolved)
        ]
        return (route.routed({"request_mirror_policies": policies}) if policies else route,)

    def describe(self, resolved: Iterable[ResolvedFilter]) -> dict[str, Any]:
        """The backends that get copies, each with its share of the requests."""
        copies = [{"backend": item.backend.cluster, "share": item.per_million / 1e6} for item in mirrors(resolved)]
        return {"mirrors": copies}


def mirrors(resolved: Iterable[ResolvedFilter]) -> list[Mirror]:
    """The mirrors among a rule's filters."""
    return [item for item in resolved if isinstance(item, Mirror)]
