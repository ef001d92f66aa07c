"""What is tried again and what is not, counted at the server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.ir.http import Retry
from support.waypoint.fixtures import SERVERS, WaypointNode, wait_for, waypoint_node
from support.waypoint.recorder import DROP, SILENCE, Recorder, recorder
from support.waypoint.rules import any_path, rule, to

pytestmark = pytest.mark.node
CODES = (500, 502, 503, 504)
CLIENTS = 16


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture
def server(node) -> Iterator[Recorder]:
    with recorder(node) as made:
        yield made


def outcome(node: WaypointNode, server: Recorder, *script: int, method: str = "GET", **more: object) -> tuple[int, int]:
    """The status that the client gets, and how often the server was asked."""
    server.script = list(script)
    port = node.serve(rule(any_path(), to(server.backend), **more))
    return node.ask(port, "/x", method=method).status, len(server.requests)


@pytest.mark.parametrize("code", CODES)
def test_nothing_that_was_answered_is_tried_again_unasked(node, server, code):
    assert outcome(node, server, code) == (code, 1)


def test_a_request_that_may_have_been_processed_is_not_tried_again_unasked(node, server):
    assert outcome(node, server, DROP) == (503, 1)


@pytest.mark.feature("HTTPRoute: retry, codes", "HTTPRoute: retry, attempts")
@pytest.mark.parametrize("code", [*CODES, 429, 599])
def test_listed_codes_are_tried_again_as_often_as_asked(node, server, code):
    retry = Retry(2, (code,), 1)
    assert outcome(node, server, code, code, 200, retry=retry) == (200, 3)
    server.requests.clear()
    assert outcome(node, server, code, code, code, 200, retry=retry) == (code, 3)


def test_other_codes_are_not(node, server):
    assert outcome(node, server, 503, retry=Retry(3, (500,), 1)) == (503, 1)


def test_no_attempts_are_none(node, server):
    assert outcome(node, server, 500, retry=Retry(0, (500,))) == (500, 1)


def test_a_request_is_sent_again_as_it_was(node, server):
    server.script = [500]
    port = node.serve(rule(any_path(), to(server.backend), retry=Retry(1, (500,), 1)))
    with node.connection(port) as connection:
        connection.request("POST", "/a?b", b"body", {"X-MiXeD": "1"})
        assert connection.getresponse().status == 200
    first, second = server.requests
    assert first == second
    assert (first.method, first.path, first.body) == ("POST", "/a?b", b"body")


def test_a_lost_connection_is_tried_again_only_where_timeouts_are(node, server):
    assert outcome(node, server, DROP, retry=Retry(2)) == (503, 1)
    server.requests.clear()
    assert outcome(node, server, DROP, retry=Retry(2, (), 1), backend_timeout=60_000) == (200, 2)


@pytest.mark.feature("HTTPRoute: retry, of timeouts", "HTTPRoute: timeouts, backendRequest")
def test_a_try_that_takes_too_long_is_followed_by_another(node, server):
    assert outcome(node, server, SILENCE, 200, retry=Retry(1, (), 1), backend_timeout=200) == (200, 2)
    server.requests.clear()
    assert outcome(node, server, SILENCE, SILENCE, retry=Retry(1, (), 1), backend_timeout=200) == (504, 2)


def test_without_retries_a_try_that_takes_too_long_is_the_last(node, server):
    assert outcome(node, server, SILENCE, backend_timeout=200) == (504, 1)


@pytest.mark.feature("HTTPRoute: timeouts, request")
def test_the_request_s_timeout_ends_all_tries(node, server):
    retry = Retry(1_000, (), 1)
    status, tries = outcome(node, server, *[SILENCE] * 1_000, retry=retry, backend_timeout=200, request_timeout=700)
    assert (status, 1 < tries < 8) == (504, True)


@pytest.mark.feature("HTTPRoute: retry, backoff")
def test_the_pause_counts_against_the_request_s_timeout(node, server):
    """The pause is drawn between nothing and its base: of many requests none waits for the whole of it."""
    retry = Retry(1_000, (500,), 60_000)
    status, tries = outcome(node, server, *[500] * 1_000, retry=retry, request_timeout=500)
    assert (status, tries < 1_000) == (504, True)


def test_nobody_there_is_tried_again_and_then_told(node, server):
    server.shutdown()
    server.socket.close()
    port = node.serve(rule(any_path(), to(server.backend), retry=Retry(3, (), 1)))
    name = f"cluster.{server.backend.cluster.replace(':', '_')}.upstream_rq_retry"
    before = node.statistic(name)
    assert node.ask(port).status == 503
    wait_for("three retries", lambda: node.statistic(name) - before == 3)


@pytest.mark.feature("HTTPRoute: retry, of connection errors")
@pytest.mark.parametrize("retry", [None, Retry(100)], ids=["unasked", "tries"])
def test_what_does_not_answer_is_not_tried_twice(node, server, retry):
    """Two of three endpoints are gone. Many clients at once, whose turns would otherwise meet the same one again."""
    (port,) = node.servers[server.backend.service]
    with node.own_socket() as one, node.own_socket() as other:
        for gone in (one, other):
            gone.bind((SERVERS, 0))  # bound and not listening: refused, and nobody else's
        node.servers[server.backend.service] = [one.getsockname()[1], port, other.getsockname()[1]]
        listener = node.serve(rule(any_path(), to(server.backend), retry=retry))
        with ThreadPoolExecutor(CLIENTS) as clients:
            statuses = list(clients.map(lambda _: node.ask(listener).status, range(20 * CLIENTS)))
    assert statuses == [200] * len(statuses)
