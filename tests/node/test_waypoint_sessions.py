"""Sessions by cookie and by header: a client stays with the endpoint that it had."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.ir.http import BackendPort, Pool, Rule, Session
from agent.model.routes import GRPCRouteMatch, HTTPPathMatch, HTTPRouteMatch
from support.waypoint.caller import call
from support.waypoint.chance import bound
from support.waypoint.client import Answer, exchange
from support.waypoint.fixtures import PORTS, WaypointNode, waypoint_node
from support.waypoint.rules import NO_ENDPOINTS, V1, V1_H2C, V2, any_path, prefix, rule, to

pytestmark = pytest.mark.node
BOTH = BackendPort("app", "both", 80)
COOKIE, HEADER = Session("seat"), Session("x-seat", header=True)
TIMES = 400


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        made.servers["both"] = list(PORTS.values())
        yield made


def seated(session: Session = COOKIE, match: HTTPRouteMatch | None = None) -> Rule:
    return rule(match or any_path(), to(BOTH), session=session)


def seat(answer: Answer) -> str:
    """The value of the cookie that an answer sets."""
    (cookie,) = answer.values("set-cookie")
    name, value = cookie.partition(";")[0].split("=", 1)
    assert name == "seat"
    return value.strip('"')


def first(node: WaypointNode, port: int, wanted: str) -> Answer:
    """An answer to a client without a session, by the one that is wanted."""
    return next(answer for _ in range(60) if (answer := node.ask(port)).pod == wanted)


def known(answer: Answer, session: Session = COOKIE) -> list[tuple[str, str]]:
    """What a client says that had this answer."""
    if session.header:
        return [("X-Seat", *answer.values("x-seat"))]
    return [("Cookie", f"other=1; seat={seat(answer)}; more=2")]


def pods(node: WaypointNode, port: int, headers: list[tuple[str, str]], path: str = "/") -> set[str]:
    """Who answers requests with these headers."""
    with node.connection(port) as connection:
        return {exchange(connection, path, headers=headers).pod for _ in range(30)}


def test_without_a_session_both_answer(node):
    assert pods(node, node.serve(seated()), []) == {"v1", "v2"}


@pytest.mark.feature("HTTPRoute: sessionPersistence, cookie", "HTTPRoute: sessionPersistence, header")
@pytest.mark.parametrize("wanted", ["v1", "v2"])
@pytest.mark.parametrize("session", [COOKIE, HEADER], ids=["cookie", "header"])
def test_a_session_keeps_its_endpoint(node, wanted, session):
    port = node.serve(seated(session))
    headers = known(first(node, port, wanted), session)
    assert pods(node, port, headers) == {wanted}
    again = node.ask(port, headers=headers)
    assert again.values("set-cookie") + again.values("x-seat") == []


def test_a_cookie_of_the_session_has_no_end(node):
    (cookie,) = node.ask(node.serve(seated())).values("set-cookie")
    assert sorted(part.strip().lower() for part in cookie.split(";")[1:]) == ["httponly", "path=/", "samesite=strict"]


@pytest.mark.feature("HTTPRoute: sessionPersistence, cookie with an end")
def test_a_cookie_with_an_end_says_it_and_is_not_heeded_after(node):
    port = node.serve(seated(replace(COOKIE, seconds=1)))
    answer = first(node, port, "v2")
    assert "max-age=1;" in answer.values("set-cookie")[0].lower() + ";"
    assert node.ask(port, "/?wait=2").status == 200
    assert pods(node, port, known(answer)) == {"v1", "v2"}
    assert seat(node.ask(port, headers=known(answer))) != seat(answer)


@pytest.mark.parametrize(
    ("match", "path", "requested"),
    [
        (prefix("/a/"), "/a", "/a/b"),
        (HTTPRouteMatch(HTTPPathMatch("Exact", "/a")), "/a", "/a"),
        (HTTPRouteMatch(HTTPPathMatch("RegularExpression", "/p1/p2/[a-z]+/p3")), "/p1/p2", "/p1/p2/foo/p3"),
        (HTTPRouteMatch(HTTPPathMatch("RegularExpression", ".*")), "/", "/x"),
    ],
)
def test_a_cookie_is_for_its_rule_s_paths(node, match, path, requested):
    port = node.serve(seated(match=match))
    answer = node.ask(port, requested)
    assert f"path={path};" in answer.values("set-cookie")[0].lower() + ";"
    assert pods(node, port, known(answer), requested) == {answer.pod}


@pytest.mark.parametrize("value", ["", "x", "MTAuOS45Ljk6ODA=", "%%%", "a" * 4000])
def test_a_cookie_of_somebody_else_is_replaced(node, value):
    answer = node.ask(node.serve(seated()), headers=[("Cookie", f"seat={value}")])
    assert (answer.status, seat(answer) not in ("", value)) == (200, True)


def test_a_session_whose_endpoint_is_gone_gets_another(node):
    port = node.serve(seated(HEADER), name="app/moving:80")
    headers = known(first(node, port, "v2"), HEADER)
    node.servers["both"] = [PORTS["v1"]]
    try:
        node.serve(seated(HEADER), name="app/moving:80")
        answer = node.ask(port, headers=headers)
        assert (answer.pod, answer.values("x-seat") != [headers[0][1]]) == ("v1", True)
    finally:
        node.servers["both"] = list(PORTS.values())


def split(weights: tuple[int, int], session: Session = COOKIE) -> Rule:
    pooled = replace(session, pool=Pool((V1, V2)))
    shares = tuple(item for item in to(V1, V2, weights=weights) if item.weight)
    return rule(any_path(), shares, session=pooled)


def test_clients_without_a_session_are_split_by_weight(node):
    counts = Counter(node.pods(node.serve(split((9, 1))), TIMES))
    assert abs(counts["v1"] - TIMES * 0.9) < bound(0.9, TIMES)
    assert counts.total() == counts["v1"] + counts["v2"]


@pytest.mark.feature("HTTPRoute: sessionPersistence, across weighted backends")
@pytest.mark.parametrize("wanted", ["v1", "v2"])
@pytest.mark.parametrize("session", [COOKIE, HEADER], ids=["cookie", "header"])
def test_a_session_keeps_its_backend_whatever_the_weights_become(node, wanted, session):
    name = f"app/split-{wanted}-{session.name}:80"
    port = node.serve(split((1, 1), session), name=name)
    headers = known(first(node, port, wanted), session)
    assert pods(node, port, headers) == {wanted}
    for weights, others in (((1, 0), "v1"), ((0, 1), "v2")):
        node.serve(split(weights, session), name=name)
        assert (pods(node, port, headers), pods(node, port, [])) == ({wanted}, {others})


def test_an_endpoint_of_two_backends_serves_both_shares(node):
    pooled = replace(COOKIE, pool=Pool((V1, BOTH)))
    assert pods(node, node.serve(rule(any_path(), to(V1), session=pooled)), []) == {"v1"}
    assert pods(node, node.serve(rule(any_path(), to(BOTH), session=pooled)), []) == {"v1", "v2"}


def test_shares_that_nobody_can_serve_are_refused(node):
    nobody = rule(any_path(), to(V1, NO_ENDPOINTS), session=replace(COOKIE, pool=Pool((V1, NO_ENDPOINTS))))
    assert set(node.pods(node.serve(nobody), 60)) == {"v1", "503"}
    invalid = rule(any_path(), to(V1, V2, None), session=replace(COOKIE, pool=Pool((V1, V2))))
    assert set(node.pods(node.serve(invalid), 60)) == {"v1", "v2", "500"}


def test_grpc_calls_without_a_session_are_split(node):
    pool = Pool((V1_H2C, BackendPort("app", "v2", 80, "h2c")))
    rules = [rule(GRPCRouteMatch(), to(*pool.members), session=replace(HEADER, pool=pool))]
    assert set(call(node, rules, *["/a.B/C"] * 30)) == {"v1", "v2"}
