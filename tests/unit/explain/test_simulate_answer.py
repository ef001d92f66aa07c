"""What becomes of a request whose rule is known: rewrites, redirects, headers, shares, refusals."""

from fractions import Fraction

import pytest

from agent.explain.answer import Answer, answer
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.request import request
from agent.model.filters import Filter, Header, HeaderFilter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import HTTPPathMatch, HTTPRouteMatch
from agent.translate.filters.header_modifiers import changed
from agent.translate.filters.request_mirror import Mirror

V1, V2 = BackendPort("app", "v1", 80), BackendPort("app", "v2", 80)


def prefix(value: str) -> HTTPRouteMatch:
    return HTTPRouteMatch(HTTPPathMatch("PathPrefix", value))


def of(rule: Rule, target: str = "/", host: str = "web", port: int = 80, grpc: bool = False) -> Answer:
    return answer(
        HTTPListenerIR(f"app/web:{port}", "", port, grpc, (rule,)), request("GET", host, target, [("x", "old")])
    )


def rewritten(matched: str, path: PathModifier, target: str) -> str:
    filters = (Filter("URLRewrite", url_rewrite=URLRewrite(None, path)),)
    (share,) = of(Rule("r", prefix(matched), filters, (WeightedBackend(V1, 1),)), target).shares
    return share.target


@pytest.mark.parametrize(
    ("matched", "new", "target", "expected"),
    [
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "/xyz", "/foo/bar?a=/foo", "/xyz/bar?a=/foo"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/", "/foo?q", "/?q"),
        ("/foo", "/", "/foo//bar", "/bar"),
        ("/foo", "", "/foo/foo/bar", "/foo/bar"),
        ("/", "/xyz", "/", "/xyz/"),
        ("/", "/xyz", "/bar", "/xyz/bar"),
        ("/", "/", "/bar", "/bar"),
    ],
)
def test_a_prefix_is_replaced(matched: str, new: str, target: str, expected: str) -> None:
    assert rewritten(matched, PathModifier("ReplacePrefixMatch", None, new), target) == expected


@pytest.mark.parametrize(("new", "expected"), [("/new", "/new?q=1"), ("", "/?q=1"), ("new", "/new?q=1")])
def test_a_path_is_replaced_and_its_query_stays(new: str, expected: str) -> None:
    assert rewritten("/", PathModifier("ReplaceFullPath", new), "/old/deep?q=1") == expected


def test_a_host_is_rewritten_and_the_path_stays() -> None:
    filters = (Filter("URLRewrite", url_rewrite=URLRewrite("there.example")),)
    (share,) = of(Rule("r", prefix("/"), filters, (WeightedBackend(V1, 1),)), "/a?b").shares
    assert (share.authority, share.target, share.status) == ("there.example", "/a?b", None)


@pytest.mark.parametrize(
    ("fields", "port", "host", "expected"),
    [
        ({}, 80, "web", "http://web/x?q=1"),
        ({}, 80, "web:80", "http://web:80/x?q=1"),
        ({}, 80, "web:81", "http://web:80/x?q=1"),
        ({}, 8080, "web", "http://web:8080/x?q=1"),
        ({"hostname": "b"}, 80, "web:80", "http://b/x?q=1"),
        ({"scheme": "https"}, 8080, "web:80", "https://web/x?q=1"),
        ({"scheme": "https"}, 80, "web:8080", "https://web:443/x?q=1"),
        ({"scheme": "https", "port": 8443}, 80, "web", "https://web:8443/x?q=1"),
        ({"scheme": "http", "hostname": "b"}, 8080, "web", "http://b/x?q=1"),
        ({"port": 8080}, 80, "[fd00::1]", "http://[fd00::1]:8080/x?q=1"),
        ({"port": 8080}, 80, "[fd00::1]:80", "http://[fd00::1]:8080/x?q=1"),
        ({"path": PathModifier("ReplaceFullPath", "/y")}, 80, "web", "http://web/y?q=1"),
    ],
)
def test_locations(fields: dict[str, object], port: int, host: str, expected: str) -> None:
    redirect = Filter("RequestRedirect", request_redirect=RequestRedirect(**fields, status_code=307))  # type: ignore[arg-type]
    found = of(Rule("r", prefix("/"), (redirect,)), "/x?q=1", host, port)
    assert (found.status, found.location, found.shares) == (307, expected, ())


def test_shares_are_the_weights_and_an_invalid_one_is_answered() -> None:
    backends = (WeightedBackend(V1, 3), WeightedBackend(None, 1))
    found = of(Rule("r", prefix("/"), (), backends))
    assert [(item.backend, item.part, item.status) for item in found.shares] == [
        (V1, Fraction(3, 4), None),
        (None, Fraction(1, 4), 500),
    ]


@pytest.mark.parametrize("backends", [(), (WeightedBackend(None, 1), WeightedBackend(None, 2))])
@pytest.mark.parametrize(("grpc", "status"), [(False, 500), (True, 503)])
def test_a_rule_without_valid_backends_refuses(backends: tuple[WeightedBackend, ...], grpc: bool, status: int) -> None:
    found = of(Rule("r", prefix("/"), (), backends), grpc=grpc)
    assert (found.status, found.shares) == (status, ())


def test_no_rule_is_404() -> None:
    assert of(Rule("r", prefix("/a"), (), (WeightedBackend(V1, 1),))) == Answer(None, 404)


def modifier(kind: str, **change: object) -> Filter:
    made = HeaderFilter(**change)  # type: ignore[arg-type]
    if kind == "request":
        return Filter("RequestHeaderModifier", made)
    return Filter("ResponseHeaderModifier", response_header_modifier=made)


def test_a_backend_s_filters_come_after_its_rule_s() -> None:
    own = modifier("request", set=(Header("x", "backend"),))
    rule = Rule(
        "r",
        prefix("/"),
        (modifier("request", add=(Header("x", "rule"),)), modifier("response", remove=("date",))),
        (WeightedBackend(V1, 1, (own,)), WeightedBackend(V2, 1)),
    )
    one, two = of(rule).shares
    assert [value for name, value in one.headers if name == "x"] == ["backend"]
    assert [value for name, value in two.headers if name == "x"] == ["old", "rule"]
    assert one.response == two.response == (HeaderFilter(remove=("date",)),)


def test_backends_rewrite_and_redirect_each_for_itself() -> None:
    rewrite = Filter("URLRewrite", url_rewrite=URLRewrite("all", PathModifier("ReplaceFullPath", "/all")))
    own = Filter("URLRewrite", url_rewrite=URLRewrite(None, PathModifier("ReplaceFullPath", "/own")))
    backends = (
        WeightedBackend(V1, 1, (own,), (Mirror(V2, 5),)),
        WeightedBackend(V2, 2),
        WeightedBackend(None, 1, (own,)),
    )
    one, two, invalid = of(Rule("r", prefix("/"), (rewrite,), backends), "/x?q").shares
    assert (one.part, one.authority, one.target) == (Fraction(1, 4), "all", "/own?q")
    assert (two.part, two.authority, two.target) == (Fraction(1, 2), "all", "/all?q")
    assert (one.resolved, two.resolved) == ((Mirror(V2, 5),), ())
    assert (invalid.part, invalid.backend, invalid.status) == (Fraction(1, 4), None, 500)


def test_a_backend_s_redirect_is_an_answer_of_the_waypoint() -> None:
    away = Filter("RequestRedirect", request_redirect=RequestRedirect(hostname="b", status_code=301))
    backends = (WeightedBackend(V1, 1, (away,)), WeightedBackend(V2, 1))
    one, two = of(Rule("r", prefix("/"), (), backends), "/x?q").shares
    assert (one.backend, one.status, one.location) == (V1, 301, "http://b/x?q")
    assert (two.backend, two.status, two.authority) == (V2, None, "web")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (HeaderFilter(set=(Header("X", "new"),)), [("y", "1"), ("X", "new")]),
        (HeaderFilter(add=(Header("X", "new"),)), [("x", "a"), ("x", "b"), ("y", "1"), ("X", "new")]),
        (HeaderFilter(remove=("X",)), [("y", "1")]),
        (HeaderFilter((Header("x", "1"),), (Header("x", "2"),), ("x",)), [("y", "1")]),
        (HeaderFilter((Header("x", "1"),), (Header("x", "2"),)), [("y", "1"), ("x", "1"), ("x", "2")]),
    ],
)
def test_headers_are_set_then_added_then_removed(change: HeaderFilter, expected: list[tuple[str, str]]) -> None:
    assert list(changed((("x", "a"), ("x", "b"), ("y", "1")), [change])) == expected


def test_a_host_header_is_the_authority_and_what_envoy_adds_is_there() -> None:
    made = request("GET", "web", "/", [("Host", "other"), ("a", "1")])
    assert (made.authority, made.headers) == ("other", (("a", "1"), ("x-forwarded-proto", "http")))
    assert request("GET", "web", "/", [("X-Forwarded-Proto", "https")]).headers == (("X-Forwarded-Proto", "https"),)


def test_headers_that_envoy_knows_are_joined_and_those_for_it_are_taken_away() -> None:
    sent = [("Accept", "a"), ("x", "1"), ("accept", "b"), ("x", "2"), ("Connection", "close"), ("te", "gzip")]
    made = request("GET", "web", "/", [*sent, ("X-Envoy-Retry-On", "5xx"), ("TE", "trailers")])
    assert made.headers == (
        ("Accept", "a,b"),
        ("x", "1"),
        ("x", "2"),
        ("TE", "trailers"),
        ("x-forwarded-proto", "http"),
    )
    assert changed(made.headers, [HeaderFilter(add=(Header("accept", "c"),))])[0] == ("Accept", "a,b,c")
