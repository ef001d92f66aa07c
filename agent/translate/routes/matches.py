"""What of a rule's matches can be done: Envoy has to be able to take every condition, or it refuses the whole table."""

import re
from collections.abc import Iterator

from agent.model.routes import AnyRoute, GRPCMethodMatch, GRPCRouteMatch, HeaderMatch, HTTPRouteMatch
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.grpc_method import path_expression
from agent.translate.regex import MAX_EXPRESSIONS, MAX_STEPS_OF_ROUTE, judged, regex_error

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
REGEX = "RegularExpression"
_GRPC_NAME = re.compile(r"[A-Za-z0-9_.]*")


def too_many_expressions(route: AnyRoute) -> Iterator[FieldError]:
    """An error where a Route has too many regular expressions: every node compiles them all, and Envoy matches them."""
    matches = [match for rule in route.spec.rules for match in getattr(rule, "matches", ())]
    found = [text for match in matches for kind, text in _conditions(match) if kind == REGEX]
    if len(found) > MAX_EXPRESSIONS:
        yield FieldError(UNSUPPORTED, "spec.rules", f"{len(found)} regular expressions are more than {MAX_EXPRESSIONS}")
        return
    steps = 0
    for text in found:
        steps += judged(text).steps
        if steps > MAX_STEPS_OF_ROUTE:
            # The rest is not judged: that is what the bound is for.
            yield FieldError(
                UNSUPPORTED, "spec.rules", "the automata of all regular expressions together are too large"
            )
            return


def _conditions(match: HTTPRouteMatch | GRPCRouteMatch) -> Iterator[tuple[str, str]]:
    """The types and values of all conditions of a match."""
    yield from ((item.type, item.value) for item in match.headers)
    if isinstance(match, HTTPRouteMatch):
        yield match.path.type, match.path.value
        yield from ((item.type, item.value) for item in match.query_params)
    elif match.method is not None:
        yield match.method.type, path_expression(match.method)


def http_match_errors(field: str, match: HTTPRouteMatch) -> Iterator[FieldError]:
    """The errors of a match of an HTTPRoute."""
    if match.path.type not in ("Exact", "PathPrefix", REGEX):
        yield FieldError(UNSUPPORTED, f"{field}.path.type", f"{match.path.type!r} is not supported")
    if match.path.type == REGEX:
        yield from _regex(f"{field}.path.value", match.path.value)
    if match.method is not None and match.method not in METHODS:
        yield FieldError(UNSUPPORTED, f"{field}.method", f"{match.method!r} is not supported")
    yield from _headers(f"{field}.headers", match.headers)
    for position, item in enumerate(match.query_params):
        yield from _value(f"{field}.queryParams[{position}]", item.type, item.value)


def grpc_match_errors(field: str, match: GRPCRouteMatch) -> Iterator[FieldError]:
    """The errors of a match of a GRPCRoute."""
    if match.method is not None:
        yield from _method(f"{field}.method", match.method)
    yield from _headers(f"{field}.headers", match.headers)


def _method(field: str, method: GRPCMethodMatch) -> Iterator[FieldError]:
    named = {"service": method.service, "method": method.method}
    if method.service is None and method.method is None:
        yield FieldError(UNSUPPORTED, field, "names neither a service nor a method")
    if method.type not in ("Exact", REGEX):
        yield FieldError(UNSUPPORTED, f"{field}.type", f"{method.type!r} is not supported")
    for name, value in named.items():
        if value and method.type == REGEX:
            yield from _regex(f"{field}.{name}", value)
        elif not _GRPC_NAME.fullmatch(value or ""):
            yield FieldError(UNSUPPORTED, f"{field}.{name}", "has other characters than letters, digits, `_` and `.`")
    if method.type == REGEX:
        # Two valid parts may be invalid together: with an open `\Q`, or when the whole program is too large.
        yield from _regex(field, path_expression(method))


def _headers(field: str, headers: tuple[HeaderMatch, ...]) -> Iterator[FieldError]:
    for position, item in enumerate(headers):
        yield from _value(f"{field}[{position}]", item.type, item.value)


def _value(field: str, kind: str, value: str) -> Iterator[FieldError]:
    if kind == REGEX:
        yield from _regex(f"{field}.value", value)
    elif kind != "Exact":
        yield FieldError(UNSUPPORTED, f"{field}.type", f"{kind!r} is not supported")


def _regex(field: str, text: str) -> Iterator[FieldError]:
    error = regex_error(text)
    if error:
        yield FieldError(UNSUPPORTED, field, error)
