"""HTTP/1.1 through the waypoint byte by byte, at both ends: what passes, and what Envoy cannot leave alone.

docs/transparency.md is the table of it.
"""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import Wire, client, script
from support.waypoint.rules import any_path, exact, rule, to

pytestmark = pytest.mark.node
HEAD = b"\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: app\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
DATE = b"Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n"


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def answering(*answers: bytes) -> Callable[[Wire], None]:
    """A script: a request's head, an answer, and so on."""

    def play(server: Wire) -> None:
        for answer in answers:
            server.until(HEAD)
            server.send(answer)

    return play


def passed_on(node: WaypointNode, request: bytes, play: Callable[[Wire], None], mark: bytes) -> tuple[bytes, bytes]:
    """The request as it reached the server, and the answer as it reached the client up to a mark."""
    with script(node, play) as (backend, servers), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(request)
        answer = asking.until(mark)
        (server,) = servers
    return server.seen, answer


def without_date(answer: bytes) -> bytes:
    """An answer without the date that Envoy adds where there is none."""
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


def test_headers_keep_their_order_and_case_but_for_host_and_what_is_for_one_hop(node: WaypointNode) -> None:
    sent = b"B: 1\r\nHost: app\r\na: 2\r\nB: 3\r\nCookie: x=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nUser-Agent: u\r\n"
    fields = b"Z: 1\r\nSet-Cookie: a=1\r\nserver: s\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n"
    request = b"GET /x HTTP/1.1\r\n" + sent + b"\r\n"
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n" + DATE + b"\r\n"
    seen, heard = passed_on(node, request, answering(answer), HEAD)
    arrived = b"Host: app\r\nB: 1\r\na: 2\r\nB: 3\r\nCookie: x=1\r\nUser-Agent: u\r\nx-forwarded-proto: http\r\n"
    assert seen == b"GET /x HTTP/1.1\r\n" + arrived + b"\r\n"
    assert heard == b"HTTP/1.1 200 OK\r\n" + fields + DATE + b"\r\n"


def test_a_name_that_comes_again_in_another_case_takes_that_of_the_first(node: WaypointNode) -> None:
    seen, _ = passed_on(node, b"GET / HTTP/1.1\r\nHost: app\r\nx-a: 1\r\nX-A: 2\r\n\r\n", answering(OK), b"hi")
    assert b"x-a: 1\r\nx-a: 2\r\n" in seen


@pytest.mark.parametrize("status", [b"200 Fine", b"413 Too Large", b"599 Odd One", b"404 Not Found"])
def test_a_reason_phrase_is_the_server_s(node: WaypointNode, status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n" + DATE + b"\r\n"
    assert passed_on(node, GET, answering(answer), HEAD)[1] == answer


def test_interim_answers_are_passed_on(node: WaypointNode) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert passed_on(node, GET, answering(hints + OK), b"hi")[1].startswith(hints + b"HTTP/1.1 200 OK\r\n")


def test_chunks_and_trailers_are_passed_on_with_names_in_lower_case(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        server.until(b"x-sum: 1\r\n\r\n")
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        server.send(b"2\r\nhi\r\n0\r\nX-Sum: 2\r\n\r\n")

    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    head = POST + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n"
    seen, heard = passed_on(node, head + chunks, play, b"x-sum: 2\r\n\r\n")
    assert b"Trailer: X-Sum\r\nTE: trailers\r\n" in seen
    body = seen.partition(HEAD)[2]
    assert re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body) == b"hello worldx-sum: 1\r\n\r\n"
    assert b"Trailer: X-Sum\r\n" in heard
    assert heard.endswith(HEAD + b"2\r\nhi\r\n0\r\nx-sum: 2\r\n\r\n")


def test_a_body_waits_for_the_server_s_100(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        server.until(HEAD)
        server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        server.until(b"body")
        server.send(OK)

    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert asking.until(HEAD) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.send(b"body")
        assert asking.until(b"hi").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_server_that_does_not_want_the_body_says_so_instead(node: WaypointNode) -> None:
    refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
    request = POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    seen, heard = passed_on(node, request, answering(refusal), HEAD)
    assert b"Expect: 100-continue\r\n" in seen
    assert heard.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")


def test_an_answer_to_head_keeps_its_length(node: WaypointNode) -> None:
    answers = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", OK)
    with script(node, answers) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(b"HEAD / HTTP/1.1\r\nHost: app\r\n\r\n")
        assert without_date(asking.until(HEAD)) == b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
        asking.send(GET)
        assert asking.until(b"hi").startswith(b"HTTP/1.1 200 OK\r\n"), "no body came before"


def test_an_answer_that_ends_with_its_connection_is_sent_on_in_chunks(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        server.until(HEAD)
        server.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        server.socket.shutdown(socket.SHUT_RDWR)

    _, heard = passed_on(node, GET, play, b"0\r\n\r\n")
    assert without_date(heard) == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n"


def test_http_1_0_reaches_the_server_as_1_1_and_comes_back_as_1_0(node: WaypointNode) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    with script(node, answering(chunked)) as (backend, servers):
        port = node.serve(rule(any_path(), to(backend)), name="shop/web:80")
        with client(node, port) as asking:
            asking.send(b"GET /old HTTP/1.0\r\n\r\n")
            assert without_date(asking.rest()) == b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhi"
        (server,) = servers
    assert server.seen == b"GET /old HTTP/1.1\r\nhost: web.shop\r\nx-forwarded-proto: http\r\n\r\n"


def test_http_1_0_keeps_a_connection_that_it_asks_to_keep(node: WaypointNode) -> None:
    with (
        script(node, answering(OK, OK)) as (backend, _),
        client(node, node.serve(rule(any_path(), to(backend)))) as old,
    ):
        for _ in range(2):
            old.send(b"GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n")
            assert old.until(b"hi").startswith(b"HTTP/1.0 200 OK\r\n")


def test_pipelined_requests_arrive_one_after_the_other_and_are_answered_in_order(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        for number in range(50):
            assert server.until(HEAD).startswith(b"GET /%d HTTP/1.1\r\n" % number)
            assert server.seen.count(HEAD) == number + 1, "the next waits"
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<%02d>" % number)

    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: app\r\n\r\n" % number for number in range(50)))
        asking.until(b"<49>")
        assert re.findall(rb"<(\d+)>", asking.seen) == [b"%02d" % number for number in range(50)]


def test_of_pipelined_requests_envoy_itself_answers_two_then_hangs_up(node: WaypointNode) -> None:
    with client(node, node.serve(rule(exact("/else")))) as asking:
        asking.send(GET * 5)
        assert asking.rest().count(b"HTTP/1.1 404 Not Found\r\n") == 2


def test_a_server_s_close_is_not_the_client_s(node: WaypointNode) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"

    def play(server: Wire) -> None:
        answering(closing)(server)
        server.socket.shutdown(socket.SHUT_RDWR)

    with script(node, play) as (backend, servers), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        for _ in range(3):
            asking.send(GET)
            assert without_date(asking.until(b"hi")) == OK
        assert len(servers) == 3


def test_a_server_that_hangs_up_after_its_answer_without_a_word_fails_nobody(node: WaypointNode) -> None:
    def play(server: Wire) -> None:
        answering(OK)(server)
        server.socket.shutdown(socket.SHUT_RDWR)

    with script(node, play) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        gone = f"cluster.{backend.cluster.replace(':', '_')}.upstream_cx_destroy_remote"
        for number in range(1, 4):
            asking.send(GET)
            assert without_date(asking.until(b"hi")) == OK
            wait_for("Envoy sees it", lambda number=number: node.statistic(gone) == number)


def test_a_connection_to_a_server_is_given_up_before_servers_would_end_it(node: WaypointNode) -> None:
    ended = []

    def play(server: Wire) -> None:
        answering(OK)(server)
        if not ended:
            ended.append(server.rest())

    with script(node, play) as (backend, servers), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(GET)
        asking.until(b"hi")
        wait_for("the waypoint hangs up", lambda: ended)
        asking.send(GET)
        asking.until(b"hi")
        assert (len(servers), ended[0]) == (2, b"")


def test_a_client_that_says_that_it_will_send_no_more_gets_no_answer(node: WaypointNode) -> None:
    with script(node, answering()) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(GET)
        asking.socket.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert asking.rest() == b""


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"OPTIONS * HTTP/1.1", b"404"), (b"CONNECT a.example:443 HTTP/1.1", b"404"), (b"GET /x#part HTTP/1.1", b"400")],
)
def test_targets_that_are_no_path_are_refused(node: WaypointNode, line: bytes, status: bytes) -> None:
    with script(node, answering()) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(line + b"\r\nHost: app\r\n\r\n")
        assert asking.until(HEAD).startswith(b"HTTP/1.1 " + status)


def test_an_absolute_target_becomes_a_path_and_its_host(node: WaypointNode) -> None:
    seen, _ = passed_on(node, b"GET http://other/x?y HTTP/1.1\r\nHost: app\r\n\r\n", answering(OK), b"hi")
    assert seen.startswith(b"GET /x?y HTTP/1.1\r\nHost: other\r\n")


def test_upgrades_but_to_websocket_are_refused(node: WaypointNode) -> None:
    with script(node, answering()) as (backend, _), client(node, node.serve(rule(any_path(), to(backend)))) as asking:
        asking.send(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
        assert asking.until(HEAD).startswith(b"HTTP/1.1 403 ")


def test_large_bodies_arrive_whole_in_both_directions(node: WaypointNode) -> None:
    body = bytes(range(256)) * 10_000

    def play(server: Wire) -> None:
        server.until(HEAD)
        server.until(body)
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    seen, heard = passed_on(node, request, play, body)
    assert seen.endswith(HEAD + body)
    assert heard.endswith(HEAD + body)
