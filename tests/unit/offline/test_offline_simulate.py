"""`weft simulate`: which way a request goes, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from offline_fixtures import MESH, ROUTE, weft, write

from agent.simulate.question import QuestionError, question

TCP = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: split, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 5432}]
  rules: [{backendRefs: [{name: web, port: 5432, weight: 3}, {name: gone, port: 1, weight: 1}]}]
"""
CONSUMER = ROUTE.replace("{name: r, namespace: app}", "{name: mine, namespace: shop}").replace(
    "name: web, port: 80}]\n", "name: web, namespace: app, port: 80}]\n", 1
)
SPECIAL = """
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: app}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: app}
spec: {type: ExternalName, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: own, namespace: plain, labels: {weft.dev/mode: l7}}
spec: {nodeName: east-1}
status: {phase: Running, podIP: 10.1.0.9}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: app}
status: {phase: Succeeded}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "manifests", mesh=MESH)


def asked(folder: Path, pod: str, url: str, *options: str, method: str = "GET") -> dict[str, Any]:
    done = weft("simulate", "-f", folder, "--from", pod, method, url, "-o", "json", *options)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("pod", "url", "path", "why"),
    [
        ("plain/a", "http://web.app/", "none", "neither the Pod nor Namespace plain has a label"),
        ("app/a", "http://web/", "waypoint", "HTTPRoute app/r applies to this port, and the client is in mode l7"),
        ("shop/a", "http://web.app.svc.cluster.local./", "waypoint", "and the Service is in mode l7"),
        ("app/a", "http://web.app.svc:80", "waypoint", "HTTPRoute app/r"),
        ("app/a", "tcp://web:5432", "kernel", "no Route applies to this port"),
        ("app/a", "http://web:81/", "none", "is no Service's address and port"),
        ("app/a", "udp://web:80", "none", "is no Service's address and port"),
        ("app/a", "http://10.1.0.1:8080/", "none", "10.1.0.1:8080/TCP is no Service's address and port"),
        ("app/a", "http://[fd00::1]/", "none", "[fd00::1]:80/TCP is no Service's address and port"),
        ("shop/a", "http://web/", "none", "web is no Service that is known here"),
        ("app/a", "http://example.org/", "none", "example.org is no Service that is known here"),
        ("app/a", "http://headless/", "none", "is headless: weft leaves it alone"),
        ("app/a", "http://outside/", "none", "is an ExternalName"),
        ("plain/own", "http://web.app/", "waypoint", "the client is in mode l7"),
    ],
)
def test_which_way(folder: Path, pod: str, url: str, path: str, why: str) -> None:
    found = asked(write(folder, route=ROUTE, special=SPECIAL), pod, url)
    assert found["path"] == path
    assert why in found["why"]
    assert ("waypoint" in found, "backends" in found) == (path == "waypoint", path == "kernel")


def test_two_ends_in_mode_l4_do_without_an_httproute(folder: Path) -> None:
    write(folder, mesh=MESH.replace("weft.dev/mode: l7", "weft.dev/mode: l4"), route=ROUTE)
    found = asked(folder, "shop/a", "http://web.app/")
    assert (found["path"], found["routes"]) == ("kernel", ["HTTPRoute app/r"])
    assert found["why"].endswith("but neither end is in mode l7")


def test_a_consumer_s_own_route_is_for_its_clients_only(folder: Path) -> None:
    write(folder, route=ROUTE, consumer=CONSUMER)
    by_client = {pod: asked(folder, pod, "http://web.app/") for pod in ("app/a", "shop/a")}
    assert {pod: found["routes"] for pod, found in by_client.items()} == {
        "app/a": ["HTTPRoute app/r"],
        "shop/a": ["HTTPRoute shop/mine"],
    }
    assert by_client["shop/a"]["waypoint"]["clients"] == "namespace shop"


def test_shares_in_the_kernel(folder: Path) -> None:
    found = asked(write(folder, tcp=TCP), "shop/a", "tcp://web.app:5432")
    assert found["backends"] == [
        {"backend": "10.1.0.1:5432", "share": pytest.approx(0.375)},
        {"backend": "10.1.0.2:5432", "share": pytest.approx(0.375)},
        {"backend": "refused", "share": pytest.approx(0.25)},
    ]
    assert found["services"] == [{"service": "app/web:5432", "share": 0.75}, {"service": "app/gone:1", "share": 0.25}]


def test_no_endpoint_is_refused(folder: Path) -> None:
    write(folder, mesh=MESH.replace("kubernetes.io/service-name: web", "kubernetes.io/service-name: other"))
    found = asked(folder, "shop/a", "tcp://web.app:5432")
    assert found["backends"] == [{"backend": "refused", "share": 1.0}]
    assert found["services"] == [{"service": "app/web:5432", "share": 1.0}]
    assert "Service app/web has no EndpointSlice in the manifests: nothing is behind it here" in found["notes"]


def test_a_backend_without_slices_is_told_of(folder: Path) -> None:
    other = "apiVersion: v1\nkind: Service\nmetadata: {name: v2, namespace: app}\nspec: {ports: [{port: 80}]}\n"
    write(folder, other=other, route=ROUTE.replace("backendRefs: [{name: web,", "backendRefs: [{name: v2,"))
    found = asked(folder, "app/a", "http://web/")
    assert found["waypoint"]["shares"][0]["status"] == 503
    assert "Service app/v2 has no EndpointSlice in the manifests: nothing is behind it here" in found["notes"]


def test_the_node_and_the_zone_choose_endpoints(folder: Path) -> None:
    hints = "{addresses: [10.1.0.1], hints: {forZones: [{name: east}]}}"
    mesh = MESH.replace("{addresses: [10.1.0.1]}", hints).replace(
        "10.1.0.2]", "10.1.0.2], hints: {forZones: [{name: w}]}"
    )
    write(folder, mesh=mesh)
    found = asked(folder, "shop/a", "tcp://web.app:5432", "--zone", "east")
    assert [item["backend"] for item in found["backends"]] == ["10.1.0.1:5432"]
    assert len(asked(folder, "shop/a", "tcp://web.app:5432")["backends"]) == 2


def test_the_node_is_the_pod_s(folder: Path) -> None:
    mesh = MESH.replace("spec: {ports", "spec: {internalTrafficPolicy: Local, ports").replace(
        "{addresses: [10.1.0.1]}", "{addresses: [10.1.0.1], nodeName: east-1}"
    )
    write(folder, mesh=mesh, special=SPECIAL)
    found = asked(folder, "plain/own", "tcp://web.app:5432")
    assert [item["backend"] for item in found["backends"]] == ["10.1.0.1:5432"]


RULES = """
  rules:
  - name: moved
    matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example, statusCode: 301}}]
  - matches: [{path: {value: /api}, headers: [{name: X-Who, value: me}]}, {path: {value: /v2}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: inner, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-Via, value: weft}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [Server]}}
    timeouts: {request: 2s, backendRequest: 1s}
    backendRefs: [{name: web, port: 80, weight: 9}, {name: gone, port: 80, weight: 1}]
  - matches: [{path: {value: /none}}]
"""


@pytest.fixture
def routed(folder: Path) -> Path:
    route = ROUTE.partition("  rules:")[0] + RULES.lstrip("\n")
    empty = "apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: app}\nspec: {ports: [{port: 80}]}\n"
    return write(folder, route=route, empty=empty)


def test_a_rule_with_everything(routed: Path) -> None:
    found = asked(routed, "app/a", "http://web/api/x?q=1", "-H", "x-who: me")["waypoint"]
    assert found["rule"]["route"] == "HTTPRoute app/r"
    assert (found["rule"]["rule"], found["rule"]["matchIndex"]) == ("1", 0)
    assert found["rule"]["match"] == {
        "path": {"type": "PathPrefix", "value": "/api"},
        "headers": [{"name": "X-Who", "value": "me", "type": "Exact"}],
    }
    assert found["rule"]["timeouts"] == {"requestMs": 2000, "backendRequestMs": 1000}
    valid, invalid = found["shares"]
    assert valid["request"] == {"method": "GET", "authority": "inner", "target": "/x?q=1"}
    assert (valid["share"], valid["backend"], valid["status"]) == (0.9, "app/web:80/http", None)
    assert valid["endpoints"] == ["10.1.0.1:8080", "10.1.0.2:8080"]
    assert valid["headers"] == ["x-who: me", "x-forwarded-proto: http", "X-Via: weft"]
    assert valid["responseHeaders"] == [{"remove": ["Server"]}]
    assert (invalid["share"], invalid["backend"], invalid["status"]) == (0.1, "invalid", 500)


@pytest.mark.parametrize(
    ("target", "status", "location", "rule"),
    [
        ("/old?q", 301, "http://new.example/old?q", "moved"),
        ("/none", 500, None, "2"),
        ("/elsewhere", 404, None, None),
        ("/api", 404, None, None),
    ],
)
def test_what_the_waypoint_answers_itself(
    routed: Path, target: str, status: int, location: str | None, rule: str | None
) -> None:
    found = asked(routed, "app/a", f"http://web{target}")["waypoint"]
    assert (found["status"], found["location"], found["shares"]) == (status, location, [])
    assert (found["rule"] or {}).get("rule") == rule


def test_a_backend_without_endpoints_is_503(folder: Path) -> None:
    write(folder, route=ROUTE, mesh=MESH.replace("endpoints: [{addresses: [10.1.0.1]}, ", "endpoints: []\n# "))
    (share,) = asked(folder, "app/a", "http://web/")["waypoint"]["shares"]
    assert (share["endpoints"], share["status"]) == ([], 503)


def test_what_is_assumed_is_said(folder: Path) -> None:
    assert asked(write(folder, route=ROUTE, bad="kind: ["), "app/a", "http://web/")["notes"] == [
        "Pod app/a is not in the manifests: one without labels is assumed",
        "Service app/web has no cluster IP yet: 198.18.0.1 is assumed",
        "1 objects or documents cannot be used: see weft lint",
    ]


@pytest.mark.parametrize(("url", "note"), [("https://web:80/", "TLS handshake"), ("tcp://web:80", "not HTTP")])
def test_what_is_not_clear_http_is_warned_of(folder: Path, url: str, note: str) -> None:
    assert any(note in text for text in asked(write(folder, route=ROUTE), "app/a", url)["notes"])


def test_a_pod_that_does_not_say_why_it_is_not_enrolled(folder: Path) -> None:
    system = "apiVersion: v1\nkind: Namespace\nmetadata: {name: weft-system, labels: {weft.dev/mode: l7}}\n"
    found = asked(write(folder, system=system), "weft-system/a", "http://web.app/")
    assert found["path"] == "none"
    assert "Pod weft-system/a: not enrolled: weft never captures itself" in found["notes"]


def test_the_text_says_the_same(routed: Path) -> None:
    done = weft("simulate", "-f", routed, "--from", "app/a", "get", "http://web/v2/x")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert ["request", "GET /x, host inner"] in lines
    assert ["backend", "90.0%  app/web:80/http: 10.1.0.1:8080, 10.1.0.2:8080"] in lines
    assert ["backend", "10.0%  invalid: 500 from the waypoint"] in lines
    assert ["timeout", "requestMs 2000"] in lines


def test_the_text_of_a_kernel_s_answer_and_of_a_refusal(routed: Path) -> None:
    kernel = weft("simulate", "-f", routed, "--from", "app/a", "GET", "tcp://web:5432").stdout
    assert "backend    50.0%  10.1.0.1:5432\n" in kernel
    redirect = weft("simulate", "-f", routed, "--from", "app/a", "GET", "http://web/old").stdout
    assert "301 from the waypoint, location http://new.example/old\n" in redirect
    none = weft("simulate", "-f", routed, "--from", "app/a", "GET", "http://web/elsewhere").stdout
    assert "none of route set app/web:80 matches\n" in none


@pytest.mark.parametrize(
    ("pod", "url", "header", "message"),
    [
        ("app", "http://web", "a:b", "'app' is not NAMESPACE/POD"),
        ("app/a", "web", "a:b", "is not http, https, tcp, udp and ://HOST"),
        ("app/a", "ftp://web", "a:b", "is not http, https, tcp, udp and ://HOST"),
        ("app/a", "http://web:99999", "a:b", "out of range"),
        ("app/a", "tcp://web", "a:b", "has no port"),
        ("app/a", "http://web", "a", "--header: 'a' is not NAME:VALUE"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(pod: str, url: str, header: str, message: str) -> None:
    with pytest.raises(QuestionError, match=message.replace("(", r"\(")):
        question(pod, "GET", url, [header])


def test_a_pod_that_has_ended_asks_nothing(folder: Path) -> None:
    done = weft("simulate", "-f", write(folder, special=SPECIAL), "--from", "app/done", "GET", "http://web")
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://web", "web", "/"),
        ("http://web:80/a?b#c", "web", "/a?b"),
        ("http://web:8080", "web:8080", "/"),
        ("https://web:443/", "web", "/"),
        ("https://web:80/", "web:80", "/"),
        ("http://[fd00::1]/", "[fd00::1]", "/"),
        ("http://[fd00::1]:81/", "[fd00::1]:81", "/"),
    ],
)
def test_a_url_is_sent_as_clients_send_it(url: str, authority: str, target: str) -> None:
    made = question("app/a", "GET", url, []).request
    assert (made.authority, made.target) == (authority, target)


TLS = """
apiVersion: v1
kind: Service
metadata: {name: tls, namespace: app}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: t, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: tls}]
  hostnames: [tls.app]
  rules: [{backendRefs: [{name: web, port: 80, weight: 3}, {name: gone, port: 1}]}]
"""


def test_tls_is_passed_through_by_its_server_name(folder: Path) -> None:
    found = asked(write(folder, tls=TLS), "app/a", "https://tls.app/")
    assert (found["path"], found["waypoint"]["serverName"]) == ("waypoint", "tls.app")
    assert found["waypoint"]["rule"] == {"route": "TLSRoute app/t", "rule": "0", "serverNames": ["tls.app"]}
    assert found["waypoint"]["shares"] == [
        {"share": 0.75, "backend": "app/web:80/tcp", "endpoints": ["10.1.0.1:8080", "10.1.0.2:8080"]},
        {"share": 0.25, "backend": "invalid", "endpoints": []},
    ]
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "https://tls.app/").stdout
    assert "rule      TLSRoute app/t, rule 0, for tls.app\n" in text
    assert "25.0%  invalid: closed\n" in text


@pytest.mark.parametrize("url", ["https://tls/", "https://198.18.0.1/", "http://tls.app:443/"])
def test_what_no_tlsroute_names_is_closed(folder: Path, url: str) -> None:
    found = asked(write(folder, tls=TLS), "app/a", url)
    assert (found["waypoint"]["rule"], found["waypoint"]["shares"]) == (None, [])
    assert any("not TLS is closed" in note for note in found["notes"]) == url.startswith("http:")
    assert "closed\n" in weft("simulate", "-f", folder, "--from", "app/a", "GET", url).stdout


def test_a_tlsroute_between_two_ends_in_mode_l4_is_left_out(folder: Path) -> None:
    write(folder, tls=TLS, mesh=MESH.replace("weft.dev/mode: l7", "weft.dev/mode: l4"))
    assert asked(folder, "app/a", "https://tls/")["why"].endswith("but neither end is in mode l7")


def test_copies_attempts_sessions_and_origins(folder: Path) -> None:
    rule = """
  - filters:
    - {type: RequestMirror, requestMirror: {percent: 10, backendRef: {name: web, port: 80}}}
    - {type: CORS, cors: {allowOrigins: ["http://here"]}}
    retry: {attempts: 3, codes: [503]}
    sessionPersistence: {sessionName: s}
    backendRefs: [{name: web, port: 80}]
"""
    write(folder, route=ROUTE.partition("  rules:")[0] + "  rules:" + rule)
    found = asked(folder, "app/a", "http://web/", "-H", "Origin: http://here")["waypoint"]
    assert found["rule"]["mirrors"] == [{"backend": "app/web:80/http", "share": 0.1}]
    assert found["rule"]["retry"] == {"attempts": 3, "codes": [503], "backoff": None}
    assert found["rule"]["session"] == {"by": "cookie", "name": "s", "seconds": None}
    assert found["originAllowed"] is True
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "http://web/", "-H", "Origin: http://x").stdout
    assert "origin    not allowed\n" in text
    assert 'retry     {"attempts": 3, "codes": [503], "backoff": null}\n' in text


def test_affinity_is_told(folder: Path) -> None:
    write(folder, mesh=MESH.replace("spec: {ports", "spec: {sessionAffinity: ClientIP, ports"))
    assert asked(folder, "shop/a", "tcp://web.app:5432")["affinitySeconds"] == 10800
    text = weft("simulate", "-f", folder, "--from", "shop/a", "GET", "tcp://web.app:5432").stdout
    assert "affinity  a client keeps its backend for 10800 s\n" in text


def test_a_port_that_is_only_seen_goes_to_its_service(tmp_path: Path):
    seen = MESH.replace("{name: app, labels: {weft.dev/mode: l7}}", "{name: app, labels: {weft.dev/l7-scope: all}}")
    folder = write(tmp_path / "seen", mesh=seen, pods=SPECIAL)
    found = asked(folder, "plain/own", "http://web.app/any")
    assert found["why"] == "the label weft.dev/l7-scope asks for it, and the client is in mode l7"
    assert (found["onWaypointLoss"], found["routes"]) == ("kernel", [])
    assert (found["waypoint"]["rule"]["route"], found["waypoint"]["rule"]["rule"]) == ("Service app/web", "unrouted")
    (share,) = found["waypoint"]["shares"]
    assert (share["backend"], len(share["endpoints"])) == ("app/web:80/same", 2)
    assert asked(folder, "plain/own", "tcp://web.app:5432")["path"] == "kernel"
