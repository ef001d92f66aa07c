"""Which filters can be done, and which do not go together."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from agent.model.filters import FILTER_FIELDS, Filter
from agent.model.limits import MAX_LIST, Violation, too_many
from agent.model.routes import HTTPRouteMatch
from agent.translate.field_errors import INCOMPATIBLE, UNSUPPORTED, FieldError
from agent.translate.filters.base import FilterPlace
from agent.translate.filters.registry import BY_TYPE, HTTP_FILTERS, types_of


def filter_violations(field: str, filters: tuple[Filter, ...]) -> Iterator[Violation]:
    """Violations of the schema by a list of filters, as (field, message)."""
    yield from too_many(field, filters, MAX_LIST)
    for position, entry in enumerate(filters):
        where = f"{field}[{position}]"
        yield from _union(where, entry)
        for item, config in types_of(entry):
            yield from item.violations(f"{where}.{FILTER_FIELDS[item.type][1]}", config)


def _union(field: str, entry: Filter) -> Iterator[Violation]:
    """The field that belongs to the type is required; all others are forbidden."""
    for kind, (attribute, name) in FILTER_FIELDS.items():
        there = getattr(entry, attribute) is not None
        if there and entry.type != kind:
            yield f"{field}.{name}", f"is there, but the type is {entry.type[:80]!a}"
        elif entry.type == kind and not there:
            yield f"{field}.{name}", f"is missing: the type is {kind}"


def filter_errors(field: str, filters: tuple[Filter, ...], place: FilterPlace) -> Iterator[FieldError]:
    """Errors of a list of filters at a place in a Route."""
    types = [entry.type for entry in filters]
    for position, entry in enumerate(filters):
        where = f"{field}[{position}]"
        item, name = BY_TYPE.get(entry.type), FILTER_FIELDS.get(entry.type, ("", "type"))[1]
        if item is None or place not in item.places:
            yield FieldError(UNSUPPORTED, f"{where}.{name}", f"filter {entry.type!r} is not implemented here")
        elif item.config(entry) is None:
            yield FieldError(UNSUPPORTED, where, f"has the type {entry.type} but not its field")
        elif entry.type in types[:position] and not item.repeatable:
            yield FieldError(INCOMPATIBLE, where, f"{entry.type} is there twice")
        else:
            yield from item.check(f"{where}.{name}", item.config(entry))
    yield from exclusions(field, types)


def exclusions(field: str, types: Collection[str]) -> Iterator[FieldError]:
    """Errors for types of filters that exclude each other."""
    for item in HTTP_FILTERS:
        for other in sorted(item.excludes):
            if item.type in types and other in types:
                yield FieldError(INCOMPATIBLE, field, f"{item.type} and {other} exclude each other")


def match_errors(field: str, filters: Iterable[Filter], matches: Sequence[HTTPRouteMatch]) -> Iterator[FieldError]:
    """Errors for filters that are incompatible with the rule's matches."""
    for position, entry in enumerate(filters):
        for item, config in types_of(entry):
            yield from item.check_matches(f"{field}[{position}].{FILTER_FIELDS[item.type][1]}", config, matches)


def backend_errors(field: str, filters: Iterable[Filter]) -> Iterator[FieldError]:
    """Why a rule with these filters may have no backends."""
    for entry in filters:
        item = BY_TYPE.get(entry.type)
        if item is not None and item.no_backends:
            yield FieldError(INCOMPATIBLE, field, item.no_backends)
