"""CORS as a browser would ask: preflights that the waypoint answers, and requests that the server does."""

from collections.abc import Iterator

import pytest

from agent.model.filters import CORS, Filter
from agent.model.routes import HTTPRouteMatch
from support.waypoint.client import Answer
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.rules import any_path, prefix, rule, to

pytestmark = pytest.mark.node
HERE, ELSEWHERE = "https://www.foo.com", "https://foobar.com"


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture
def server(node) -> Iterator[Recorder]:
    with recorder(node) as made:
        yield made


def cors(*origins: str, **fields: object) -> Filter:
    return Filter("CORS", cors=CORS(allow_origins=origins or (HERE,), **fields))


def serve(node: WaypointNode, server: Recorder, item: Filter, match: HTTPRouteMatch | None = None) -> int:
    return node.serve(rule(match or any_path(), to(server.backend), item))


def preflight(node: WaypointNode, port: int, origin: str, method: str = "GET", request_headers: str = "") -> Answer:
    headers = [("Origin", origin), ("Access-Control-Request-Method", method)]
    headers += [("Access-Control-Request-Headers", request_headers)] if request_headers else []
    return node.ask(port, "/x", method="OPTIONS", headers=headers)


def cors_headers(answer: Answer) -> dict[str, str]:
    """What the client is told about other origins, without the common beginning of the names."""
    start = "access-control-"
    return {name.removeprefix(start): value for name, value in answer.headers if name.startswith(start)}


@pytest.mark.feature("HTTPRoute: CORS, preflights")
def test_a_preflight_is_answered_for_the_server(node, server):
    item = cors(
        allow_methods=("GET", "PUT"),
        allow_headers=("x-1", "x-2"),
        expose_headers=("x-3",),
        allow_credentials=True,
        max_age=3600,
    )
    answer = preflight(node, serve(node, server, item), HERE, "PUT", "x-1")
    assert (answer.status, server.requests) == (200, [])
    assert cors_headers(answer) == {
        "allow-origin": HERE,
        "allow-methods": "GET, PUT",
        "allow-headers": "x-1, x-2",
        "expose-headers": "x-3",
        "allow-credentials": "true",
        "max-age": "3600",
    }


def test_what_is_not_said_is_not_told(node, server):
    assert cors_headers(preflight(node, serve(node, server, cors()), HERE)) == {"allow-origin": HERE, "max-age": "5"}


def test_a_stranger_s_preflight_is_answered_without_leave(node, server):
    answer = preflight(node, serve(node, server, cors(allow_methods=("PUT",))), ELSEWHERE, "PUT")
    assert (answer.status, "allow-origin" in cors_headers(answer), server.requests) == (200, False, [])


@pytest.mark.feature("HTTPRoute: CORS, requests")
@pytest.mark.parametrize(
    ("origin", "allowed"), [(HERE, {"allow-origin": HERE, "expose-headers": "x-3"}), (ELSEWHERE, {})]
)
def test_a_request_reaches_the_server_whoever_asks(node, server, origin, allowed):
    port = serve(node, server, cors(expose_headers=("x-3",)))
    answer = node.ask(port, "/x", headers=[("Origin", origin)])
    assert (answer.status, cors_headers(answer), len(server.requests)) == (200, allowed, 1)


@pytest.mark.parametrize(
    ("allowed", "origins", "others"),
    [
        ("*", ["http://a", "https://a.b:8443", "null"], []),
        ("http://*", ["http://a", "http://a.b:80", "http://[::1]"], ["https://a", "http://a:81", "null"]),
        (
            "https://*.foo.com",
            ["https://a.foo.com", "https://a.b.foo.com:443"],
            ["https://foo.com", "https://afoo.com"],
        ),
        (
            "https://foo.com:443",
            ["https://foo.com", "https://foo.com:443"],
            ["https://foo.com:8443", "https://foo_com"],
        ),
        ("http://Foo.com:8080", ["http://foo.com:8080"], ["http://foo.com", "http://foo.com:80"]),
    ],
)
def test_origins(node, server, allowed, origins, others):
    port = serve(node, server, cors(allowed))
    found = {origin: cors_headers(preflight(node, port, origin)).get("allow-origin") for origin in origins + others}
    assert found == {origin: origin for origin in origins} | dict.fromkeys(others)


@pytest.mark.parametrize("credentials", [True, False])
def test_everything_allowed_is_told_as_what_was_asked(node, server, credentials):
    """With credentials `*` would mean a header of that name, and nothing to a browser."""
    everything = {"allow_methods": ("*",), "allow_headers": ("*",), "expose_headers": ("*",)}
    port = serve(node, server, cors("*", allow_credentials=credentials, **everything))
    found = cors_headers(preflight(node, port, ELSEWHERE, "PATCH", "x-1, x-2"))
    assert [found[name] for name in ("allow-origin", "allow-methods", "allow-headers")] == [
        ELSEWHERE,
        "PATCH",
        "x-1, x-2",
    ]
    assert found.get("expose-headers") == (None if credentials else "*")
    assert found.get("allow-credentials") == ("true" if credentials else None)
    assert "allow-headers" not in cors_headers(preflight(node, port, ELSEWHERE, "PATCH"))


def test_a_preflight_belongs_to_the_rule_for_the_method_it_asks_about(node, server):
    port = node.serve(
        rule(any_path(method="PUT"), to(server.backend), cors(allow_methods=("PUT",))),
        rule(any_path(method="GET"), to(server.backend), cors("*", allow_methods=("GET",))),
    )
    found = {method: cors_headers(preflight(node, port, ELSEWHERE, method)) for method in ("PUT", "GET")}
    assert [found[method].get("allow-origin") for method in found] == [None, ELSEWHERE]
    assert preflight(node, port, HERE, "DELETE").status == 404
    assert node.ask(port, method="OPTIONS").status == 404
    assert node.ask(port, method="PUT", headers=[("Origin", HERE)]).status == 200
    assert [request.method for request in server.requests] == ["PUT"]


def test_rules_without_it_leave_everything_to_the_server(node, server):
    port = node.serve(rule(prefix("/cors"), to(server.backend), cors()), rule(any_path(), to(server.backend)))
    server.script = [204]
    answer = preflight(node, port, HERE)
    assert (answer.status, cors_headers(answer)) == (204, {})
    assert server.requests[0].values("access-control-request-method") == ["GET"]
