"""What the API server's schemas forbid of filters."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from agent.model.filters import CORS, FILTER_FIELDS, Filter, PathModifier, RequestMirror

Violation = tuple[str, str]

MAX_LIST = 16
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
ORIGIN = re.compile(r"(?=.{1,253}$)(?:\*|https?://(?:(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(?::[0-9]{1,5})?)")
METHOD = re.compile(r"GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|\*")
# The lists of a CORS filter: attribute, name, how many, what each has to be, whether `*` has to be alone.
CORS_LISTS = (
    ("allow_origins", "allowOrigins", 64, ORIGIN, True),
    ("allow_methods", "allowMethods", 9, METHOD, True),
    ("allow_headers", "allowHeaders", 64, HEADER, True),
    ("expose_headers", "exposeHeaders", 64, HEADER, False),
)


def filter_violations(field: str, filters: tuple[Filter, ...]) -> Iterator[Violation]:
    """What a list of filters breaks of its schema, as (field, message)."""
    yield from too_many(field, filters, MAX_LIST)
    for position, item in enumerate(filters):
        where = f"{field}[{position}]"
        yield from _union(where, item)
        yield from _header_names(f"{where}.requestHeaderModifier", item.request_header_modifier)
        yield from _header_names(f"{where}.responseHeaderModifier", item.response_header_modifier)
        for name, holder in (("requestRedirect", item.request_redirect), ("urlRewrite", item.url_rewrite)):
            if holder is not None:
                yield from _path(f"{where}.{name}.path", holder.path)
        yield from _mirror(f"{where}.requestMirror", item.request_mirror)
        yield from _cors(f"{where}.cors", item.cors)


def _header_names(field: str, modifier: Any) -> Iterator[Violation]:
    if modifier is None:
        return
    for kind in ("set", "add", "remove"):
        items = getattr(modifier, kind)
        yield from too_many(f"{field}.{kind}", items, MAX_LIST)
        for position, item in enumerate(items):
            name = item if isinstance(item, str) else item.name
            if not HEADER.fullmatch(name):
                yield f"{field}.{kind}[{position}]", f"{name[:80]!a} is not a header name"


def _union(field: str, item: Filter) -> Iterator[Violation]:
    """The field that a type names has to be there, and no other."""
    for kind, (attribute, name) in FILTER_FIELDS.items():
        there = getattr(item, attribute) is not None
        if there and item.type != kind:
            yield f"{field}.{name}", f"is there, but the type is {item.type[:80]!a}"
        elif item.type == kind and not there:
            yield f"{field}.{name}", f"is missing: the type is {kind}"


def _path(field: str, path: PathModifier | None) -> Iterator[Violation]:
    if path is None:
        return
    for kind, name, value in (
        ("ReplaceFullPath", "replaceFullPath", path.replace_full_path),
        ("ReplacePrefixMatch", "replacePrefixMatch", path.replace_prefix_match),
    ):
        if value is not None and path.type != kind:
            yield f"{field}.{name}", f"is there, but the type is {path.type[:80]!a}"
        elif value is None and path.type == kind:
            yield f"{field}.{name}", f"is missing: the type is {kind}"


def _mirror(field: str, mirror: RequestMirror | None) -> Iterator[Violation]:
    if mirror is None or mirror.fraction is None:
        return
    if mirror.percent is not None:
        yield field, "only one of percent and fraction may be there"
    if mirror.share > 1:
        yield f"{field}.fraction", "is more than 1"


def _cors(field: str, cors: CORS | None) -> Iterator[Violation]:
    if cors is None:
        return
    for attribute, name, most, pattern, alone in CORS_LISTS:
        items: tuple[str, ...] = getattr(cors, attribute)
        where = f"{field}.{name}"
        yield from too_many(where, items, most)
        yield from twice(where, items)
        if alone and "*" in items and len(items) > 1:
            yield where, "* stands alone"
        for position, item in enumerate(items):
            if not pattern.fullmatch(item):
                yield f"{where}[{position}]", f"{item[:80]!a} is none of {name}"


def too_many(field: str, items: tuple[Any, ...], most: int) -> Iterator[Violation]:
    """A list that is longer than its schema allows."""
    if len(items) > most:
        yield field, f"{len(items)} are more than {most}"


def twice(field: str, items: Sequence[object]) -> Iterator[Violation]:
    """A list that the schema calls a set."""
    for position, item in enumerate(items):
        if item in items[:position]:
            yield f"{field}[{position}]", f"{str(item)[:80]!a} is there twice"
