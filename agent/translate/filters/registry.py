"""Every type of filter that weft implements, and what all of them together do."""

from collections.abc import Iterable, Iterator
from typing import Any

from agent.ir.http import ResolvedFilter
from agent.ir.request import Request
from agent.ir.request_conditions import RequestConditions
from agent.model.filters import FILTER_FIELDS, BackendObjectReference, Filter
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, HTTPFilter, Part, RequestState
from agent.translate.filters.cors import CORSFilter
from agent.translate.filters.external_auth import ExternalAuthFilter
from agent.translate.filters.header_modifiers import RequestHeaderFilter, ResponseHeaderFilter
from agent.translate.filters.request_mirror import MirrorFilter
from agent.translate.filters.request_redirect import RedirectFilter
from agent.translate.filters.url_rewrite import RewriteFilter

# In the order of Envoy's chain, which is the order in which they act.
HTTP_FILTERS: tuple[HTTPFilter[Any], ...] = (
    RewriteFilter(),
    RequestHeaderFilter(),
    ResponseHeaderFilter(),
    RedirectFilter(),
    MirrorFilter(),
    CORSFilter(),
    ExternalAuthFilter(),
)
BY_TYPE = {item.type: item for item in HTTP_FILTERS}


def fails_closed(entry: Filter) -> bool:
    """Whether requests must not pass where this filter cannot be implemented."""
    return entry.type in BY_TYPE and BY_TYPE[entry.type].fails_closed


def types_of(entry: Filter) -> Iterator[tuple[HTTPFilter[Any], Any]]:
    """The type of a filter, with its configuration; nothing where weft does not implement it or the field is missing.

    A field that does not belong to the type has its effect too. Schemas forbid such a field.
    """
    for item in HTTP_FILTERS:
        config = item.config(entry)
        if config is not None:
            yield item, config


def rendered(route: EnvoyRoute, part: Part) -> list[EnvoyRoute]:
    """Envoy's routes for a part of a rule's requests."""
    routes = [route]
    for item in HTTP_FILTERS:
        configs = item.configs(part.rule.filters)
        routes = [made for one in routes for made in item.render(one, configs, part)]
    return routes


def evaluated(state: RequestState, part: Part, backend_chosen: bool = False) -> RequestState:
    """The state after all filters; when a backend is chosen, after those that act then."""
    for item in HTTP_FILTERS:
        if not (backend_chosen and item.before_backend):
            state = item.evaluate(state, item.configs(part.rule.filters), part)
    return state


def leave(filters: Iterable[Filter], conditions: RequestConditions) -> bool:
    """Whether filters leave as it is what conditions look at: then a backend gets what was judged."""
    return not any(item.changes(config).touch(conditions) for entry in filters for item, config in types_of(entry))


def other_matches(
    filters: Iterable[Filter], match: HTTPRouteMatch | GRPCRouteMatch, request: Request
) -> Iterator[HTTPRouteMatch]:
    """Further matches by which a rule takes a request, for its filters (a CORS preflight)."""
    for entry in filters:
        for item, config in types_of(entry):
            found = item.other_match(config, match, request)
            if found is not None:
                yield found


def filter_references(field: str, filters: Iterable[Filter]) -> Iterator[tuple[str, BackendObjectReference]]:
    """The backends that filters refer to, by their JSON path; `field` is the rule's or the backendRef's."""
    for position, entry in enumerate(filters):
        for item, config in types_of(entry):
            name = FILTER_FIELDS[item.type][1]
            for path, ref in item.references(config):
                yield f"{field}.filters[{position}].{name}.{path}", ref


def describe_filters(resolved: Iterable[ResolvedFilter]) -> dict[str, Any]:
    """What `weft explain` shows of a rule's filters that refer to backends."""
    listed = list(resolved)
    return {name: value for item in HTTP_FILTERS for name, value in item.describe(listed).items()}
