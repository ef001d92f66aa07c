"""Requests of real pods, as the agent counts them and writes them: who asked, which Route decided, who answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OTHER_CLIENT, get, settle
from support.node.request_metrics import counted

pytestmark = pytest.mark.node
LOGGED = "weft.dev/access-log"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules:
  - {name: main, matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: v1, port: 80}]}
  - {matches: [{path: {type: Exact, value: /missing}}], backendRefs: [{name: nobody, port: 80}]}
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters:
    - type: URLRewrite
      urlRewrite: {hostname: rewritten.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
    backendRefs: [{name: v1, port: 80}]
  - {name: counted, matches: [{path: {type: PathPrefix, value: /counted}}], backendRefs: [{name: v1, port: 80}]}
  - {matches: [{path: {type: Exact, value: /counted/missing}}], backendRefs: [{name: nobody, port: 80}]}
  - {name: killed, matches: [{path: {type: PathPrefix, value: /killed}}], backendRefs: [{name: v1, port: 80}]}
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> Iterator[LabHandle]:
    """The pods of the HTTP tests, and one HTTPRoute."""
    lab = make_lab("served", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply(ROUTE)
    settle(lab, lambda status: len(status["routes"]) == 1)
    return lab


def written(mesh: LabHandle, path: str) -> list[dict[str, Any]]:
    """The lines about requests with this path."""
    lines = [json.loads(line) for line in mesh.log("agent").splitlines() if line.startswith("{")]
    return [line for line in lines if line["path"] == path]


def enable(mesh: LabHandle, namespace: str = "app") -> None:
    """Have requests to a namespace's Services written, from some moment on."""
    mesh.label("Namespace", "", namespace, f"{LOGGED}=true")


def until_written(mesh: LabHandle, path: str, client: str = CLIENT) -> dict[str, Any]:
    """Ask until a request is written; the newest line."""

    def is_written() -> bool:
        get(mesh, f"http://echo.app{path}", client=client)
        return bool(written(mesh, path))

    mesh.wait_for(f"{path} is written", is_written)
    return written(mesh, path)[-1]


@pytest.mark.feature("HTTPRoute: named rules")
def test_a_line_has_the_names_of_pod_service_route_rule_and_backend(mesh: LabHandle) -> None:
    enable(mesh)
    found = until_written(mesh, "/line?x=1", OTHER_CLIENT)
    assert (found["namespace"], found["workload"]) == ("other", "client")
    assert found["pod"].startswith("client-")
    assert (found["service"], found["route"], found["rule"]) == ("app/echo:80", "app/canary", "main")
    assert (found["backend"], found["upstream"].rpartition(":")[2]) == ("app/v1:80", "8080")
    assert (found["method"], found["code"], found["flags"], found["authority"]) == ("GET", 200, "-", "echo.app")
    pods = {pod["addresses"][0]: pod["pod"] for pod in mesh.status()["pods"] if pod["addresses"]}
    assert pods[found["address"]] == f"other/{found['pod']}"


def test_what_failed_is_written_with_its_rule(mesh: LabHandle) -> None:
    enable(mesh)
    found = until_written(mesh, "/missing")
    assert (found["code"], found["rule"], found["backend"], found["upstream"]) == (500, "1", "none", None)


def test_a_client_s_traceparent_and_request_id_are_written(mesh: LabHandle) -> None:
    enable(mesh)
    until_written(mesh, "/on")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = get(mesh, "http://echo.app/traced", "-H", f"traceparent: {trace}", "-H", "X-Request-Id: 7")
    assert answer.received("traceparent") == [trace]
    mesh.wait_for("it is written", lambda: bool(written(mesh, "/traced")))
    (found,) = written(mesh, "/traced")
    assert (found["traceparent"], found["requestId"]) == (trace, "7")


@pytest.mark.parametrize(("path", "server_gets"), [("/real?evil=1", "/real?evil=1"), ("/old/a?b=%20", "/new/a?b=%20")])
def test_the_path_is_what_was_received_whatever_the_client_claims(mesh: LabHandle, path: str, server_gets: str) -> None:
    enable(mesh)
    until_written(mesh, "/on")
    claim = ("-H", "X-Envoy-Original-Path: /forged", "-H", f"X-Request-Id: {path}")
    answer = get(mesh, f"http://echo.app{path}", *claim)
    assert (answer.seen["path"], answer.received("x-envoy-original-path")) == (server_gets, ["/forged"])
    mesh.wait_for("it is written", lambda: f'"requestId":"{path}"' in mesh.log("agent"))
    lines = [json.loads(line) for line in mesh.log("agent").splitlines() if line.startswith("{")]
    found = [(line["path"], line["authority"]) for line in lines if line["requestId"] == path]
    assert found == [(path, "echo.app")]


def test_a_namespace_is_switched_without_touching_a_listener(mesh: LabHandle) -> None:
    admin = ("curl", "-sS", "--unix-socket", str(next(mesh.paths.state.rglob("*-admin.sock"))))
    modified = (*admin, "http://admin/stats?filter=listener_manager.listener_modified")
    enable(mesh)
    until_written(mesh, "/before")
    before = mesh.node(*modified).stdout
    mesh.label("Namespace", "", "app", f"{LOGGED}-")
    enable(mesh, "other")

    def is_off() -> bool:
        path = f"/off/{len(paths)}"
        paths.append(path)
        counts = counted(mesh, "istio_requests_total", route="app/canary")
        get(mesh, f"http://echo.app{path}")
        mesh.wait_for("it is counted", lambda: counted(mesh, "istio_requests_total", route="app/canary") > counts)
        return not written(mesh, path)

    paths: list[str] = []
    mesh.wait_for("requests are not written any more", is_off)
    assert mesh.node(*modified).stdout == before


def test_requests_are_counted_by_client_service_route_rule_and_backend(mesh: LabHandle) -> None:
    """By rules that match no other test's requests: those may still be on their way to the agent."""
    labels = {
        "reporter": "waypoint",
        "source_workload": "client",
        "source_workload_namespace": "app",
        "destination_service": "echo.app.svc.cluster.local",
        "route": "app/canary",
    }
    fine, failed = labels | {"rule": "counted", "backend": "app/v1:80"}, labels | {"rule": "4", "backend": "none"}
    wanted = (
        fine | {"response_code": "200", "response_flags": "-"},
        failed | {"response_code": "500"},
        fine,
        failed,
    )

    def counts() -> list[float]:
        return [counted(mesh, "istio_requests_total", **labels) for labels in wanted]

    assert counts() == [0, 0, 0, 0]
    for path in ("/counted", "/counted/a", "/counted/missing"):
        get(mesh, f"http://echo.app{path}")
    mesh.wait_for("they are counted", lambda: counts() == [2, 1, 2, 1])
    for name in ("request_duration_milliseconds", "request_bytes", "response_bytes"):
        # Envoy merges histograms every five seconds.
        mesh.wait_for(
            f"{name} is merged",
            lambda name=name: [counted(mesh, f"istio_{name}_count", **labels) for labels in (fine, failed)] == [2, 1],
        )
    assert counted(mesh, "istio_request_bytes_sum", **fine) > 0


def test_a_killed_agent_costs_no_request_and_the_next_one_goes_on(mesh: LabHandle) -> None:
    """The next agent continues the counts, and adds the requests that were made meanwhile."""
    enable(mesh)
    labels = {"route": "app/canary", "rule": "killed"}
    get(mesh, "http://echo.app/killed")
    mesh.wait_for("it is counted", lambda: counted(mesh, "istio_requests_total", **labels) == 1)
    mesh.agent_stop(kill=True)
    assert {get(mesh, "http://echo.app/killed").status for _ in range(20)} == {200}
    mesh.agent_start()
    mesh.wait_for("they are counted", lambda: counted(mesh, "istio_requests_total", **labels) == 21)
    mesh.wait_for("their sizes too", lambda: counted(mesh, "istio_request_bytes_count", **labels) == 21)
    found = until_written(mesh, "/after")
    assert (found["workload"], found["route"]) == ("client", "app/canary")
    assert counted(mesh, "weft_access_log_dropped_total", by="agent") == 0
