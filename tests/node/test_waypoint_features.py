"""Features of Routes from their manifests to what clients and servers see, where no other test does that."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.waypoint.ads import WAYPOINT
from support.waypoint.chance import bound
from support.waypoint.fixtures import PORTS, SERVERS, WaypointNode, wait_for, waypoint_node
from support.waypoint.manifests import ROUTE, Cluster
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.tls import CLOSED, TLSNode

pytestmark = pytest.mark.node
TIMES = 200
CALLER = """
import json, sys, grpc
target, metadata, method, times = sys.argv[1:]
with grpc.insecure_channel(target) as channel:
    for _ in range(int(times)):
        reply, call = channel.unary_unary(method).with_call(b"", timeout=10, metadata=json.loads(metadata))
        told = [(item.key, item.value) for item in call.initial_metadata() if isinstance(item.value, str)]
        print(json.dumps(json.loads(reply.partition(b"\\n")[0]) | {"told": told}))
"""
SPOKEN = """
apiVersion: v1
kind: Service
metadata: {{name: spoken, namespace: app}}
spec: {{clusterIP: 10.96.9.9, ports: [{{name: x, port: 80, appProtocol: {protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: spoken, namespace: app, labels: {{kubernetes.io/service-name: spoken}}}}
addressType: IPv4
ports: [{{name: x, port: {port}}}]
endpoints: [{{addresses: [{address}]}}]
"""


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def server(node: WaypointNode) -> Iterator[Recorder]:
    with recorder(node, "recorder") as made:
        yield made


@pytest.fixture
def cluster(node: WaypointNode, server: Recorder) -> Cluster:
    server.requests.clear()
    return Cluster(node)


def call(cluster: Cluster, port: int, method: str, times: int = 1, **metadata: str) -> list[dict[str, Any]]:
    """What the server saw of each call, and what the client was `told` with the answer."""
    argv = (f"{WAYPOINT}:{port}", json.dumps(list(metadata.items())), method, str(times))
    return [json.loads(line) for line in cluster.node.run(sys.executable, "-c", CALLER, *argv).splitlines()]


@pytest.mark.feature("appProtocol: http", "appProtocol: kubernetes.io/h2c", "appProtocol: grpc")
@pytest.mark.parametrize(
    ("protocol", "spoken"), [("http", "http/1.1"), ("kubernetes.io/h2c", "http/2"), ("grpc", "http/2")]
)
def test_a_backend_is_spoken_to_as_its_port_says(cluster: Cluster, protocol: str, spoken: str) -> None:
    cluster.apply(SPOKEN.format(protocol=protocol, port=PORTS["v1"], address=SERVERS))
    port = cluster.route("rules: [{backendRefs: [{name: spoken, port: 80}]}]")
    seen = cluster.node.ask(port, "/x").seen
    assert (seen["pod"], seen["path"], seen["protocol"]) == ("v1", "/x", spoken)


@pytest.mark.feature("appProtocol: none, of a GRPCRoute's backend: h2c")
def test_a_grpcroute_s_backend_without_appprotocol_is_spoken_to_in_http2(cluster: Cluster) -> None:
    manifest = SPOKEN.format(protocol="", port=PORTS["v1"], address=SERVERS)
    cluster.apply(manifest.replace(", appProtocol: ", ""))
    port = cluster.route("rules: [{backendRefs: [{name: spoken, port: 80}]}]", "GRPCRoute")
    (seen,) = call(cluster, port, "/a.B/C")
    assert (seen["pod"], seen["path"], seen["protocol"]) == ("v1", "/a.B/C", "grpc")


@pytest.mark.feature("appProtocol: kubernetes.io/ws")
def test_a_websocket_goes_through(cluster: Cluster) -> None:
    cluster.apply(SPOKEN.format(protocol="kubernetes.io/ws", port=PORTS["v1"], address=SERVERS))
    port = cluster.route("rules: [{backendRefs: [{name: spoken, port: 80}]}]")
    request = b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping"
    answer = cluster.node.raw(port, request, until=b"ping")
    assert answer.startswith(b"HTTP/1.1 101 ")


@pytest.mark.feature("HTTPRoute: RequestMirror, percent", "HTTPRoute: RequestMirror, fraction")
@pytest.mark.parametrize("share", ["percent: 25", "fraction: {numerator: 1, denominator: 4}"])
def test_a_share_of_requests_is_copied(cluster: Cluster, server: Recorder, share: str) -> None:
    mirror = f"{{type: RequestMirror, requestMirror: {{backendRef: {{name: recorder, port: 80}}, {share}}}}}"
    port = cluster.route(f"rules: [{{filters: [{mirror}], backendRefs: [{{name: v1, port: 80}}]}}]")
    assert cluster.node.pods(port, TIMES) == ["v1"] * TIMES
    least = TIMES / 4 - bound(0.25, TIMES)
    wait_for("enough copies", lambda: len(server.requests) > least)
    assert len(server.requests) < TIMES / 4 + bound(0.25, TIMES)


@pytest.mark.feature("HTTPRoute: named rules", "GRPCRoute: named rules")
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_the_name_of_a_rule_is_logged(cluster: Cluster, kind: str) -> None:
    port = cluster.route(f"rules: [{{name: {kind.lower()}-main, backendRefs: [{{name: v1, port: 80}}]}}]", kind)
    assert cluster.node.ask(port, "/a/b").pod == "v1"
    routes = cluster.node.ads.exchanges
    wait_for("the log", lambda: any(item.route == f"app/r/{kind.lower()}-main/0" for item in routes))


@pytest.mark.feature(
    "HTTPRoute: backends, other filters are refused: UnsupportedValue",
    "HTTPRoute: filters that exclude each other: IncompatibleFilters",
    "HTTPRoute: rules that cannot be done beside others: PartiallyInvalid",
)
@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (
            "backendRefs: [{name: v1, port: 80, filters: [{type: CORS, cors: {}}]}]",
            "UnsupportedValue",
            "spec.rules[0].backendRefs[0].filters[0].cors",
        ),
        (
            "filters: [{type: URLRewrite, urlRewrite: {hostname: a}}, {type: RequestRedirect, requestRedirect: {}}]",
            "IncompatibleFilters",
            "spec.rules[0].filters",
        ),
        (
            "filters: [{type: URLRewrite, urlRewrite: {hostname: a}}], "
            "backendRefs: [{name: v1, port: 80, filters: [{type: RequestRedirect, requestRedirect: {}}]}]",
            "IncompatibleFilters",
            "spec.rules[0].backendRefs[0].filters",
        ),
    ],
    ids=["backend-filter", "excluding", "excluding-the-backend-s"],
)
def test_a_rule_that_cannot_be_done_is_told_and_hurts_no_other(
    cluster: Cluster, bad: str, reason: str, field: str
) -> None:
    good = "{matches: [{path: {value: /good}}], backendRefs: [{name: v1, port: 80}]}"
    port = cluster.route(f"rules: [{{{bad}}}, {good}]")
    conditions = cluster.conditions()
    assert (conditions["Accepted"].status, conditions["PartiallyInvalid"].reason) == (True, "UnsupportedValue")
    assert field in conditions["PartiallyInvalid"].message
    assert [cluster.node.ask(port, path).status for path in ("/good", "/bad")] == [200, 404]
    cluster.apply(ROUTE.format(kind="HTTPRoute", port=80, spec=f"rules: [{{{bad}}}]"))
    accepted = cluster.conditions()["Accepted"]
    assert (accepted.status, accepted.reason) == (False, reason)
    assert field in accepted.message


@pytest.mark.feature("HTTPRoute: invalid backend of weight 0 breaks nothing")
def test_an_invalid_backend_of_weight_0_gets_no_request(cluster: Cluster) -> None:
    port = cluster.route("rules: [{backendRefs: [{name: gone, port: 80, weight: 0}, {name: v1, port: 80}]}]")
    assert cluster.node.pods(port, 30) == ["v1"] * 30
    assert cluster.conditions()["ResolvedRefs"].reason == "BackendNotFound"


@pytest.mark.feature(
    "GRPCRoute: RequestHeaderModifier",
    "GRPCRoute: ResponseHeaderModifier",
    "GRPCRoute: backends, RequestHeaderModifier",
    "GRPCRoute: backends, ResponseHeaderModifier",
    "GRPCRoute: match, header regular expression",
)
def test_metadata_of_calls_is_modified_at_both_ends(cluster: Cluster) -> None:
    port = cluster.route(
        """rules:
  - matches: [{method: {method: Say}, headers: [{name: who, value: 'm.', type: RegularExpression}]}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-set, value: new}], add: [{name: x-add, value: b}], remove: [x-gone]}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-answer, value: "yes"}]}}
    backendRefs:
    - name: v1
      port: 80
      filters:
      - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: one}]}}
      - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-from, value: one}]}}
  - backendRefs: [{name: v2, port: 80}]""",
        "GRPCRoute",
    )
    sent = {"x-set": "old", "x-add": "a", "x-gone": "c", "who": "me"}
    (found,) = call(cluster, port, "/a.B/Say", **sent)
    got = [tuple(item) for item in found["headers"] if item[0].startswith("x-") and item[0] != "x-forwarded-proto"]
    assert sorted(got) == [("x-add", "a"), ("x-add", "b"), ("x-backend", "one"), ("x-set", "new")]
    assert (found["pod"], found["path"]) == ("v1", "/a.B/Say")
    assert {("x-answer", "yes"), ("x-from", "one")} <= {tuple(item) for item in found["told"]}
    (other,) = call(cluster, port, "/a.B/Say", **{**sent, "who": "men"})
    assert (other["pod"], ["x-gone", "c"] in other["headers"], dict(other["told"]).get("x-answer")) == (
        "v2",
        True,
        None,
    )


@pytest.mark.feature("HTTPRoute: sessionPersistence, cookie's name and path")
def test_a_cookie_has_the_name_and_path_that_the_route_says(cluster: Cluster) -> None:
    port = cluster.route(
        "rules: [{sessionPersistence: {cookie: {name: seat, path: /cart}}, "
        "backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]}]"
    )
    answer = cluster.node.ask(port, "/cart/1")
    (cookie,) = answer.values("set-cookie")
    value, *attributes = [part.strip() for part in cookie.split(";")]
    assert value.startswith("seat=")
    assert "path=/cart" in [attribute.lower() for attribute in attributes]
    again = [cluster.node.ask(port, "/cart/2", headers=[("Cookie", value)]) for _ in range(20)]
    assert {item.pod for item in again} == {answer.pod}


@pytest.mark.feature("GRPCRoute: sessionPersistence", "HTTPRoute: sessionPersistence, header's name")
@pytest.mark.parametrize("name", ["sessionName: x-seat", "header: {name: x-seat}"])
def test_calls_of_a_session_go_to_one_endpoint(cluster: Cluster, name: str) -> None:
    port = cluster.route(
        f"rules: [{{sessionPersistence: {{type: Header, {name}}}, "
        "backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]}]",
        "GRPCRoute",
    )
    first = call(cluster, port, "/a.B/C", 40)
    assert {item["pod"] for item in first} == {"v1", "v2"}
    for pod in ("v1", "v2"):
        seat = next(dict(item["told"])["x-seat"] for item in first if item["pod"] == pod)
        assert {item["pod"] for item in call(cluster, port, "/a.B/C", 20, **{"x-seat": seat})} == {pod}


@pytest.mark.feature("Several Routes: GRPCRoute before HTTPRoute before TLSRoute before TCPRoute on one port")
@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [("HTTPRoute", "GRPCRoute"), ("TLSRoute", "HTTPRoute"), ("TCPRoute", "HTTPRoute"), ("TCPRoute", "GRPCRoute")],
)
def test_a_more_specific_kind_takes_the_port(cluster: Cluster, weaker: str, stronger: str) -> None:
    cluster.apply(ROUTE.format(kind=weaker, port=80, spec="rules: [{backendRefs: [{name: v2, port: 80}]}]"))
    assert cluster.conditions(weaker)["Accepted"].status
    port = cluster.route("rules: [{backendRefs: [{name: v1, port: 80}]}]", stronger)
    assert cluster.node.ask(port, "/a.B/C").pod == "v1"
    accepted = cluster.conditions(weaker)["Accepted"]
    assert (accepted.status, accepted.reason) == (False, "Conflicted")
    assert f"{stronger} app/r" in accepted.message


@pytest.mark.feature("Several Routes: GRPCRoute before HTTPRoute before TLSRoute before TCPRoute on one port")
def test_a_tlsroute_takes_the_port_of_a_tcproute(node: WaypointNode) -> None:
    tls, rules = TLSNode.of(node), "rules: [{{backendRefs: [{{name: {}, port: 443}}]}}]"
    with tls.server("secure"), tls.server("other"):
        cluster = Cluster(node)
        cluster.apply(ROUTE.format(kind="TCPRoute", port=443, spec=rules.format("other")))
        port = cluster.route(f"hostnames: [a.example]\n  {rules.format('secure')}", "TLSRoute", 443)
        assert [tls.ask(port, name) for name in ("a.example", "b.example")] == ["secure a.example", CLOSED]
        assert cluster.conditions("TCPRoute")["Accepted"].reason == "Conflicted"


@pytest.mark.feature("TLSRoute: a name of two Routes is the older one's")
def test_a_server_name_of_two_routes_is_the_older_one_s(node: WaypointNode) -> None:
    tls, rules = TLSNode.of(node), "hostnames: {}\n  rules: [{{backendRefs: [{{name: {}, port: 443}}]}}]"
    with tls.server("secure"), tls.server("other"):
        cluster = Cluster(node)
        old = ROUTE.format(kind="TLSRoute", port=443, spec=rules.format("[a.example]", "secure"))
        cluster.apply(old.replace("{name: r,", "{name: z, creationTimestamp: '2020-01-01T00:00:00Z',"))
        port = cluster.route(rules.format("[a.example, b.example]", "other"), "TLSRoute", 443)
        names = ("a.example", "b.example")
        assert [tls.ask(port, name) for name in names] == ["secure a.example", "other b.example"]
