"""What of a Route can be done: rule by rule, with the field and the reason of what cannot."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.model.routes import (
    AnyRoute,
    Filter,
    FilteredBackendRef,
    GRPCRouteMatch,
    GRPCRouteRule,
    HeaderFilter,
    HeaderMatch,
    HTTPRouteMatch,
    HTTPRouteRule,
    PathModifier,
    TLSRoute,
)
from agent.translate.routes.regex import regex_fault

UNSUPPORTED = "UnsupportedValue"
INCOMPATIBLE = "IncompatibleFilters"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
STATUS_CODES = (301, 302, 303, 307, 308)
HEADER_FILTERS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
}
HTTP_FILTERS = {**HEADER_FILTERS, "RequestRedirect": "request_redirect", "URLRewrite": "url_rewrite"}
# Filter types and the field that each of them fills.
FIELDS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "RequestMirror": "requestMirror",
    "CORS": "cors",
    "ExternalAuth": "externalAuth",
    "ExtensionRef": "extensionRef",
}
_DURATION = re.compile(r"(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}")
_DURATION_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_CONTROL = re.compile(r"[\x00\r\n]")
MAX_RULES = 16
_HOST = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a Route asks for and does not get."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A Route's rules by index: those that can be done, and the first fault of each that cannot."""

    valid: tuple[int, ...]
    faults: tuple[tuple[int, Fault], ...]


def check(route: AnyRoute) -> Checked:
    """Check every rule of a Route by itself."""
    faults: list[tuple[int, Fault]] = []
    if isinstance(route, TLSRoute):
        return Checked((), ((0, Fault(UNSUPPORTED, "kind", "TLSRoute is not implemented yet")),))
    if len(route.spec.rules) > MAX_RULES:
        count = len(route.spec.rules)
        return Checked((), ((0, Fault(UNSUPPORTED, "spec.rules", f"{count} are more than {MAX_RULES}")),))
    for index, rule in enumerate(route.spec.rules):
        found: Iterator[Fault] = iter(())
        if isinstance(rule, HTTPRouteRule):
            found = _http_rule(f"spec.rules[{index}]", rule)
        elif isinstance(rule, GRPCRouteRule):
            found = _grpc_rule(f"spec.rules[{index}]", rule)
        fault = next(found, None)
        if fault is not None:
            faults.append((index, fault))
    bad = {index for index, _ in faults}
    return Checked(tuple(index for index in range(len(route.spec.rules)) if index not in bad), tuple(faults))


def milliseconds(duration: str) -> int | None:
    """A GEP-2257 duration in milliseconds, None when it is none."""
    if not _DURATION.fullmatch(duration):
        return None
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(duration))


def _http_rule(field: str, rule: HTTPRouteRule) -> Iterator[Fault]:
    for number, match in enumerate(rule.matches):
        yield from _http_match(f"{field}.matches[{number}]", match)
    yield from _filters(f"{field}.filters", rule.filters, HTTP_FILTERS)
    yield from _prefix_replacements(field, rule)
    yield from _backend_filters(field, rule.backend_refs)
    yield from _timeouts(f"{field}.timeouts", rule)
    if rule.retry is not None:
        yield Fault(UNSUPPORTED, f"{field}.retry", "is not implemented yet")
    if rule.session_persistence is not None:
        yield Fault(UNSUPPORTED, f"{field}.sessionPersistence", "is not implemented yet")
    if rule.backend_refs and any(item.type == "RequestRedirect" for item in rule.filters):
        yield Fault(INCOMPATIBLE, f"{field}.backendRefs", "a rule that redirects has no backends")


def _grpc_rule(field: str, rule: GRPCRouteRule) -> Iterator[Fault]:
    for number, match in enumerate(rule.matches):
        yield from _grpc_match(f"{field}.matches[{number}]", match)
    yield from _filters(f"{field}.filters", rule.filters, HEADER_FILTERS)
    yield from _backend_filters(field, rule.backend_refs)
    if rule.session_persistence is not None:
        yield Fault(UNSUPPORTED, f"{field}.sessionPersistence", "is not implemented yet")


def _http_match(field: str, match: HTTPRouteMatch) -> Iterator[Fault]:
    if match.path.type not in ("Exact", "PathPrefix", "RegularExpression"):
        yield Fault(UNSUPPORTED, f"{field}.path.type", f"{match.path.type!r} is not known")
    if match.path.type == "RegularExpression":
        yield from _regex(f"{field}.path.value", match.path.value)
    if match.method is not None and match.method not in METHODS:
        yield Fault(UNSUPPORTED, f"{field}.method", f"{match.method!r} is not known")
    yield from _header_matches(f"{field}.headers", match.headers)
    for position, item in enumerate(match.query_params):
        yield from _value_match(f"{field}.queryParams[{position}]", item.type, item.value)


def _grpc_match(field: str, match: GRPCRouteMatch) -> Iterator[Fault]:
    method = match.method
    if method is not None:
        if method.service is None and method.method is None:
            yield Fault(UNSUPPORTED, f"{field}.method", "names neither a service nor a method")
        for name, value in (("service", method.service), ("method", method.method)):
            yield from _value_match(f"{field}.method.{name}", method.type, value or "")
    yield from _header_matches(f"{field}.headers", match.headers)


def _header_matches(field: str, headers: tuple[HeaderMatch, ...]) -> Iterator[Fault]:
    for position, item in enumerate(headers):
        yield from _value_match(f"{field}[{position}]", item.type, item.value)


def _value_match(field: str, kind: str, value: str) -> Iterator[Fault]:
    if kind == "RegularExpression":
        yield from _regex(f"{field}.value", value)
    elif kind != "Exact":
        yield Fault(UNSUPPORTED, f"{field}.type", f"{kind!r} is not known")


def _regex(field: str, text: str) -> Iterator[Fault]:
    fault = regex_fault(text)
    if fault:
        yield Fault(UNSUPPORTED, field, fault)


def _filters(field: str, filters: tuple[Filter, ...], known: dict[str, str]) -> Iterator[Fault]:
    types = [item.type for item in filters]
    for position, item in enumerate(filters):
        where = f"{field}[{position}]"
        if item.type not in known:
            fault = f"filter {item.type!r} is not implemented"
            yield Fault(UNSUPPORTED, f"{where}.{FIELDS.get(item.type, 'type')}", fault)
            continue
        if getattr(item, known[item.type]) is None:
            yield Fault(UNSUPPORTED, where, f"has the type {item.type} but not its field")
            continue
        if item.type in types[:position]:
            yield Fault(INCOMPATIBLE, where, f"{item.type} is there twice")
        yield from _header_changes(f"{where}.{FIELDS[item.type]}", getattr(item, known[item.type]))
        yield from _redirect(where, item)
        yield from _rewrite(where, item)
    if "URLRewrite" in types and "RequestRedirect" in types:
        yield Fault(INCOMPATIBLE, field, "URLRewrite and RequestRedirect exclude each other")


def _header_changes(field: str, change: object) -> Iterator[Fault]:
    """What Envoy refuses: line breaks in values, and changes to `Host`, for which there is URLRewrite."""
    if not isinstance(change, HeaderFilter):
        return
    for kind, items in (("set", change.set), ("add", change.add)):
        for position, item in enumerate(items):
            if _CONTROL.search(item.value):
                yield Fault(UNSUPPORTED, f"{field}.{kind}[{position}].value", "has a line break or a NUL")
    names = [item.name for item in (*change.set, *change.add)] + list(change.remove)
    if any(name.lower() == "host" or name.startswith(":") for name in names):
        yield Fault(UNSUPPORTED, field, "Host is not a header to modify; URLRewrite.hostname is for that")


def _redirect(field: str, item: Filter) -> Iterator[Fault]:
    redirect = item.request_redirect
    if redirect is None:
        return
    field = f"{field}.requestRedirect"
    if redirect.scheme not in (None, "http", "https"):
        yield Fault(UNSUPPORTED, f"{field}.scheme", f"{redirect.scheme!r} is neither http nor https")
    if redirect.status_code not in STATUS_CODES:
        yield Fault(UNSUPPORTED, f"{field}.statusCode", f"{redirect.status_code} is none of {STATUS_CODES}")
    yield from _host(f"{field}.hostname", redirect.hostname)
    yield from _path(f"{field}.path", redirect.path)


def _rewrite(field: str, item: Filter) -> Iterator[Fault]:
    rewrite = item.url_rewrite
    if rewrite is not None:
        yield from _host(f"{field}.urlRewrite.hostname", rewrite.hostname)
        yield from _path(f"{field}.urlRewrite.path", rewrite.path)


def _host(field: str, host: str | None) -> Iterator[Fault]:
    if host is not None and not _HOST.fullmatch(host):
        yield Fault(UNSUPPORTED, field, f"{host!r} is not a host name")


def _path(field: str, path: PathModifier | None) -> Iterator[Fault]:
    if path is None:
        return
    values = {"ReplaceFullPath": path.replace_full_path, "ReplacePrefixMatch": path.replace_prefix_match}
    if path.type not in values:
        yield Fault(UNSUPPORTED, f"{field}.type", f"{path.type!r} is not known")
    elif values[path.type] is None:
        yield Fault(UNSUPPORTED, field, f"has the type {path.type} but not its field")
    elif any(character in (values[path.type] or "") for character in "?#\r\n"):
        yield Fault(UNSUPPORTED, field, "a path has neither query nor fragment")


def _prefix_replacements(field: str, rule: HTTPRouteRule) -> Iterator[Fault]:
    """ReplacePrefixMatch says what becomes of a matched prefix, so every match has to be one (HTTPPathModifier)."""
    for position, item in enumerate(rule.filters):
        for name, holder in (("requestRedirect", item.request_redirect), ("urlRewrite", item.url_rewrite)):
            path = holder.path if holder else None
            prefixes = all(match.path.type == "PathPrefix" for match in rule.matches)
            if path and path.type == "ReplacePrefixMatch" and not prefixes:
                where = f"{field}.filters[{position}].{name}.path"
                yield Fault(INCOMPATIBLE, where, "ReplacePrefixMatch needs PathPrefix matches")


def _backend_filters(field: str, backends: tuple[FilteredBackendRef, ...]) -> Iterator[Fault]:
    for position, backend in enumerate(backends):
        yield from _filters(f"{field}.backendRefs[{position}].filters", backend.filters, HEADER_FILTERS)


def _timeouts(field: str, rule: HTTPRouteRule) -> Iterator[Fault]:
    found: dict[str, int] = {}
    for name, text in (("request", rule.timeouts.request), ("backendRequest", rule.timeouts.backend_request)):
        if text is None:
            continue
        value = milliseconds(text)
        if value is None:
            yield Fault(UNSUPPORTED, f"{field}.{name}", f"{text!r} is not a duration (GEP-2257)")
        else:
            found[name] = value
    if found.get("request") and found.get("backendRequest", 0) > found["request"]:
        yield Fault(UNSUPPORTED, f"{field}.backendRequest", "is longer than the request's timeout")
