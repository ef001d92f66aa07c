"""Trailers: fields that come after a body, and pass no rule's matches.

A server may merge them with its headers. So no trailer has a name that frames a message, routes it or belongs to one
connection (RFC 9110 §6.5.1), and what a rule removes from headers, or sets itself, comes in no trailer either.
"""

from collections.abc import Iterable

from agent.model.filters import Filter, HeaderFilter
from agent.plan.resources import Json
from agent.translate.header_names import CONNECTION, FRAMING, HOST

# The listener's filter, and its part of a rule's route.
NAME = "trailers"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
PER_ROUTE = f"{TYPE}PerRoute"
_REFUSED = "|".join(sorted({*FRAMING, *CONNECTION, HOST}))


def trailer_filter() -> Json:
    """The filter that takes names out of every request's and answer's trailers."""
    refused = [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": _REFUSED}}}}]
    mutations = {"request_trailers_mutations": refused, "response_trailers_mutations": refused}
    return {"name": NAME, "typed_config": {"@type": TYPE, "mutations": mutations}}


def trailer_config(filters: Iterable[Filter]) -> Json:
    """The filter's part of a rule's route; nothing for a rule that neither removes nor sets headers."""
    listed = list(filters)
    changes = {
        "request_trailers_mutations": [item.request_header_modifier for item in listed],
        "response_trailers_mutations": [item.response_header_modifier for item in listed],
    }
    mutations = {kind: found for kind, items in changes.items() if (found := _removals(items))}
    return {NAME: {"@type": PER_ROUTE, "mutations": mutations}} if mutations else {}


def _removals(changes: Iterable[HeaderFilter | None]) -> list[Json]:
    """Each name once, in lower case."""
    names = [name for change in changes if change for name in (*change.remove, *(item.name for item in change.set))]
    return [{"remove": name} for name in dict.fromkeys(map(str.lower, names))]
