"""What the API server's schema of AuthorizationPolicies refuses of HTTP attributes, and types cannot express."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from agent.ir.request_conditions import AMBIGUOUS
from agent.model.authorization import AuthorizationHTTPAttributes
from agent.model.limits import HEADER, MAX_LIST, Violation, too_many, twice

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
MAX_PATH = 1024
# Envoy compares a value by an expression that grows with it, and bounds the size of expressions.
HEADER_VALUE = re.compile(r"[!-~]([ -~]{0,62}[!-~])?")


def http_attribute_violations(field: str, attributes: AuthorizationHTTPAttributes) -> Iterator[Violation]:
    """The rules that HTTP attributes break."""
    methods, paths, headers = attributes.methods, attributes.paths, attributes.headers
    if methods is not UNSET:
        yield from _list(f"{field}.methods", methods)
        for position, method in enumerate(methods):
            if method not in METHODS:
                yield f"{field}.methods[{position}]", f"{method[:80]!a} is none of {', '.join(METHODS)}"
    if paths is not UNSET:
        yield from _list(f"{field}.paths", paths)
        for position, path in enumerate(paths):
            yield from _path(f"{field}.paths[{position}].value", path.value)
    if headers is not UNSET:
        yield from _list(f"{field}.headers", headers)
        yield from twice(f"{field}.headers", [item.name.lower() for item in headers])
        for position, header in enumerate(headers):
            yield from _header(f"{field}.headers[{position}]", header.name, header.value)


def _list(field: str, items: Sequence[Any]) -> Iterator[Violation]:
    if not items:
        yield field, "is empty; without the field any matches"
    yield from too_many(field, items, MAX_LIST)


def _path(field: str, value: str) -> Iterator[Violation]:
    if len(value) > MAX_PATH:
        yield field, f"{len(value)} characters are more than {MAX_PATH}"
    elif not value.startswith("/"):
        yield field, f"{value[:80]!a} does not begin with /"
    elif "?" in value or "#" in value:
        yield field, "has a query or a fragment, which are no part of a path"
    elif AMBIGUOUS.fullmatch(value):
        yield field, "no request has such a path: servers may read it as another one"


def _header(field: str, name: str, value: str) -> Iterator[Violation]:
    if not HEADER.fullmatch(name):
        yield f"{field}.name", f"{name[:80]!a} is not a header name"
    elif name.lower() == "host":
        yield f"{field}.name", "Host is not supported: Routes may change it"
    if not HEADER_VALUE.fullmatch(value):
        yield f"{field}.value", f"{value[:80]!a} is not 1 to 64 visible ASCII characters with spaces between them"
