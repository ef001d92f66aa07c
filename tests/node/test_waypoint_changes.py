"""What the waypoint changes because a Route asks for it: redirects, rewrites, headers."""

from collections.abc import Iterator

import pytest

from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import (
    V1,
    V2,
    any_path,
    changes,
    exact,
    filtered,
    full,
    prefix,
    redirects,
    rewrites,
    rule,
    start,
    to,
)

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.mark.feature(
    "HTTPRoute: RequestRedirect, scheme",
    "HTTPRoute: RequestRedirect, hostname",
    "HTTPRoute: RequestRedirect, port",
    "HTTPRoute: RequestRedirect, full path",
)
@pytest.mark.parametrize(
    ("fields", "service_port", "host", "location"),
    [
        ({"hostname": "b.example"}, 80, "app", "http://b.example/x?q=1"),
        ({"hostname": "b.example"}, 8080, "app:8080", "http://b.example:8080/x?q=1"),
        ({}, 8080, "app:8080", "http://app:8080/x?q=1"),
        ({}, 8080, "app", "http://app:8080/x?q=1"),
        ({"scheme": "https"}, 80, "app", "https://app/x?q=1"),
        ({"scheme": "https"}, 80, "app:80", "https://app/x?q=1"),
        ({"scheme": "https"}, 8080, "app:8080", "https://app:443/x?q=1"),
        ({"scheme": "https", "hostname": "b.example"}, 8080, "app:8080", "https://b.example/x?q=1"),
        ({"scheme": "https", "port": 8443}, 80, "app", "https://app:8443/x?q=1"),
        ({"scheme": "http"}, 8080, "app:8080", "http://app:80/x?q=1"),
        ({"port": 80}, 8080, "app:8080", "http://app:80/x?q=1"),
        ({"port": 8080}, 80, "app", "http://app:8080/x?q=1"),
        ({"path": full("/y")}, 80, "app", "http://app/y?q=1"),
        ({"path": full("")}, 80, "app", "http://app/?q=1"),
        ({"path": full("y")}, 80, "app", "http://app/y?q=1"),
    ],
)
def test_locations(node, fields, service_port, host, location):
    port = node.serve(rule(any_path(), (), redirects(**fields)), port=service_port)
    answer = node.ask(port, "/x?q=1", host=host)
    assert (answer.status, answer.values("location")) == (302, [location])


def test_a_location_has_the_scheme_of_the_connection_and_not_of_a_header(node):
    port = node.serve(rule(any_path(), (), redirects(hostname="b.example")))
    answer = node.ask(port, headers=[("X-Forwarded-Proto", "https")])
    assert answer.values("location") == ["http://b.example/"]


@pytest.mark.feature("HTTPRoute: RequestRedirect, statusCode 301, 302, 303, 307, 308")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_codes(node, code):
    port = node.serve(rule(any_path(), (), redirects(hostname="b.example", status_code=code)))
    assert node.ask(port, method="POST").status == code


PREFIXES = [
    ("/foo", "/xyz", "/foo", "/xyz"),
    ("/foo", "/xyz", "/foo/", "/xyz/"),
    ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
    ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
    ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
    ("/foo", "xyz", "/foo/bar", "/xyz/bar"),
    ("/foo", "/", "/foo", "/"),
    ("/foo", "/", "/foo/", "/"),
    ("/foo", "/", "/foo/bar", "/bar"),
    ("/foo", "", "/foo/bar", "/bar"),
    ("/foo", "/", "/foo/foo/bar", "/foo/bar"),
    ("/", "/xyz", "/", "/xyz/"),
    ("/", "/xyz", "/bar", "/xyz/bar"),
    ("/", "/", "/bar", "/bar"),
    ("/a.b", "/", "/a.b/c", "/c"),
    ("/foo", "/x\\1", "/foo/bar", "/x\\1/bar"),
]


@pytest.mark.feature("HTTPRoute: URLRewrite, path prefix")
@pytest.mark.parametrize(("matched", "replacement", "path", "expected"), PREFIXES)
@pytest.mark.parametrize("query", ["", "?q=/foo"])
def test_a_prefix_is_rewritten(node, matched, replacement, path, expected, query):
    port = node.serve(rule(prefix(matched), to(V1), rewrites(start(replacement))))
    assert node.ask(port, path + query).seen["path"] == expected + query


@pytest.mark.feature("HTTPRoute: RequestRedirect, path prefix")
@pytest.mark.parametrize(("matched", "replacement", "path", "expected"), PREFIXES)
def test_a_prefix_is_redirected(node, matched, replacement, path, expected):
    port = node.serve(rule(prefix(matched), (), redirects(path=start(replacement))))
    assert node.ask(port, path + "?q=1").values("location") == [f"http://app{expected}?q=1"]


@pytest.mark.feature("HTTPRoute: URLRewrite, full path")
@pytest.mark.parametrize(
    ("path", "sent", "seen"),
    [
        ("/new", "/old/deep?q=/1", "/new?q=/1"),
        ("/new", "/", "/new"),
        ("/new", "/%FF?", "/new?"),
        ("", "/old?q=1", "/?q=1"),
        ("new", "/old", "/new"),
        ("/a\\1", "/old", "/a\\1"),
    ],
)
def test_the_whole_path_is_rewritten(node, path, sent, seen):
    port = node.serve(rule(any_path(), to(V1), rewrites(full(path))))
    assert node.ask(port, sent).seen["path"] == seen


@pytest.mark.feature("HTTPRoute: URLRewrite, hostname")
def test_the_host_is_rewritten(node):
    port = node.serve(rule(any_path(), to(V1), rewrites(full("/new"), "b.example")))
    seen = node.ask(port, "/old").seen
    assert (seen["host"], seen["path"]) == ("b.example", "/new")
    assert [name.lower() for name, _ in seen["headers"]] == ["host", "x-forwarded-proto"]


@pytest.mark.feature("HTTPRoute: RequestHeaderModifier")
def test_request_headers(node):
    change = changes("request", set={"X-Set": "%new%"}, add={"X-Add": "b"}, remove=["X-Remove"])
    port = node.serve(rule(any_path(), to(V1), change))
    answer = node.ask(port, headers=[("x-set", "old"), ("x-add", "a"), ("x-remove", "c"), ("x-keep", "d")])
    found = {name: answer.sent(name) for name in ("x-set", "x-add", "x-remove", "x-keep")}
    assert found == {"x-set": ["%new%"], "x-add": ["a", "b"], "x-remove": [], "x-keep": ["d"]}


@pytest.mark.feature("HTTPRoute: ResponseHeaderModifier")
def test_response_headers(node):
    change = changes("response", set={"Content-Type": "text/plain", "X-Set": ""}, add={"X-Add": "b"}, remove=["Date"])
    port = node.serve(rule(any_path(), to(V1), change))
    answer = node.ask(port)
    found = {name: answer.values(name) for name in ("content-type", "x-set", "x-add")}
    assert found == {"content-type": ["text/plain"], "x-set": [""], "x-add": ["b"]}


@pytest.mark.feature("HTTPRoute: backends, RequestHeaderModifier", "HTTPRoute: backends, ResponseHeaderModifier")
def test_a_backend_s_own_headers_come_after_its_rule_s(node):
    backends = (
        filtered(changes("request", set={"X-To": "v1"}), changes("response", set={"X-From": "v1"})),
        *to(V2),
    )
    port = node.serve(
        rule(exact("/one"), backends[:1], changes("request", set={"X-To": "all"})),
        rule(any_path(), backends, changes("request", set={"X-To": "all"})),
    )
    assert node.ask(port, "/one").sent("x-to") == ["v1"]
    with node.connection(port):
        answers = [node.ask(port) for _ in range(40)]
    found = {(answer.pod, *answer.sent("x-to"), *answer.values("x-from")) for answer in answers}
    assert found == {("v1", "v1", "v1"), ("v2", "all")}
