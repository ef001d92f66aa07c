"""Requests that a server decides about, by HTTP and by gRPC, before a backend gets them."""

from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort
from agent.model.filters import CORS, BackendObjectReference, ExternalAuth, Filter, ForwardBody, GRPCAuth, HTTPAuth
from agent.translate.filters.external_auth import Authorizer
from support.waypoint.authorizer import ALLOWED, AuthorizerHandle, authorizer
from support.waypoint.client import Answer
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.recorder import DROP, Recorder, recorder
from support.waypoint.rules import NO_ENDPOINTS, any_path, prefix, redirects, rule, to

pytestmark = pytest.mark.node
GOOD = ("Authorization", ALLOWED)
COOKIE = ("Cookie", "a=b")
REF = BackendObjectReference("authorizer", port=80)


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def grpc(node) -> Iterator[AuthorizerHandle]:
    with authorizer(node) as made:
        yield made


@pytest.fixture
def server(node) -> Iterator[Recorder]:
    with recorder(node) as made:
        yield made


@pytest.fixture
def http(node) -> Iterator[Recorder]:
    with recorder(node, "authorizer-http") as made:
        yield made


def external(size: int = 0, **http: object) -> Filter:
    return Filter("ExternalAuth", external_auth=ExternalAuth("HTTP", REF, None, HTTPAuth(**http), ForwardBody(size)))


def external_grpc(size: int = 0, *headers: str) -> Filter:
    auth = ExternalAuth("GRPC", REF, GRPCAuth(headers), forward_body=ForwardBody(size))
    return Filter("ExternalAuth", external_auth=auth)


def serve(node: WaypointNode, server: Recorder, by: BackendPort | None, *filters: Filter) -> int:
    resolved = (Authorizer(by),) if by else ()
    return node.serve(rule(any_path(), to(server.backend), *filters, resolved=resolved))


def names(headers: dict[str, str] | tuple[tuple[str, str], ...]) -> set[str]:
    return {name.lower() for name, _ in (headers.items() if isinstance(headers, dict) else headers)}


def ask(node: WaypointNode, port: int, *headers: tuple[str, str], body: bytes | None = None) -> Answer:
    return node.ask(port, "/x?q=1", method="POST" if body else "GET", headers=list(headers), body=body)


@pytest.mark.feature("HTTPRoute: ExternalAuth, HTTP")
def test_200_lets_a_request_through_with_the_headers_of_the_answer(node, server, http):
    http.headers = {"X-User": "bob", "Transfer-Encoding-Like": "x", "Keep-Alive": "timeout=1"}
    port = serve(node, server, http.backend, external(path="/check/"))
    assert ask(node, port, GOOD, COOKIE).status == 200
    (checked,), (got,) = http.requests, server.requests
    assert (checked.method, checked.path, checked.values("authorization")) == ("GET", "/check/x?q=1", [ALLOWED])
    assert (checked.values("cookie"), checked.values("content-length")) == ([], ["0"])
    assert (got.path, got.values("x-user"), got.values("cookie"), got.values("keep-alive")) == (
        "/x?q=1",
        ["bob"],
        ["a=b"],
        [],
    )


@pytest.mark.parametrize("status", [401, 302, 204])
def test_any_other_status_is_the_client_s_answer(node, server, http, status):
    http.script, http.headers = [status], {"Location": "http://login/", "X-Why": "no"}
    answer = ask(node, serve(node, server, http.backend, external()))
    assert (answer.status, server.requests) == (status, [])
    assert {("location", "http://login/"), ("x-why", "no")} <= {(key.lower(), value) for key, value in answer.headers}


@pytest.mark.parametrize("failure", [500, DROP])
def test_a_server_that_fails_lets_nothing_through(node, server, http, failure):
    http.script = [failure] * 3
    assert ask(node, serve(node, server, http.backend, external()), GOOD).status == 403
    assert server.requests == []


def test_a_server_without_endpoints_lets_nothing_through(node, server):
    assert ask(node, serve(node, server, NO_ENDPOINTS, external()), GOOD).status == 403
    assert server.requests == []


@pytest.mark.parametrize("redirected", [False, True])
def test_a_reference_to_nothing_lets_nothing_through(node, server, redirected):
    others = (redirects(hostname="elsewhere"),) if redirected else ()
    assert ask(node, serve(node, server, None, external(), *others), GOOD).status == 500
    assert server.requests == []


def test_only_named_headers_go_to_the_server_and_come_back(node, server, http):
    http.headers = {"X-User": "bob", "X-Other": "1"}
    named = external(allowed_headers=("Cookie",), allowed_response_headers=("x-user",))
    ask(node, serve(node, server, http.backend, named), COOKIE, ("X-Secret", "1"))
    assert {"cookie"} <= names(http.requests[0].headers)
    assert "x-secret" not in names(http.requests[0].headers)
    assert "x-user" in names(server.requests[0].headers)
    assert "x-other" not in names(server.requests[0].headers)


@pytest.mark.feature("HTTPRoute: ExternalAuth, body")
def test_a_body_goes_to_both_and_one_that_is_too_large_to_none(node, server, http):
    port = serve(node, server, http.backend, external(5))
    assert ask(node, port, body=b"12345").status == 200
    assert [item.body for item in (*http.requests, *server.requests)] == [b"12345"] * 2
    assert ask(node, port, body=b"123456").status == 413
    assert (len(http.requests), len(server.requests)) == (1, 1)


def test_without_forward_body_the_server_gets_none(node, server, http):
    assert ask(node, serve(node, server, http.backend, external()), body=b"12345").status == 200
    assert (http.requests[0].body, http.requests[0].values("content-length")) == (b"", ["0"])
    assert server.requests[0].body == b"12345"


@pytest.mark.feature("HTTPRoute: ExternalAuth, gRPC")
def test_grpc_decides_and_changes_headers_but_no_framing(node, server, grpc):
    port = serve(node, server, grpc.backend, external_grpc(100))
    assert ask(node, port, GOOD, COOKIE, body=b"12345").status == 200
    checked = grpc.requests[-1]
    assert (checked["method"], checked["path"], checked["body"]) == ("POST", "/x?q=1", "12345")
    assert checked["headers"]["cookie"] == "a=b"
    (got,) = server.requests
    assert (got.values("x-user"), got.values("content-length"), got.body) == (["bob"], ["5"], b"12345")
    refused = ask(node, port)
    assert (refused.status, dict(refused.headers).get("x-why"), len(server.requests)) == (401, "no", 1)


def test_grpc_gets_only_named_headers(node, server, grpc):
    ask(node, serve(node, server, grpc.backend, external_grpc(0, "authorization")), GOOD, COOKIE)
    assert "cookie" not in grpc.requests[-1]["headers"]
    assert len(server.requests) == 1


def test_rules_without_it_ask_nobody(node, server, http):
    guarded = rule(prefix("/a"), to(server.backend), external(), resolved=(Authorizer(http.backend),))
    port = node.serve(guarded, rule(any_path(), to(server.backend)))
    http.script = [401]
    assert [node.ask(port, path).status for path in ("/b", "/a")] == [200, 401]
    assert len(http.requests) == 1


def test_a_preflight_needs_no_credentials(node, server, http):
    cors = Filter("CORS", cors=CORS(allow_origins=("http://here",), allow_methods=("GET",)))
    http.script = [401]
    port = serve(node, server, http.backend, cors, external())
    checked = [("Origin", "http://here"), ("Access-Control-Request-Method", "GET")]
    assert node.ask(port, "/x", method="OPTIONS", headers=checked).status == 200
    assert http.requests == []
    assert ask(node, port, ("Origin", "http://here")).status == 401


def test_an_authorized_request_is_redirected_another_is_not(node, server, http):
    port = serve(node, server, http.backend, external(), redirects(hostname="elsewhere"))
    assert ask(node, port).status == 302
    http.script = [401]
    assert ask(node, port).status == 401
