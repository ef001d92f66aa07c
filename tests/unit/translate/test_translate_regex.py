"""Which regular expressions are taken, and what is said of the others."""

import pytest

from agent.model.filters import Filter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import (
    AnyRoute,
    GRPCMethodMatch,
    GRPCRouteMatch,
    GRPCRouteRule,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    HTTPRouteRule,
    QueryParamMatch,
)
from agent.translate.regex import (
    MAX_EXPRESSIONS,
    MAX_LENGTH,
    MAX_STEPS,
    MAX_STEPS_OF_ROUTE,
    full_match,
    judged,
    regex_error,
)
from agent.translate.routes.validate import check
from support.translate import grpc_route, http_route

REGEX = "RegularExpression"
SLOW = "RE2 may match it slowly: its automaton is too large, as one with a counted repetition after `.*` is"
TOO_LARGE = "its RE2 program is larger than 2048 instructions"


@pytest.mark.parametrize(
    "text",
    [
        "/a.*",
        r"/\d+(\.\w+)?",
        "(?P<name>a|b)",
        "(?i)abc",
        "[[:alpha:]é]",
        r"\\pL",
        "(?:a){2,5}",
        r"\\1",
        "a" * MAX_LENGTH,
        r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}",
        "/api/v[0-9]+/users/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.*",
        r"/.*-[0-9a-f]{16}\.js",
        "(?i).*(?:chrome|firefox|safari|edge).*mobile.*",
        "|".join(f"shop{number}\\.example\\.com" for number in range(40)),
        "(" * 50 + "a" + ")" * 50,
    ],
)
def test_what_envoy_takes_is_taken(text: str) -> None:
    assert regex_error(text) == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("(?=a)", "RE2 rejects it: invalid perl operator: (?="),
        ("(?<!a)b", "invalid perl operator"),
        ("(?>a)", "invalid perl operator: (?>"),
        ("(?P<n>a)(?P=n)", "invalid perl operator: (?P"),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("a++", "bad repetition operator: ++"),
        ("(", "missing ): ("),
        ("a" * (MAX_LENGTH + 1), "1025 characters are more than 1024"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("", "is empty"),
        (r"\x{100}", r"invalid escape sequence: \x{100"),
        (r"[\p{Greek}]", "Unicode classes"),
        (r"(?i)" + r"\PL" * 300, "Unicode classes"),
        ("a" * 45 + "b{1000}c{1000}", TOO_LARGE),
        (".{1,1000}" * 113, TOO_LARGE),
        ("((([a-c]{9}){9}){9}){1}" * 40, TOO_LARGE),
        ("(?:(?:a{10}){10}){10}" * 40, TOO_LARGE),
        ("(?:[a-z0-9]{1,40}){1,24}" * 2, TOO_LARGE),
        (r"(?:[\p{L}\p{N}]{1,40}){1,24}", "Unicode classes"),
        ("(?:.*)a.{14}z", SLOW),
        (r"/.*-.{16}\.js", SLOW),
        (".*(?:a|b.{12}|c.{12})", SLOW),
        ("(?:a?){900}", SLOW),
        ("(" * 51 + "a" + ")" * 51, "more than 50 groups are within each other"),
    ],
)
def test_what_envoy_does_not_take_is_explained(text: str, error: str) -> None:
    assert error in regex_error(text)


def test_a_program_may_have_as_many_instructions_as_envoy_lets_it() -> None:
    assert regex_error("a" * 44 + "b{1000}c{1000}") == ""


def test_bytes_are_compared_as_envoy_does() -> None:
    assert full_match("..", "é")
    assert not full_match(".", "é")
    assert full_match("é+", "é")
    assert not full_match("é+", "éé"), "what is repeated is the last byte"


def errors(route: AnyRoute) -> list[tuple[str, str]]:
    return [(error.field, error.message) for _, error in check(route).errors]


@pytest.mark.parametrize(("count", "refused"), [(MAX_EXPRESSIONS, False), (MAX_EXPRESSIONS + 1, True)])
def test_a_route_s_expressions_are_counted_wherever_they_are(count: int, refused: bool) -> None:
    header, query = (HeaderMatch("a", "b", REGEX),), (QueryParamMatch("a", "b", REGEX),)
    rest = tuple(HTTPRouteMatch(HTTPPathMatch(REGEX, "a")) for _ in range(count - 2))
    rules = (
        HTTPRouteRule(matches=(HTTPRouteMatch(headers=header), HTTPRouteMatch(query_params=query))),
        HTTPRouteRule(matches=rest),
    )
    expected = [("spec.rules", f"{count} regular expressions are more than {MAX_EXPRESSIONS}")] if refused else []
    assert errors(http_route(*rules)) == expected


def test_the_automata_of_a_route_s_expressions_are_counted_together() -> None:
    def route(count: int) -> AnyRoute:
        paths = (HTTPPathMatch(REGEX, f"/{number}/[a-z]{{1,900}}") for number in range(count))
        return http_route(HTTPRouteRule(matches=tuple(map(HTTPRouteMatch, paths))))

    assert errors(route(2)) == []
    assert errors(route(20)) == [("spec.rules", "the automata of all regular expressions together are too large")]


def test_a_route_s_expressions_are_judged_up_to_the_bound_of_all() -> None:
    paths = (HTTPPathMatch(REGEX, f"/costly{number}.*a.{{14}}") for number in range(MAX_EXPRESSIONS))
    before = judged.cache_info().misses
    route = http_route(HTTPRouteRule(matches=tuple(map(HTTPRouteMatch, paths))))
    assert errors(route) == [("spec.rules", "the automata of all regular expressions together are too large")]
    assert judged.cache_info().misses - before == MAX_STEPS_OF_ROUTE // MAX_STEPS + 1


def test_an_expression_s_error_has_its_field() -> None:
    match = HTTPRouteMatch(headers=(HeaderMatch("a", "b"), HeaderMatch("c", "a{999}" * 3, REGEX)))
    assert errors(http_route(HTTPRouteRule(matches=(HTTPRouteMatch(), match)))) == [
        ("spec.rules[0].matches[1].headers[1].value", TOO_LARGE)
    ]


@pytest.mark.parametrize(
    ("method", "field"),
    [
        (GRPCMethodMatch("Exact", "a.B", "C_1"), None),
        (GRPCMethodMatch("Exact", "a/b", None), "method.service"),
        (GRPCMethodMatch("Exact", None, "a(b"), "method.method"),
        (GRPCMethodMatch("Exact", None, "é"), "method.method"),
        (GRPCMethodMatch(REGEX, "a.*", "(b|c)"), None),
        (GRPCMethodMatch(REGEX, "a{999}" * 2, "b{999}"), "method"),
        (GRPCMethodMatch(REGEX, r"\Qa", "b"), "method"),
        (GRPCMethodMatch(REGEX, "a", "("), "method.method"),
        (GRPCMethodMatch("Glob", "a", "b"), "method.type"),
    ],
)
def test_grpc_methods(method: GRPCMethodMatch, field: str | None) -> None:
    rule = GRPCRouteRule(matches=(GRPCRouteMatch(method),))
    found = [name for name, _ in errors(grpc_route(rule))]
    assert found == ([f"spec.rules[0].matches[0].{field}"] if field else [])


@pytest.mark.parametrize("path", ["/a b", "/a\0", "/a\tb", "/a\x7f", "/é", "/a?b", "/a#b", "/a\r\nb"])
@pytest.mark.parametrize("kind", ["ReplaceFullPath", "ReplacePrefixMatch"])
def test_new_paths_have_only_what_a_request_s_first_line_may_have(path: str, kind: str) -> None:
    modifier = PathModifier(
        kind, **{"replace_full_path" if kind == "ReplaceFullPath" else "replace_prefix_match": path}
    )
    rewrite = Filter("URLRewrite", url_rewrite=URLRewrite(path=modifier))
    redirect = Filter("RequestRedirect", request_redirect=RequestRedirect(path=modifier))
    for item, name in ((rewrite, "urlRewrite"), (redirect, "requestRedirect")):
        assert [field for field, _ in errors(http_route(HTTPRouteRule(filters=(item,))))] == [
            f"spec.rules[0].filters[0].{name}.path"
        ]
