"""Every type of filter that weft implements, and what all of them together do."""

from collections.abc import Iterable, Iterator
from typing import Any

from agent.ir.http import ResolvedFilter
from agent.ir.request import Request
from agent.model.filters import FILTER_FIELDS, BackendObjectReference, Filter
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, HTTPFilter, Part, Passage
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
    """Whether a request must not pass where this filter cannot act."""
    return entry.type in BY_TYPE and BY_TYPE[entry.type].fails_closed


def types_of(entry: Filter) -> Iterator[tuple[HTTPFilter[Any], Any]]:
    """The type of a filter, with its configuration; nothing where weft does not implement it or the field is missing.

    A field that the type does not name is read too: a schema forbids it, and where one does not it has its effect.
    """
    for item in HTTP_FILTERS:
        config = item.config(entry)
        if config is not None:
            yield item, config


def rendered(route: EnvoyRoute, part: Part) -> list[EnvoyRoute]:
    """The routes that Envoy needs for a part of a rule's requests."""
    routes = [route]
    for item in HTTP_FILTERS:
        configs = item.configs(part.rule.filters)
        routes = [made for one in routes for made in item.render(one, configs, part)]
    return routes


def evaluated(passage: Passage, part: Part, backend_chosen: bool = False) -> Passage:
    """What becomes of a request; after a backend is chosen, of what comes then."""
    for item in HTTP_FILTERS:
        if not (backend_chosen and item.before_backend):
            passage = item.evaluate(passage, item.configs(part.rule.filters), part)
    return passage


def other_matches(
    filters: Iterable[Filter], match: HTTPRouteMatch | GRPCRouteMatch, request: Request
) -> Iterator[HTTPRouteMatch]:
    """The matches by which a request is a rule's too, for the sake of its filters."""
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


def words(resolved: Iterable[ResolvedFilter]) -> dict[str, Any]:
    """What `weft explain` says of the filters of a rule that refer to backends."""
    listed = list(resolved)
    return {name: said for item in HTTP_FILTERS for name, said in item.words(listed).items()}
