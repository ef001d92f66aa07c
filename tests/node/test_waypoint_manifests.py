"""From manifests to answers: what is translated is what Envoy does, without a kernel in between."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from support.waypoint.client import Answer
from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node
from support.waypoint.manifests import Cluster
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.tls import CLOSED, TLSNode

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def server(node) -> Iterator[Recorder]:
    with recorder(node, "recorder") as made:
        yield made


@pytest.fixture
def cluster(node, server) -> Cluster:
    server.requests.clear()
    return Cluster(node)


def test_mirrors_and_one_that_is_not_there(cluster, server):
    mirror = "{{type: RequestMirror, requestMirror: {{backendRef: {{name: {}, port: 80}}}}}}"
    port = cluster.route(
        f"rules: [{{filters: [{mirror.format('recorder')}, {mirror.format('gone')}], "
        "backendRefs: [{name: v1, port: 80}]}]"
    )
    assert cluster.node.pods(port, 10) == ["v1"] * 10
    wait_for("every copy", lambda: len(server.requests) == 10)
    conditions = cluster.conditions()
    assert conditions["Accepted"].status
    assert (conditions["ResolvedRefs"].status, conditions["ResolvedRefs"].reason) == (False, "BackendNotFound")


def test_retries(cluster, server):
    server.script = [503, 503]
    port = cluster.route(
        "rules: [{retry: {codes: [503], attempts: 2, backoff: 1ms}, backendRefs: [{name: recorder, port: 80}]}]"
    )
    assert (cluster.node.ask(port).status, len(server.requests)) == (200, 3)


def test_cors(cluster, server):
    port = cluster.route(
        "rules: [{matches: [{method: PUT}], filters: [{type: CORS, cors: {allowOrigins: ['https://*.foo.com'], "
        "allowMethods: [PUT]}}], backendRefs: [{name: recorder, port: 80}]}]"
    )
    preflight_headers = [("Origin", "https://a.foo.com"), ("Access-Control-Request-Method", "PUT")]
    answer = cluster.node.ask(port, method="OPTIONS", headers=preflight_headers)
    found = [answer.values(f"access-control-{name}") for name in ("allow-origin", "allow-methods", "max-age")]
    assert (answer.status, found, server.requests) == (200, [["https://a.foo.com"], ["PUT"], ["5"]], [])


def test_sessions_over_two_backends_outlive_a_weight_of_0(cluster):
    rules = (
        "rules: [{{name: one, sessionPersistence: {{sessionName: seat}}, backendRefs: "
        "[{{name: v1, port: 80, weight: {}}}, {{name: v2, port: 80}}]}}]"
    )
    port = cluster.route(rules.format(1))
    ask = partial(cluster.node.ask, port)
    first: Answer = next(answer for _ in range(60) if (answer := ask()).pod == "v1")
    known = [("Cookie", first.values("set-cookie")[0].partition(";")[0])]
    cluster.route(rules.format(0))
    assert {ask(headers=known).pod for _ in range(20)} == {"v1"}
    assert {ask().pod for _ in range(20)} == {"v2"}


def test_server_names(node):
    tls = TLSNode.of(node)
    with ExitStack() as stack:
        for name in ("secure", "other"):
            stack.enter_context(tls.server(name))
        cluster = Cluster(node)
        port = cluster.route(
            "hostnames: [a.example, '*.b.example']\n"
            "  rules: [{backendRefs: [{name: secure, port: 443}, {name: other, port: 443, weight: 0}]}]",
            "TLSRoute",
            443,
        )
        assert [tls.ask(port, name) for name in ("a.example", "x.b.example", "b.example")] == [
            "secure a.example",
            "secure x.b.example",
            CLOSED,
        ]
    assert cluster.conditions("TLSRoute")["Accepted"].status
