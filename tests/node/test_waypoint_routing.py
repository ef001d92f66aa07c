"""What the waypoint does with a request: which rule, which backend, which answer."""

from collections import Counter
from collections.abc import Iterator

import pytest

from agent.model.routes import HeaderMatch, HTTPPathMatch, HTTPRouteMatch, QueryParamMatch
from support.waypoint.chance import bound
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import NO_ENDPOINTS, V1, V2, any_path, exact, prefix, rule, to

pytestmark = pytest.mark.node
TIMES = 1000


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def regex(value: str) -> HTTPRouteMatch:
    return HTTPRouteMatch(path=HTTPPathMatch("RegularExpression", value))


@pytest.mark.feature("HTTPRoute: match, path*")
@pytest.mark.parametrize(
    ("match", "matching", "other"),
    [
        (exact("/one"), ["/one", "/one?x=1"], ["/one/", "/one/x", "/ONE", "/"]),
        (prefix("/v2"), ["/v2", "/v2/", "/v2/x", "/v2?x=1"], ["/v2x", "/V2", "/"]),
        (prefix("/v2/"), ["/v2", "/v2/", "/v2/x"], ["/v2x"]),
        (prefix("/"), ["/", "/x", "//", "/a%2Fb"], []),
        (regex("/[0-9]+"), ["/1", "/42?x=1"], ["/42/", "/x42", "/"]),
    ],
    ids=["exact", "prefix", "prefix-slash", "root", "regex"],
)
def test_paths(node, match, matching, other):
    port = node.serve(rule(match))
    assert {path: node.ask(port, path).status for path in matching} == dict.fromkeys(matching, 200)
    assert {path: node.ask(port, path).status for path in other} == dict.fromkeys(other, 404)


@pytest.mark.feature("HTTPRoute: match, header*")
@pytest.mark.parametrize(
    ("match", "headers", "status"),
    [
        (HeaderMatch("X-Who", "me"), [("x-who", "me")], 200),
        (HeaderMatch("X-Who", "me"), [("x-who", "you")], 404),
        (HeaderMatch("X-Who", "me"), [], 404),
        (HeaderMatch("X-Who", "m.", "RegularExpression"), [("X-WHO", "me")], 200),
        (HeaderMatch("X-Who", "m.", "RegularExpression"), [("X-WHO", "men")], 404),
        (HeaderMatch("Host", "app"), [], 200),
        (HeaderMatch("host", "[a-c]pp", "RegularExpression"), [], 200),
        (HeaderMatch("Host", "other"), [], 404),
    ],
)
def test_headers(node, match, headers, status):
    port = node.serve(rule(any_path(headers=(match,))))
    assert node.ask(port, headers=headers).status == status


@pytest.mark.feature("HTTPRoute: match, query parameter*")
@pytest.mark.parametrize(
    ("match", "query", "status"),
    [
        (QueryParamMatch("a", "1"), "?a=1", 200),
        (QueryParamMatch("a", "1"), "?b=2&a=1", 200),
        (QueryParamMatch("a", "1"), "?a=1&a=2", 200),
        (QueryParamMatch("a", "1"), "?a=2&a=1", 404),
        (QueryParamMatch("a", "1"), "", 404),
        (QueryParamMatch("a", "[0-9]", "RegularExpression"), "?a=7", 200),
        (QueryParamMatch("a", "[0-9]", "RegularExpression"), "?a=77", 404),
    ],
)
def test_query_parameters(node, match, query, status):
    port = node.serve(rule(any_path(query_params=(match,))))
    assert node.ask(port, f"/{query}").status == status


@pytest.mark.feature("HTTPRoute: match, method")
def test_methods(node):
    port = node.serve(rule(any_path(method="POST"), to(V1)), rule(any_path(method="GET"), to(V2)))
    assert [node.ask(port, method=method).pod for method in ("GET", "POST", "PUT")] == ["v2", "v1", "404"]


@pytest.mark.feature("Several Routes: precedence of matches")
def test_the_first_rule_that_matches_decides(node):
    port = node.serve(rule(exact("/x"), to(V2)), rule(any_path(), to(V1)))
    assert [node.ask(port, path).pod for path in ("/x", "/y")] == ["v2", "v1"]


@pytest.mark.feature("HTTPRoute: backends, weights", "HTTPRoute: invalid backend: its share is 500")
@pytest.mark.parametrize(
    ("backends", "weights", "shares"),
    [
        ((V1, V2), (9, 1), {"v1": 0.9, "v2": 0.1}),
        ((V1, None), (3, 1), {"v1": 0.75, "500": 0.25}),
        ((None, V1, V2), (1, 1, 1), {"500": 1 / 3, "v1": 1 / 3, "v2": 1 / 3}),
        ((None, V1, V2), (1_000_000, 500_000, 500_000), {"500": 0.5, "v1": 0.25, "v2": 0.25}),
        ((V1, NO_ENDPOINTS), (1, 1), {"v1": 0.5, "503": 0.5}),
    ],
    ids=["weights", "invalid", "invalid-among-several", "invalid-and-great-weights", "no-endpoint"],
)
def test_shares(node, backends, weights, shares):
    port = node.serve(rule(any_path(), to(*backends, weights=weights)))
    counts = Counter(node.pods(port, TIMES))
    assert counts.keys() == shares.keys()
    assert [name for name, share in shares.items() if abs(counts[name] - TIMES * share) > bound(share, TIMES)] == [], (
        counts
    )


@pytest.mark.feature("HTTPRoute: no endpoint: 503", "HTTPRoute: invalid backend: its share is 500")
@pytest.mark.parametrize(
    ("backends", "status"),
    [((), 500), (to(None), 500), (to(NO_ENDPOINTS), 503)],
    ids=["none", "invalid", "no-endpoint"],
)
def test_who_cannot_answer(node, backends, status):
    assert node.ask(node.serve(rule(any_path(), backends))).status == status


@pytest.mark.feature("HTTPRoute: no match: 404")
def test_no_rules_match_nothing(node):
    assert node.ask(node.serve()).status == 404


@pytest.mark.feature("HTTPRoute: timeouts*")
def test_timeouts(node):
    port = node.serve(
        rule(prefix("/request"), request_timeout=300),
        rule(prefix("/backend"), backend_timeout=300),
        rule(prefix("/both"), request_timeout=5000, backend_timeout=300),
        rule(prefix("/none")),
    )
    paths = ("/request", "/backend", "/both", "/none")
    assert [node.ask(port, f"{path}?wait=1.5").status for path in paths] == [504, 504, 504, 200]
    assert [node.ask(port, path).status for path in paths] == [200] * 4
