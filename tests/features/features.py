"""What weft can do with Routes and policies, and the tests of it: `make features` writes docs/features.md from them.

A golden case shows what lines of its `in.yaml` say that begin with `# shows `; a test on a real Envoy what its marks
say: `@pytest.mark.feature("HTTPRoute: match, method")`. Either may end in `*`, for all rows that begin so.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TABLE = PROJECT / "docs" / "features.md"
GOLDEN, NODE = PROJECT / "tests" / "golden", PROJECT / "tests" / "node"
HEAD = """# Features of Routes and policies, and their tests

`make features` generates this page from the tests. A test fails when the page is not up to date, or when a feature has
no golden case or no node test. A golden case consists of manifests and what weft translates them to: rules, Envoy's
configuration, the Route's conditions. A node test sends requests through a real Envoy, and checks what clients and
servers receive.

| feature | golden case | node test |
|---|---|---|
"""
ROWS = tuple(
    f"{group}: {feature}"
    for group, features in {
        "HTTPRoute": (
            "match, path exact",
            "match, path prefix",
            "match, path regular expression",
            "match, header exact",
            "match, header regular expression",
            "match, query parameter exact",
            "match, query parameter regular expression",
            "match, method",
            "match, all conditions of one together",
            "backends, weights",
            "RequestHeaderModifier",
            "ResponseHeaderModifier",
            "backends, RequestHeaderModifier",
            "backends, ResponseHeaderModifier",
            "backends, URLRewrite",
            "backends, RequestRedirect",
            "backends, RequestMirror",
            "backends, other filters are refused: UnsupportedValue",
            "RequestRedirect, statusCode 301, 302, 303, 307, 308",
            "RequestRedirect, scheme",
            "RequestRedirect, hostname",
            "RequestRedirect, port",
            "RequestRedirect, full path",
            "RequestRedirect, path prefix",
            "URLRewrite, hostname",
            "URLRewrite, full path",
            "URLRewrite, path prefix",
            "RequestMirror, several",
            "RequestMirror, percent",
            "RequestMirror, fraction",
            "CORS, preflights",
            "CORS, requests",
            "ExternalAuth, HTTP",
            "ExternalAuth, gRPC",
            "ExternalAuth, body",
            "timeouts, request",
            "timeouts, backendRequest",
            "retry, codes",
            "retry, attempts",
            "retry, backoff",
            "retry, of timeouts",
            "retry, of connection errors",
            "sessionPersistence, cookie",
            "sessionPersistence, cookie with an end",
            "sessionPersistence, header",
            "sessionPersistence, cookie's name and path",
            "sessionPersistence, header's name",
            "sessionPersistence, across weighted backends",
            "named rules",
            "no match: 404",
            "invalid backend: its share is 500",
            "no endpoint: 503",
            "invalid backend of weight 0 breaks nothing",
            "filters that exclude each other: IncompatibleFilters",
            "rules that cannot be done beside others: PartiallyInvalid",
        ),
        "GRPCRoute": (
            "match, service",
            "match, method",
            "match, service and method",
            "match, regular expression",
            "match, header exact",
            "match, header regular expression",
            "backends, weights",
            "RequestHeaderModifier",
            "ResponseHeaderModifier",
            "backends, RequestHeaderModifier",
            "backends, ResponseHeaderModifier",
            "RequestMirror",
            "backends, RequestMirror",
            "sessionPersistence",
            "named rules",
            "no match: UNIMPLEMENTED",
            "invalid backend: its share is UNAVAILABLE",
            "no endpoint: UNAVAILABLE",
        ),
        "TLSRoute": (
            "server name, exact",
            "server name, wildcard",
            "any server name",
            "backends, weights",
            "no match: closed",
            "invalid backend: its share is closed",
            "a name of two Routes is the older one's",
        ),
        "appProtocol": ("http", "kubernetes.io/h2c", "kubernetes.io/ws", "grpc", "none, of a GRPCRoute's backend: h2c"),
        "Several Routes": (
            "precedence of matches",
            "are merged",
            "ties: the oldest, then by name, then the first rule",
            "GRPCRoute before HTTPRoute before TLSRoute before TCPRoute on one port",
            "a consumer's replaces the producer's",
        ),
        "AuthorizationPolicy, Application": (
            "methods, paths and headers",
            "a Service without Routes goes through the waypoint",
            "its pods admit waypoints only",
            "filters that change what a rule looks at: 403",
            "a dry run",
        ),
        "AuthorizationPolicy, Network": ("a dry run",),
        "Service": ("the client's identity in x-forwarded-client-cert", "the client's identity by the PROXY protocol"),
    }.items()
    for feature in features
)


@dataclass(frozen=True)
class Shown:
    """A row with its golden cases, and its node tests as `file::test`."""

    row: str
    goldens: tuple[str, ...]
    tests: tuple[str, ...]


def golden_claims() -> Iterator[tuple[str, str]]:
    """What each golden case says that it shows."""
    for case in sorted(GOLDEN.glob("*/in.yaml")):
        for claim in re.findall(r"^# shows (.+)$", case.read_text(), re.MULTILINE):
            yield claim, case.parent.name


def node_claims() -> Iterator[tuple[str, str]]:
    """What each node test says that it shows. They are read, not imported: that takes neither root nor Envoy."""
    for file in sorted(NODE.glob("test_*.py")):
        for function in ast.parse(file.read_text()).body:
            for mark in getattr(function, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.feature":
                    yield from ((ast.literal_eval(claim), f"{file.name}::{function.name}") for claim in mark.args)


def means(claim: str, row: str) -> bool:
    """Whether a claim is about a row."""
    return row.startswith(claim[:-1]) if claim.endswith("*") else row == claim


def shown() -> list[Shown]:
    """Every row with what shows it."""
    by_golden, by_test = list(golden_claims()), list(node_claims())
    return [
        Shown(row, *(tuple(proof for claim, proof in found if means(claim, row)) for found in (by_golden, by_test)))
        for row in ROWS
    ]


def table() -> str:
    """The page."""
    lines = []
    for item in shown():
        cases = ", ".join(f"[{name}](../tests/golden/{name}/in.yaml)" for name in item.goldens)
        checks = ", ".join(f"[{name}](../tests/node/{name.partition('::')[0]})" for name in item.tests)
        lines.append(f"| {item.row} | {cases} | {checks} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table())
