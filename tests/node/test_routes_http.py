"""HTTPRoutes with real pods, the real kernel and the real Envoy: what clients and servers see."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import OTHER_CLIENT, OUTSIDER, get, settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Namespaces app and other in mode l7, outside in none; Service echo has two versions."""
    return make_lab("routes", [Path(__file__).with_name("routes.yaml")], agent=True)


@pytest.fixture
def route(mesh: LabHandle) -> Iterator[Callable[..., None]]:
    """Apply Routes and wait until they work; they are deleted after the test."""
    applied: list[str] = []

    def apply(rules: str, parent: str = "{name: echo, port: 80}", name: str = "r", namespace: str = "app") -> None:
        manifest = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{group: "", kind: Service, namespace: app, {parent.strip("{}")}}}]
  rules: {rules}
"""
        mesh.apply(manifest)
        applied.append(manifest)
        settle(mesh, lambda status: any(item["name"] == name for item in status["routes"]))

    yield apply
    for manifest in applied:
        mesh.delete(manifest)
    settle(mesh, lambda status: not status["routes"])


def test_matches_by_path_header_query_and_method_in_order_of_precedence(mesh, route):
    route("""
    - {matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: v1, port: 80}]}
    - matches: [{path: {type: PathPrefix, value: /v2}}, {headers: [{name: version, value: two}]}]
      backendRefs: [{name: v2, port: 80}]
    - {matches: [{path: {type: Exact, value: /v2/exact}}], backendRefs: [{name: v1, port: 80}]}
    - {matches: [{path: {type: RegularExpression, value: "/n[0-9]+"}}], backendRefs: [{name: v2, port: 80}]}
    - {matches: [{queryParams: [{name: animal, value: whale}]}], backendRefs: [{name: v2, port: 80}]}
    - {matches: [{method: DELETE}], backendRefs: [{name: v2, port: 80}]}
    """)
    expected = {
        ("/",): "v1",
        ("/v2",): "v2",
        ("/v2/a",): "v2",
        ("/v2example",): "v1",
        ("/foo/v2",): "v1",
        ("/v2/exact",): "v1",
        ("/n12",): "v2",
        ("/n12x",): "v1",
        ("/?animal=whale",): "v2",
        ("/?animal=whaledolphin",): "v1",
        ("/", "-H", "Version: two"): "v2",
        ("/", "-X", "DELETE"): "v2",
    }
    found = {case: get(mesh, f"http://echo{case[0]}", *case[1:]).pod for case in expected}
    assert found == expected


def test_no_match_is_404_and_another_port_is_untouched(mesh, route):
    route("[{matches: [{path: {type: Exact, value: /only}}], backendRefs: [{name: v1, port: 80}]}]")
    assert get(mesh, "http://echo/only").status == 200
    assert get(mesh, "http://echo/else").status == 404
    assert get(mesh, "http://echo:8080/else").status == 200


def test_an_invalid_backend_s_share_is_500_and_no_endpoint_is_503(mesh, route):
    route("""
    - {matches: [{path: {value: /gone}}], backendRefs: [{name: nobody, port: 80}]}
    - {matches: [{path: {value: /none}}]}
    - {matches: [{path: {value: /empty}}], backendRefs: [{name: empty, port: 80}]}
    - {matches: [{path: {value: /zero}}], backendRefs: [{name: nobody, port: 80, weight: 0}, {name: v1, port: 80}]}
    """)
    found = [get(mesh, f"http://echo/{path}").status for path in ("gone", "none", "empty", "zero")]
    assert found == [500, 500, 503, 200]


def test_headers_are_modified_at_both_ends(mesh, route):
    route("""
    - filters:
        - type: RequestHeaderModifier
          requestHeaderModifier:
            {set: [{name: X-Set, value: "50%"}], add: [{name: X-Add, value: more}], remove: [x-remove]}
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: X-Answer, value: "yes"}], remove: [content-type]}
      backendRefs:
        - name: v1
          port: 80
          filters:
            - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Backend, value: one}]}}
    """)
    answer = get(mesh, "http://echo/", "-H", "X-Set: old", "-H", "X-Add: some", "-H", "X-Remove: it")
    assert answer.received("x-set") == ["50%"]
    assert ",".join(answer.received("x-add")).replace(" ", "") == "some,more"
    assert answer.received("x-remove") == []
    assert answer.received("x-backend") == ["one"]
    assert answer.headers["x-answer"] == "yes"
    assert "content-type" not in answer.headers


@pytest.mark.feature(
    "HTTPRoute: RequestRedirect, scheme",
    "HTTPRoute: RequestRedirect, hostname",
    "HTTPRoute: RequestRedirect, port",
    "HTTPRoute: RequestRedirect, full path",
    "HTTPRoute: RequestRedirect, path prefix",
)
@pytest.mark.parametrize(
    ("redirect", "status", "location"),
    [
        ("{hostname: example.org}", 302, "http://example.org/old/page?a=b"),
        ("{statusCode: 308}", 308, "http://echo/old/page?a=b"),
        ("{scheme: https}", 302, "https://echo/old/page?a=b"),
        ("{port: 8083, statusCode: 301}", 301, "http://echo:8083/old/page?a=b"),
        ("{path: {type: ReplaceFullPath, replaceFullPath: /new}}", 302, "http://echo/new?a=b"),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}", 302, "http://echo/new/page?a=b"),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}", 302, "http://echo/page?a=b"),
    ],
)
def test_redirects_name_the_right_location(mesh, route, redirect, status, location):
    route(f"""
    - matches: [{{path: {{value: /old}}}}]
      filters: [{{type: RequestRedirect, requestRedirect: {redirect}}}]
    """)
    answer = get(mesh, "http://echo/old/page?a=b")
    assert (answer.status, answer.headers["location"]) == (status, location)


@pytest.mark.feature("HTTPRoute: URLRewrite*")
@pytest.mark.parametrize(
    ("rewrite", "path", "host"),
    [
        ("{hostname: inner.example}", "/old/page?a=b", "inner.example"),
        ("{path: {type: ReplaceFullPath, replaceFullPath: /new}}", "/new?a=b", "echo"),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}", "/new/page?a=b", "echo"),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}", "/page?a=b", "echo"),
    ],
)
def test_rewrites_are_seen_by_the_server(mesh, route, rewrite, path, host):
    route(f"""
    - matches: [{{path: {{value: /old}}}}]
      filters: [{{type: URLRewrite, urlRewrite: {rewrite}}}]
      backendRefs: [{{name: v1, port: 80}}]
    """)
    answer = get(mesh, "http://echo/old/page?a=b")
    assert (answer.status, answer.seen["path"], answer.seen["host"]) == (200, path, host)


def test_a_request_timeout_is_504(mesh, route):
    route("[{timeouts: {request: 100ms}, backendRefs: [{name: v1, port: 80}]}]")
    assert get(mesh, "http://echo/?wait=2").status == 504
    assert get(mesh, "http://echo/").status == 200


def test_the_address_decides_and_not_the_host(mesh, route):
    route("[{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-routed, value: v2}]}}], "
          "backendRefs: [{name: v2, port: 80}]}]", parent="{name: v2, port: 80}")  # fmt: skip
    there = get(mesh, "http://v2/", "-H", "Host: v1")
    assert (there.pod, there.headers.get("x-routed"), there.seen["host"]) == ("v2", "v2", "v1")
    here = get(mesh, "http://v1/", "-H", "Host: v2")
    assert (here.pod, here.headers.get("x-routed")) == ("v1", None)


def test_a_pod_s_own_address_is_not_routed(mesh, route):
    route("[{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-routed, value: a}]}}], "
          "backendRefs: [{name: v1, port: 80}]}]")  # fmt: skip
    assert get(mesh, "http://echo/").headers.get("x-routed") == "a"
    address = get(mesh, "http://v1/").seen["local"].rpartition(":")[0]
    assert get(mesh, f"http://{address}:8080/").headers.get("x-routed") is None


@pytest.mark.feature("Several Routes: a consumer's replaces the producer's")
def test_a_consumer_route_is_for_its_own_clients_and_replaces_the_producer_s(mesh, route):
    header = "{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-by, value: {}}}]}}}}"
    route(f"[{{filters: [{header.format('producer')}], backendRefs: [{{name: v1, port: 80}}]}}]")
    route(
        f"[{{filters: [{header.format('consumer')}], backendRefs: [{{name: v2, namespace: app, port: 80}}]}}]",
        name="mine",
        namespace="other",
    )
    own, others = get(mesh, "http://echo.app/", client=OTHER_CLIENT), get(mesh, "http://echo.app/")
    assert (own.headers.get("x-by"), own.pod) == ("consumer", "v2")
    assert (others.headers.get("x-by"), others.pod) == ("producer", "v1")
    assert get(mesh, "http://echo.app/", client=OUTSIDER).headers.get("x-by") is None


def test_what_is_not_built_is_said_and_the_service_goes_on(mesh, route):
    own = "{type: ExtensionRef, extensionRef: {group: example.com, kind: Filter, name: own}}"
    route(f"[{{filters: [{own}], backendRefs: [{{name: v1, port: 80}}]}}]")
    (found,) = mesh.status()["routes"]
    accepted = found["parents"][0]["conditions"][0]
    assert (accepted["status"], accepted["reason"]) == ("False", "UnsupportedValue")
    assert "spec.rules[0].filters[0].extensionRef" in accepted["message"]
    assert get(mesh, "http://echo/").status == 200


def test_a_request_reaches_the_server_as_it_was_sent(mesh, route):
    route("[{backendRefs: [{name: v1, port: 80}]}]")
    sent = [
        ("Host", "echo"),
        ("X-MiXeD", "Case"),
        ("User-Agent", "a"),
        ("Accept", "*/*"),
        ("X-Forwarded-Proto", "https"),
    ]
    options = [word for name, value in sent[1:] for word in ("-H", f"{name}: {value}")]
    assert sorted(map(tuple, get(mesh, "http://echo/", *options).seen["headers"])) == sorted(sent)
    assert get(mesh, "http://echo/", "--http1.0").status == 200
