"""RequestHeaderModifier and ResponseHeaderModifier, of a rule and then of its backend.

They change trailers too. A server may merge trailers with its headers: so no trailer has a name that frames a message,
routes it or belongs to one connection (RFC 9110 §6.5.1), and what a rule removes from headers, or sets itself, comes in
no trailer either.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from agent.ir.request import Headers, joined
from agent.ir.resources import Json
from agent.model.filters import Filter, HeaderFilter
from agent.model.limits import HEADER, MAX_LIST, Violation, too_many
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.filters.base import Changes, EnvoyRoute, FilterPlace, HTTPFilter, Part, RequestState
from agent.translate.header_names import CONNECTION, FRAMING, HOST, header_name_error

OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
APPEND = "APPEND_IF_EXISTS_OR_ADD"
# The chain's filter that removes names from the trailers of every request and response, and its settings of a route.
TRAILERS = "trailers"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
PER_ROUTE = f"{TYPE}PerRoute"
_REFUSED = {
    "remove_on_match": {"key_matcher": {"safe_regex": {"regex": "|".join(sorted({*FRAMING, *CONNECTION, HOST}))}}}
}
_EVERYWHERE = {"request_trailers_mutations": [_REFUSED], "response_trailers_mutations": [_REFUSED]}
# What no field value may have (RFC 9110, 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _HeaderModifier(HTTPFilter[HeaderFilter]):
    """`kind` is `request` or `response`, as Envoy's fields begin."""

    kind: ClassVar[str]
    places = FilterPlace.EVERYWHERE
    messages = ("envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2",)

    def violations(self, field: str, config: HeaderFilter) -> Iterator[Violation]:
        lists: dict[str, tuple[Any, ...]] = {"set": config.set, "add": config.add, "remove": config.remove}
        for kind, items in lists.items():
            yield from too_many(f"{field}.{kind}", items, MAX_LIST)
            for position, item in enumerate(items):
                name = item if isinstance(item, str) else item.name
                if not HEADER.fullmatch(name):
                    yield f"{field}.{kind}[{position}]", f"{name[:80]!a} is not a header name"

    def check(self, field: str, config: HeaderFilter) -> Iterator[FieldError]:
        """Control characters and changes to `Host`, which Envoy refuses; and changes to a message's framing."""
        for kind, items in (("set", config.set), ("add", config.add)):
            for position, item in enumerate(items):
                yield from _name_error(f"{field}.{kind}[{position}].name", item.name)
                if _CONTROL.search(item.value):
                    yield FieldError(UNSUPPORTED, f"{field}.{kind}[{position}].value", "has a control character")
        for position, name in enumerate(config.remove):
            yield from _name_error(f"{field}.remove[{position}]", name)

    def render(self, route: EnvoyRoute, configs: Sequence[HeaderFilter], part: Part) -> Iterable[EnvoyRoute]:
        route = replace(route, fields={**route.fields, **_combined(self.kind, configs)})
        removals = _removals(configs)
        if not removals:
            return (route,)
        others = route.configs[TRAILERS]["mutations"] if TRAILERS in route.configs else {}
        mutations = {**others, f"{self.kind}_trailers_mutations": removals}
        return (route.configured(TRAILERS, {"@type": PER_ROUTE, "mutations": mutations}),)


class RequestHeaderFilter(_HeaderModifier):
    """Changes to the headers that a backend gets."""

    type = "RequestHeaderModifier"
    kind = "request"
    chain = ({"name": TRAILERS, "typed_config": {"@type": TYPE, "mutations": _EVERYWHERE}},)
    features = ("MeshHTTPRouteBackendRequestHeaderModification",)

    def config(self, item: Filter) -> HeaderFilter | None:
        return item.request_header_modifier

    def changes(self, config: HeaderFilter) -> Changes:
        names = (*(item.name for item in (*config.set, *config.add)), *config.remove)
        return Changes(headers=frozenset(map(str.lower, names)))

    def evaluate(self, state: RequestState, configs: Sequence[HeaderFilter], part: Part) -> RequestState:
        request = state.request
        return replace(state, request=replace(request, headers=changed(request.headers, configs)))


class ResponseHeaderFilter(_HeaderModifier):
    """Changes to the headers that a client gets."""

    type = "ResponseHeaderModifier"
    kind = "response"
    features = ("HTTPRouteResponseHeaderModification",)

    def config(self, item: Filter) -> HeaderFilter | None:
        return item.response_header_modifier

    def evaluate(self, state: RequestState, configs: Sequence[HeaderFilter], part: Part) -> RequestState:
        return replace(state, response=(*state.response, *configs))


def changed(headers: Headers, changes: Iterable[HeaderFilter]) -> Headers:
    """Headers after modifiers in order: each sets, adds, then removes."""
    for change in changes:
        headers = joined(_changed(headers, change))
    return headers


def _changed(headers: Headers, change: HeaderFilter) -> Iterator[tuple[str, str]]:
    removed = {name.lower() for name in change.remove}
    replaced = {item.name.lower() for item in change.set}
    yield from (item for item in headers if item[0].lower() not in removed | replaced)
    for item in (*change.set, *change.add):
        if item.name.lower() not in removed:
            yield item.name, item.value


def _name_error(field: str, name: str) -> Iterator[FieldError]:
    error = header_name_error(name)
    if error:
        yield FieldError(UNSUPPORTED, field, error)


def _combined(kind: str, changes: Iterable[HeaderFilter]) -> Json:
    """Envoy removes, then overwrites, then appends, in any order of the list: so an earlier change must not add what a
    later one removes or sets.
    """
    added: list[tuple[str, str, str]] = []
    removed: list[str] = []
    for change in changes:
        gone = {name.lower() for name in change.remove}
        replaced = gone | {item.name.lower() for item in change.set}
        added = [item for item in added if item[1].lower() not in replaced]
        added += [(OVERWRITE, item.name, item.value) for item in change.set if item.name.lower() not in gone]
        added += [(APPEND, item.name, item.value) for item in change.add if item.name.lower() not in gone]
        removed += change.remove
    return {
        **({f"{kind}_headers_to_add": [_option(*item) for item in added]} if added else {}),
        **({f"{kind}_headers_to_remove": removed} if removed else {}),
    }


def _option(action: str, name: str, value: str) -> Json:
    header = {"key": name, "value": _literal(value)}
    return {"header": header, "append_action": action, "keep_empty_value": True}


def _literal(value: str) -> str:
    """A header's value is literal text; Envoy would expand `%…%`."""
    return value.replace("%", "%%")


def _removals(changes: Iterable[HeaderFilter]) -> list[Json]:
    """Each name once, in lower case."""
    names = [name for change in changes for name in (*change.remove, *(item.name for item in change.set))]
    return [{"remove": name} for name in dict.fromkeys(map(str.lower, names))]
