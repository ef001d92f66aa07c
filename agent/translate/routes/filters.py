"""What of a filter can be done, and which filters do not go together."""

import re
from collections.abc import Collection, Iterator

from agent.model.filters import FILTER_FIELDS, Filter, HeaderFilter, PathModifier, RequestRedirect, URLRewrite
from agent.translate.header_names import header_name_fault
from agent.translate.routes.faults import INCOMPATIBLE, UNSUPPORTED, Fault

STATUS_CODES = (301, 302, 303, 307, 308)
GRPC_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"})
HTTP_BACKEND_FILTERS = GRPC_FILTERS | {"RequestRedirect", "URLRewrite"}
HTTP_FILTERS = HTTP_BACKEND_FILTERS | {"CORS"}
REPEATABLE = frozenset({"RequestMirror"})
# The API excludes URLRewrite; Envoy answers with a redirect before it thinks of CORS.
EXCLUDED_BY_REDIRECT = ("URLRewrite", "CORS")
# What no field value may have (RFC 9110, 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What would end the path in a request's first line, or may not be there (RFC 9112, 3; RFC 3986, 3.3).
_NO_PATH = re.compile(r"[^!-~]|[?#]")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def filter_faults(field: str, filters: tuple[Filter, ...], known: frozenset[str]) -> Iterator[Fault]:
    """What is wrong with a list of filters, of which the types in `known` can be done here."""
    types = [item.type for item in filters]
    for position, item in enumerate(filters):
        where = f"{field}[{position}]"
        attribute, name = FILTER_FIELDS.get(item.type, ("", "type"))
        if item.type not in known:
            yield Fault(UNSUPPORTED, f"{where}.{name}", f"filter {item.type!r} is not implemented here")
        elif getattr(item, attribute) is None:
            yield Fault(UNSUPPORTED, where, f"has the type {item.type} but not its field")
        elif item.type in types[:position] and item.type not in REPEATABLE:
            yield Fault(INCOMPATIBLE, where, f"{item.type} is there twice")
        else:
            yield from _contents(f"{where}.{name}", getattr(item, attribute))
    yield from exclusions(field, types)


def exclusions(field: str, types: Collection[str]) -> Iterator[Fault]:
    """Types of filters that do not go together."""
    for other in EXCLUDED_BY_REDIRECT:
        if other in types and "RequestRedirect" in types:
            yield Fault(INCOMPATIBLE, field, f"{other} and RequestRedirect exclude each other")


def _contents(field: str, value: object) -> Iterator[Fault]:
    match value:
        case HeaderFilter():
            yield from _header_changes(field, value)
        case RequestRedirect():
            yield from _redirect(field, value)
        case URLRewrite():
            yield from _host(f"{field}.hostname", value.hostname)
            yield from _path(f"{field}.path", value.path)


def _header_changes(field: str, change: HeaderFilter) -> Iterator[Fault]:
    """What Envoy refuses, control characters in values and changes to `Host`; and changes to a message's framing."""
    for kind, items in (("set", change.set), ("add", change.add)):
        for position, item in enumerate(items):
            yield from _header_name(f"{field}.{kind}[{position}].name", item.name)
            if _CONTROL.search(item.value):
                yield Fault(UNSUPPORTED, f"{field}.{kind}[{position}].value", "has a control character")
    for position, name in enumerate(change.remove):
        yield from _header_name(f"{field}.remove[{position}]", name)


def _header_name(field: str, name: str) -> Iterator[Fault]:
    fault = header_name_fault(name)
    if fault:
        yield Fault(UNSUPPORTED, field, fault)


def _redirect(field: str, redirect: RequestRedirect) -> Iterator[Fault]:
    if redirect.scheme not in (None, "http", "https"):
        yield Fault(UNSUPPORTED, f"{field}.scheme", f"{redirect.scheme!r} is neither http nor https")
    if redirect.status_code not in STATUS_CODES:
        yield Fault(UNSUPPORTED, f"{field}.statusCode", f"{redirect.status_code} is none of {STATUS_CODES}")
    yield from _host(f"{field}.hostname", redirect.hostname)
    yield from _path(f"{field}.path", redirect.path)


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
    elif _NO_PATH.search(values[path.type] or ""):
        yield Fault(UNSUPPORTED, field, "a path has no query, fragment, space, control or non-ASCII character")
