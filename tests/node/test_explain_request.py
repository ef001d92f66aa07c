"""`weft explain` of requests: what it says the waypoint does is what the waypoint does, and `--live` tells."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.lab import lifecycle
from agent.settings import PINS, STATUS_SOCKET
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OTHER_CLIENT, settle

pytestmark = pytest.mark.node
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules:
  - name: canary
    matches: [{path: {type: PathPrefix, value: /v2}, headers: [{name: who, value: me}], method: POST}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: "yes"}]}}
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    backendRefs: [{name: v1, port: 80, weight: 3}, {name: v2, port: 80, weight: 1}]
  - {matches: [{path: {value: /v1}}], backendRefs: [{name: v1, port: 80}]}
  - {matches: [{path: {value: /moved}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: there}}]}
  - {matches: [{path: {value: /gone}}], backendRefs: [{name: nobody, port: 80}]}
  - {matches: [{path: {value: /empty}}], backendRefs: [{name: empty, port: 80}]}
  - {matches: [{path: {value: /deaf}}], backendRefs: [{name: deaf, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: deaf, namespace: app}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: 4}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 7070}]
  rules: [{matches: [{method: {service: app.Echo}}], backendRefs: [{name: nobody, port: 7070}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: secure, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 9090}]
  hostnames: [echo.app]
  rules: [{backendRefs: [{name: v2, port: 9090}]}]
"""
POST = ("--method", "POST", "-H", "Who: me")


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, with a Route of each kind that the waypoint reads."""
    lab = make_lab("request", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply(ROUTE)
    settle(lab, lambda status: len(status["routes"]) == 3)
    return lab


def weft(mesh: LabHandle, *argv: str, state: Path | None = None) -> list[str]:
    """The command that explains something to this lab's client."""
    command = (sys.executable, "-m", "agent", "explain", "--state", str(state or mesh.paths.state), CLIENT, *argv)
    return lifecycle.node_command(mesh.paths, command)


def explain(mesh: LabHandle, *argv: str) -> Any:
    """The one answer, as JSON, and what the exit code says."""
    done = subprocess.run(weft(mesh, "-o", "json", *argv), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    (found,) = json.loads(done.stdout)
    return found, done.returncode


def test_a_request_goes_on_by_rule_match_filters_and_shares(mesh: LabHandle) -> None:
    found, _ = explain(mesh, "http://echo/v2/x?q=1", *POST)
    assert [item["reason"] for item in found["outcomes"]] == ["to_waypoint"]
    waypoint = found["waypoint"]
    rule = waypoint["rule"]
    assert (rule["route"], rule["rule"], rule["matchIndex"]) == ("HTTPRoute app/web", "canary", 0)
    assert rule["match"]["path"] == {"type": "PathPrefix", "value": "/v2"}
    assert [item["type"] for item in rule["filters"]] == ["RequestHeaderModifier", "URLRewrite"]
    assert waypoint["shares"][0]["request"] == {"method": "POST", "authority": "echo", "target": "/x?q=1"}
    assert [(item["share"], item["backend"]) for item in waypoint["shares"]] == [
        (0.75, "app/v1:80/http"),
        (0.25, "app/v2:80/http"),
    ]
    assert [pod.split("-")[0] for item in waypoint["shares"] for pod in item["pods"]] == ["app/v1", "app/v2"]
    assert "x-set: yes" in waypoint["shares"][0]["headers"]
    assert explain(mesh, "echo:80", "--path", "/v2/x?q=1", *POST)[0]["waypoint"] == waypoint


def test_a_tls_connection_goes_on_by_its_server_name(mesh: LabHandle) -> None:
    found, _ = explain(mesh, "https://echo.app:9090/")
    waypoint = found["waypoint"]
    assert (waypoint["serverName"], waypoint["rule"]["route"]) == ("echo.app", "TLSRoute app/secure")
    assert [(share["share"], share["backend"]) for share in waypoint["shares"]] == [(1.0, "app/v2:9090/tcp")]
    command = weft(mesh, "--live", "https://echo.app:9090/")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "--live: the waypoint does not decrypt TLS" in done.stderr) == (1, True)


def test_tls_to_a_port_where_the_waypoint_reads_http_is_warned_of(mesh: LabHandle) -> None:
    done = subprocess.run(weft(mesh, "https://echo:80/"), capture_output=True, text=True, check=True, timeout=60)
    assert "  note       the waypoint expects clear text on this port: a TLS handshake fails" in done.stdout


def test_a_connection_is_no_request_and_one_that_the_kernel_forwards_has_no_waypoint(mesh: LabHandle) -> None:
    assert explain(mesh, "echo:80")[0]["waypoint"] is None
    found, _ = explain(mesh, "http://v1/")
    assert ([item["reason"] for item in found["outcomes"]], found["waypoint"]) == (["forwarded"], None)


@pytest.mark.parametrize(
    ("argv", "status", "rule"),
    [
        (("http://echo/v1",), 200, "app/web/1/0"),
        (("http://echo/v2/x", *POST), 200, "app/web/canary/0"),
        (("http://echo/v1", "--method", "HEAD"), 200, "app/web/1/0"),
        (("http://echo/v1?a=%20[b]", "-H", "x-empty:"), 200, "app/web/1/0"),
        (("echo:80", "--path", "/v2"), 404, "no-match"),
        (("http://echo/moved/x",), 302, "app/web/2/0"),
        (("http://echo/gone",), 500, "app/web/3/0"),
        (("http://echo/empty",), 503, "app/web/4/0"),
        (("http://echo:7070/app.Echo/Say", "--method", "POST"), 503, "app/calls/0/0"),
        (("http://echo:7070/a/b", "-H", "content-type: application/grpc"), 200, "no-match"),
    ],
)
def test_what_happens_is_what_was_said(mesh: LabHandle, argv: tuple[str, ...], status: int, rule: str) -> None:
    found, code = explain(mesh, "--live", *argv)
    live = found["live"]
    assert (live["differences"], code) == ([], 0)
    assert (live["status"], live["rule"] or "no-match") == (status, rule)
    answering = {pod for share in found["waypoint"]["shares"] for pod in share["pods"]}
    assert (live["pod"] in answering) if live["endpoint"] else (live["pod"] is None)


def test_what_happens_otherwise_is_told(mesh: LabHandle) -> None:
    found, code = explain(mesh, "--live", "http://echo/deaf")
    (difference,) = found["live"]["differences"]
    assert difference.startswith("the waypoint answered with 503 (upstream_reset_before_response_started")
    assert all(item in difference for item in found["waypoint"]["shares"][0]["endpoints"])
    assert code == 3


@pytest.mark.parametrize(("sender", "code"), [(CLIENT, 0), (OTHER_CLIENT, 3)])
def test_without_a_lab_it_says_what_to_send(mesh: LabHandle, tmp_path: Path, sender: str, code: int) -> None:
    elsewhere = tmp_path / "s"
    elsewhere.mkdir()
    for name in (STATUS_SOCKET, PINS):
        (elsewhere / name).symlink_to(mesh.paths.state / name)
    command = weft(mesh, "--live", "http://echo.app/v1", state=elsewhere)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("weft has no permission to run commands in pods; run this within")
        words = shlex.split(waiting.stderr.readline())
        assert words[:4] == ["kubectl", "exec", "-n", "app"]
        assert mesh.exec(sender, *words[words.index("--") + 1 :]).stdout == "200"
        output = waiting.stdout.read()
    assert waiting.returncode == code
    assert "  live       200 from " in output
    assert ("             as predicted" in output) == (code == 0)
    assert ("             the request came from " in output) == (code == 3)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("echo:80", "--path", "v1"), "--path: 'v1' does not begin with /"),
        (("http://echo/", "-H", f"x: {'y' * 5000}"), "the agent accepts at most"),
        (("http://v1/", "--live"), "--live: the connection does not go through the waypoint"),
        (("echo:80", "--live", "-H", "X-Request-Id: 1"), "--live: omit the header x-request-id"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(mesh: LabHandle, argv: tuple[str, ...], message: str) -> None:
    done = subprocess.run(weft(mesh, *argv), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert message in done.stderr
