"""What nobody asked to change arrives as it was sent, in both directions."""

from collections.abc import Iterator

import pytest

from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import V1, V1_H2C, any_path, rule, to

pytestmark = pytest.mark.node
CURL = ("curl", "-sS", "-m", "5", "-i")


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def port(node) -> int:
    return node.serve(rule(any_path(), to(V1)))


def test_a_request_arrives_as_it_was_sent(node, port):
    sent = [
        ("Host", "App.example:80"),
        ("X-MiXed-CaSe", "Value"),
        ("x_under", "1"),
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-Id", "mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("User-Agent", "me"),
        ("Via", "1.1 other"),
    ]
    seen = node.ask(port, "/a//b/../%2e%2F?q=%20&x", host=sent[0][1], headers=sent[1:]).seen
    assert seen["path"] == "/a//b/../%2e%2F?q=%20&x"
    assert sorted(map(tuple, seen["headers"])) == sorted(sent)


def test_only_what_envoy_cannot_leave_alone_is_added(node, port):
    answer = node.ask(port)
    assert [name.lower() for name, _ in answer.seen["headers"]] == ["host", "x-forwarded-proto"]
    assert sorted(name for name, _ in answer.headers) == ["Content-Length", "Content-Type", "date"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "PURGE", "PROPFIND"])
def test_methods_are_passed_on(node, port, method):
    answer = node.ask(port, method=method)
    assert (answer.status, answer.seen.get("method", method)) == (200, method)


def test_http_1_0(node, port):
    answer = node.raw(port, b"GET /old HTTP/1.0\r\nHost: app\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b'"path":"/old"' in answer


def test_http_1_0_without_a_host(node, port):
    answer = node.raw(port, b"GET /old HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 ")


def test_a_websocket(node, port):
    request = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping"
    answer = node.raw(port, request, until=b"ping")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"ping")


def test_an_offer_of_http2_is_not_an_error(node, port):
    headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAoAAA")]
    assert node.ask(port, headers=headers).status == 200


def test_large_and_many_headers(node, port):
    headers = [("X-Large", "x" * 200_000), *((f"X-{number}", "1") for number in range(300))]
    answer = node.ask(port, headers=headers)
    assert answer.status == 200
    assert len(answer.sent("x-large")[0]) == 200_000


def test_the_server_decides_about_expect_100_continue(node, port):
    request = (
        b"POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    )
    assert b'["Expect","100-continue"]' in node.raw(port, request)


def test_a_large_body_and_an_error_are_passed_on(node, port):
    assert len(node.ask(port, "/?body=3000000").body) > 3_000_000
    assert node.ask(port, "/?status=503").pod == "v1"
    assert node.ask(port, "/?status=599").status == 599


def test_chunks_and_trailers_of_a_request_are_read(node, port):
    request = (
        b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    assert b'"received":5' in node.raw(port, request)


def test_a_closed_connection_is_answered_503(node, port):
    assert node.ask(port, "/?close=1").status == 503


def test_http2_from_the_client_and_to_the_server(node, port):
    answer = node.run(*CURL, "--http2-prior-knowledge", f"http://127.0.0.2:{port}/x")
    assert answer.startswith("HTTP/2 200")
    assert '"protocol":"http/1.1"' in answer
    assert node.ask(node.serve(rule(any_path(), to(V1_H2C)))).seen["protocol"] == "http/2"


def test_a_request_s_bytes(node):
    with node.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (backend, requests):
        port = node.serve(rule(any_path(), to(backend)))
        assert node.raw(port, b"GET /x HTTP/1.1\r\nHOST: app\r\nX-a: 1\r\nX-a: 2\r\n\r\n", until=b"\r\n\r\n")
    assert requests == [b"GET /x HTTP/1.1\r\nHOST: app\r\nX-a: 1\r\nX-a: 2\r\nx-forwarded-proto: http\r\n\r\n"]


def test_an_answer_arrives_as_it_was_sent(node):
    headers = [
        ("Server", "mine"),
        ("X-MiXed", "1"),
        ("X-Large", "x" * 200_000),
        ("Date", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("Content-Length", "0"),
        *((f"X-{number}", "1") for number in range(300)),
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    with node.server(f"HTTP/1.1 201 Created\r\n{lines}\r\n".encode()) as (backend, _):
        answer = node.raw(
            node.serve(rule(any_path(), to(backend))), b"GET / HTTP/1.1\r\nHost: app\r\n\r\n", until=b"\r\n\r\n"
        ).decode()
    status, *found = answer.rstrip().split("\r\n")
    assert status == "HTTP/1.1 201 Created"
    assert sorted(found) == sorted(f"{name}: {value}" for name, value in headers)
