"""`weft simulate`: what becomes of a request, or a TLS connection, at the waypoint."""

from pathlib import Path

import pytest

from support.explain import MESH, ROUTE, SPECIAL, simulated, weft, write

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
    found = simulated(routed, "app/a", "http://web/api/x?q=1", "-H", "x-who: me")["waypoint"]
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
    found = simulated(routed, "app/a", f"http://web{target}")["waypoint"]
    assert (found["status"], found["location"], found["shares"]) == (status, location, [])
    assert (found["rule"] or {}).get("rule") == rule


def test_a_backend_without_endpoints_is_503(folder: Path) -> None:
    write(folder, route=ROUTE, mesh=MESH.replace("endpoints: [{addresses: [10.1.0.1]}, ", "endpoints: []\n# "))
    (share,) = simulated(folder, "app/a", "http://web/")["waypoint"]["shares"]
    assert (share["endpoints"], share["status"]) == ([], 503)


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
    assert "no rule of listener app/web:80 matches\n" in none


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


OPEN = {"policies": [], "refusedBy": None, "refusal": None, "audit": None}
PASSED = OPEN | {"proxyProtocol": None}


def test_tls_is_passed_through_by_its_server_name(folder: Path) -> None:
    found = simulated(write(folder, tls=TLS), "app/a", "https://tls.app/")
    assert (found["path"], found["waypoint"]["serverName"]) == ("waypoint", "tls.app")
    assert found["waypoint"]["rule"] == {"route": "TLSRoute app/t", "rule": "0", "serverNames": ["tls.app"]}
    assert found["waypoint"]["shares"] == [
        {"share": 0.75, "backend": "app/web:80/tcp", "endpoints": ["10.1.0.1:8080", "10.1.0.2:8080"]} | PASSED,
        {"share": 0.25, "backend": "invalid", "endpoints": []} | PASSED,
    ]
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "https://tls.app/").stdout
    assert "rule      TLSRoute app/t, rule 0, for tls.app\n" in text
    assert "25.0%  invalid: closed\n" in text


@pytest.mark.parametrize("url", ["https://tls/", "https://198.18.0.1/", "http://tls.app:443/"])
def test_what_no_tlsroute_names_is_closed(folder: Path, url: str) -> None:
    found = simulated(write(folder, tls=TLS), "app/a", url)
    assert (found["waypoint"]["rule"], found["waypoint"]["shares"]) == (None, [])
    assert any("expects TLS on this port" in note for note in found["notes"]) == url.startswith("http:")
    assert "closed\n" in weft("simulate", "-f", folder, "--from", "app/a", "GET", url).stdout


def test_a_tlsroute_between_two_ends_in_mode_l4_is_left_out(folder: Path) -> None:
    write(folder, tls=TLS, mesh=MESH.replace("weft.dev/mode: l7", "weft.dev/mode: l4"))
    assert simulated(folder, "app/a", "https://tls/")["reason"].endswith("but neither end is in mode l7")


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
    found = simulated(folder, "app/a", "http://web/", "-H", "Origin: http://here")["waypoint"]
    assert found["rule"]["mirrors"] == [{"backend": "app/web:80/http", "share": 0.1}]
    assert found["rule"]["retry"] == {"attempts": 3, "codes": [503], "backoff": None}
    assert found["rule"]["session"] == {"by": "cookie", "name": "s", "path": None, "seconds": None}
    assert found["originAllowed"] is True
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "http://web/", "-H", "Origin: http://x").stdout
    assert "origin    not allowed\n" in text
    assert 'retry     {"attempts": 3, "codes": [503], "backoff": null}\n' in text


def test_a_port_that_is_only_seen_goes_to_its_service(tmp_path: Path):
    seen = MESH.replace("{name: app, labels: {weft.dev/mode: l7}}", "{name: app, labels: {weft.dev/l7-scope: all}}")
    folder = write(tmp_path / "seen", mesh=seen, pods=SPECIAL)
    found = simulated(folder, "plain/own", "http://web.app/any")
    assert found["reason"] == "the label weft.dev/l7-scope requires it, and the client is in mode l7"
    assert (found["onWaypointLoss"], found["routes"]) == ("kernel", [])
    assert (found["waypoint"]["rule"]["route"], found["waypoint"]["rule"]["rule"]) == ("Service app/web", "unrouted")
    (share,) = found["waypoint"]["shares"]
    assert (share["backend"], len(share["endpoints"])) == ("app/web:80/same", 2)
    assert simulated(folder, "plain/own", "tcp://web.app:5432")["path"] == "kernel"


def test_a_server_gets_the_identity_of_the_client_where_its_service_asks_for_it(folder: Path) -> None:
    noted = MESH.replace("{name: web, namespace: app}", "{name: web, namespace: app, annotations: {NOTE}}")
    forged = ("-H", "x-forwarded-client-cert: URI=spiffe://a/b")
    expected = "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/app/sa/web"
    client = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: app}, spec: {serviceAccountName: web}}"
    for note, there in (("weft.dev/client-identity: xfcc", [expected]), ("weft.dev/client-identity: other", [])):
        write(folder, mesh=noted.replace("NOTE", note), route=ROUTE, client=client)
        (share,) = simulated(folder, "app/a", "http://web/", *forged)["waypoint"]["shares"]
        assert [text for text in share["headers"] if "client-cert" in text] == there


def test_a_server_of_bytes_gets_the_identity_of_the_client_where_its_service_asks_for_it(folder: Path) -> None:
    noted = MESH.replace("{name: web, namespace: app}", "{name: web, namespace: app, annotations: {NOTE}}")
    note = "weft.dev/client-identity: proxy-protocol"
    client = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: app}, spec: {serviceAccountName: web}}"
    write(folder, mesh=noted.replace("NOTE", note), tls=TLS, client=client)
    served, invalid = simulated(folder, "app/a", "https://tls.app/")["waypoint"]["shares"]
    assert served["proxyProtocol"] == {"version": 2, "tlv": 0xE5, "identity": "spiffe://cluster.local/ns/app/sa/web"}
    assert invalid["proxyProtocol"] is None
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "https://tls.app/").stdout
    assert "header            PROXY protocol v2, TLV 0xe5: spiffe://cluster.local/ns/app/sa/web\n" in text
    unknown = client.replace(", spec: {serviceAccountName: web}", ", spec: {}")
    write(folder, client=unknown)
    text = weft("simulate", "-f", folder, "--from", "app/a", "GET", "https://tls.app/").stdout
    assert "TLV 0xe5: empty, the client is not known\n" in text
    found = weft("lint", folder).output
    assert "have no header of the PROXY protocol: no TLSRoute applies there" in found
