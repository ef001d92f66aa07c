"""What of a Route can be done: rule by rule, with the field and the reason of what cannot."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.model.routes import (
    AnyRoute,
    GRPCRouteRule,
    HTTPRouteRetry,
    HTTPRouteRule,
    L4RouteRule,
    SessionPersistence,
)
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.filters.base import FilterPlace
from agent.translate.filters.check import backend_errors, exclusions, filter_errors, match_errors
from agent.translate.filters.registry import fails_closed
from agent.translate.header_names import header_name_error
from agent.translate.routes.durations import milliseconds
from agent.translate.routes.matches import grpc_match_errors, http_match_errors, too_many_expressions
from agent.translate.routes.size import configuration_bytes, size_errors

MAX_RULES = 16
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
# What Envoy writes into Set-Cookie as it is: no end of the attribute, no control characters. A path that does not begin
# so would be the request's own folder instead (RFC 6265, 5.2.4).
_COOKIE_PATH = re.compile(r"/[\x20-:<-~]*")
# As far as Envoy counts.
MAX_ATTEMPTS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """A Route's rules by index: those that can be implemented, and the first error of each of the others.

    `closed` are those of the latter whose requests get 500, because one of their filters must not be skipped.
    `bytes` is the estimate of what the Route takes of Envoy's configuration.
    """

    valid: tuple[int, ...]
    errors: tuple[tuple[int, FieldError], ...]
    closed: tuple[int, ...] = ()
    bytes: int = 0


def check(route: AnyRoute) -> Checked:
    """Check every rule of a Route by itself."""
    errors: list[tuple[int, FieldError]] = []
    size = configuration_bytes(route)
    whole = next(_of_the_whole(route, size), None)
    if whole is not None:
        return Checked((), ((0, whole),))
    for index, rule in enumerate(route.spec.rules):
        found: Iterator[FieldError] = iter(())
        if isinstance(rule, HTTPRouteRule):
            found = _http_rule(f"spec.rules[{index}]", rule)
        elif isinstance(rule, GRPCRouteRule):
            found = _grpc_rule(f"spec.rules[{index}]", rule)
        error = next(found, None)
        if error is not None:
            errors.append((index, error))
    bad = {index for index, _ in errors}
    valid = tuple(index for index in range(len(route.spec.rules)) if index not in bad)
    closed = tuple(index for index in sorted(bad) if _is_closed(route.spec.rules[index]))
    return Checked(valid, tuple(errors), closed, size)


def _is_closed(rule: HTTPRouteRule | GRPCRouteRule | L4RouteRule) -> bool:
    """Whether requests that match a rule must not go to another rule when this one cannot be implemented."""
    if not isinstance(rule, HTTPRouteRule) or not any(fails_closed(item) for item in rule.filters):
        return False
    return not any(True for match in rule.matches for _ in http_match_errors("", match))


def _of_the_whole(route: AnyRoute, size: int) -> Iterator[FieldError]:
    """Errors of the Route as a whole; `size` is the estimate of its bytes."""
    count = len(route.spec.rules)
    if count > MAX_RULES:
        yield FieldError(UNSUPPORTED, "spec.rules", f"{count} are more than {MAX_RULES}")
    yield from too_many_expressions(route)
    yield from size_errors(size)


def _http_rule(field: str, rule: HTTPRouteRule) -> Iterator[FieldError]:
    for number, match in enumerate(rule.matches):
        yield from http_match_errors(f"{field}.matches[{number}]", match)
    yield from filter_errors(f"{field}.filters", rule.filters, FilterPlace.HTTP_RULE)
    yield from match_errors(f"{field}.filters", rule.filters, rule.matches)
    yield from _backend_filters(field, rule, FilterPlace.HTTP_BACKEND)
    yield from _timeouts(f"{field}.timeouts", rule)
    yield from _retry(f"{field}.retry", rule.retry)
    yield from _session(f"{field}.sessionPersistence", rule)
    if rule.backend_refs:
        yield from backend_errors(f"{field}.backendRefs", rule.filters)


def _grpc_rule(field: str, rule: GRPCRouteRule) -> Iterator[FieldError]:
    for number, match in enumerate(rule.matches):
        yield from grpc_match_errors(f"{field}.matches[{number}]", match)
    yield from filter_errors(f"{field}.filters", rule.filters, FilterPlace.GRPC_RULE)
    yield from _backend_filters(field, rule, FilterPlace.GRPC_BACKEND)
    yield from _session(f"{field}.sessionPersistence", rule)


def _backend_filters(field: str, rule: HTTPRouteRule | GRPCRouteRule, place: FilterPlace) -> Iterator[FieldError]:
    """A backend's filters act after the rule's, so they must be compatible with those too."""
    of_rule = [item.type for item in rule.filters]
    for position, backend in enumerate(rule.backend_refs):
        where = f"{field}.backendRefs[{position}].filters"
        yield from filter_errors(where, backend.filters, place)
        yield from exclusions(where, [*of_rule, *(item.type for item in backend.filters)])
        if isinstance(rule, HTTPRouteRule):
            yield from match_errors(where, backend.filters, rule.matches)


def _timeouts(field: str, rule: HTTPRouteRule) -> Iterator[FieldError]:
    found: dict[str, int] = {}
    for name, text in (("request", rule.timeouts.request), ("backendRequest", rule.timeouts.backend_request)):
        if text is None:
            continue
        value = milliseconds(text)
        if value is None:
            yield FieldError(UNSUPPORTED, f"{field}.{name}", f"{text!r} is not a duration (GEP-2257)")
        else:
            found[name] = value
    if found.get("request") and found.get("backendRequest", 0) > found["request"]:
        yield FieldError(UNSUPPORTED, f"{field}.backendRequest", "is longer than the request's timeout")


def _retry(field: str, retry: HTTPRouteRetry | None) -> Iterator[FieldError]:
    if retry is None:
        return
    if retry.attempts is not None and retry.attempts > MAX_ATTEMPTS:
        yield FieldError(UNSUPPORTED, f"{field}.attempts", f"is more than {MAX_ATTEMPTS}")
    if retry.backoff is not None and milliseconds(retry.backoff) is None:
        yield FieldError(UNSUPPORTED, f"{field}.backoff", f"{retry.backoff!r} is not a duration (GEP-2257)")


def _session(field: str, rule: HTTPRouteRule | GRPCRouteRule) -> Iterator[FieldError]:
    persistence = rule.session_persistence
    if persistence is None:
        return
    yield from _session_token(field, persistence)
    if persistence.idle_timeout is not None:
        yield FieldError(UNSUPPORTED, f"{field}.idleTimeout", "Envoy does not record when a session was last used")
    if persistence.absolute_timeout is not None:
        if not milliseconds(persistence.absolute_timeout):
            error = f"{persistence.absolute_timeout!r} is not a duration (GEP-2257) above 0"
            yield FieldError(UNSUPPORTED, f"{field}.absoluteTimeout", error)
        if persistence.type == "Header":
            yield FieldError(UNSUPPORTED, f"{field}.absoluteTimeout", "a session by header has no end")
    if len(rule.backend_refs) > 1 and any(backend.filters for backend in rule.backend_refs):
        yield FieldError(UNSUPPORTED, field, "several backends with filters of their own cannot share sessions")


def _session_token(field: str, persistence: SessionPersistence) -> Iterator[FieldError]:
    """The errors of a session's cookie or header. No API server stores both of the forms that a session can have."""
    for old, value in (("sessionName", persistence.session_name), ("cookieConfig", persistence.cookie_config)):
        if value is not None and (persistence.cookie or persistence.header):
            yield FieldError(UNSUPPORTED, f"{field}.{old}", "is of Gateway API v1.6, together with fields of v1.7")
    if persistence.name is not None and not _TOKEN.fullmatch(persistence.name):
        yield FieldError(
            UNSUPPORTED, f"{field}.{persistence.name_field}", f"{persistence.name!r} is no name of a cookie or header"
        )
    if persistence.type == "Header" and (error := header_name_error(persistence.name or "")):
        yield FieldError(UNSUPPORTED, f"{field}.{persistence.name_field}", error)
    if persistence.path is not None and not _COOKIE_PATH.fullmatch(persistence.path):
        yield FieldError(
            UNSUPPORTED, f"{field}.cookie.path", f"{persistence.path!r} is no absolute path for a cookie (RFC 6265)"
        )
