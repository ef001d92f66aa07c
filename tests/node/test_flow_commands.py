"""What the node says of real traffic: metrics, `weft flows`, `weft top`, and all of it after a restart."""

import json
import re
import select
import subprocess
import sys

import pytest
from lab_handle import FACES, LabFactory, LabHandle
from test_routes_http import settle

pytestmark = pytest.mark.node

CLIENT = "faces/face"
NOBODY = """
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: faces}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
TIMES = 5
SIZES = "%{stderr}%{size_request} %{size_header} %{size_download}\n"


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The faces in mode l4, and a Service that has no backend."""
    lab = make_lab("flows", [FACES / "faces.yaml"], agent=True)
    lab.apply(NOBODY)
    lab.label("Namespace", "", "faces", "weft.dev/mode=l4")
    settle(lab, lambda status: any(item["service"] == "faces/nobody" for item in status["frontends"]))
    settle(lab, lambda status: "l4" in {pod["mode"] for pod in status["pods"]})
    return lab


def metrics(mesh: LabHandle, service: str) -> dict[tuple[str, str], float]:
    """Counters of the client's connections to a Service, by name and response flags or errno."""
    found = {}
    for line in mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line).groups()
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))
        if (told.get("source_workload"), told.get("destination_service_name")) == ("face", service):
            found[name, told.get("response_flags", told.get("errno", ""))] = float(value)
    return found


def command(mesh: LabHandle, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", *arguments, "--state", str(mesh.paths.state)]


def told(mesh: LabHandle, *arguments: str) -> str:
    done = subprocess.run(command(mesh, *arguments), check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def ask_smiley(mesh: LabHandle) -> tuple[int, int]:
    """Bytes sent and received by some requests, as curl counts them."""
    sent = received = 0
    for _ in range(TIMES):
        text = mesh.exec(CLIENT, "curl", "-sS", "-m", "5", "-w", SIZES, "http://smiley.faces/").stderr
        request, header, body = map(int, text.split())
        sent, received = sent + request, received + header + body
    return sent, received


def test_metrics_count_connections_and_bytes(mesh: LabHandle) -> None:
    sent, received = ask_smiley(mesh)
    closed = ("istio_tcp_connections_closed_total", "-")
    mesh.wait_for("the connections have closed", lambda: metrics(mesh, "smiley").get(closed) == TIMES)
    found = metrics(mesh, "smiley")
    assert found["istio_tcp_connections_opened_total", "-"] == TIMES
    assert found["istio_tcp_sent_bytes_total", "-"] == sent
    assert found["istio_tcp_received_bytes_total", "-"] == received
    assert found["weft_tcp_connect_seconds_count", ""] == TIMES
    assert found["weft_tcp_rtt_seconds_count", ""] == TIMES
    assert metrics(mesh, "kube-dns")["weft_udp_opened_total", ""] >= TIMES


def test_a_refusal_is_counted_and_told(mesh: LabHandle) -> None:
    assert mesh.exec(CLIENT, "curl", "-sS", "-m", "5", "http://nobody.faces/", check=False).returncode == 7
    found = metrics(mesh, "nobody")
    assert found["istio_tcp_connections_opened_total", "UH"] == found["istio_tcp_connections_closed_total", "UH"] == 1
    assert found["weft_refused_total", ""] == 1

    def seen() -> list[dict[str, str]]:
        lines = told(mesh, "flows", "--last", "-o", "json", "--service", "nobody", "--verdict", "reject")
        return [json.loads(line) for line in lines.splitlines()]

    mesh.wait_for("the refusal is told", lambda: len(seen()) == 1)
    (event,) = seen()
    assert (event["reason"], event["workload"], event["namespace"]) == ("no_backend", "face", "faces")


def test_viewers_at_once_see_the_same(mesh: LabHandle) -> None:
    watch = command(mesh, "flows", "-o", "json", "--service", "faces/smiley")
    viewers = [subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first = [first_line(mesh, viewer) for viewer in viewers]
    finally:
        for viewer in viewers:
            viewer.terminate()
            viewer.communicate()
    assert [event["verdict"] for event in first] == ["forward", "forward"]


def first_line(mesh: LabHandle, viewer: subprocess.Popen[str]) -> dict[str, str]:
    """What a viewer shows first; it may have begun to look after the first request."""
    lines: list[str] = []
    while not lines:
        mesh.exec(CLIENT, "curl", "-sS", "-m", "5", "http://smiley.faces/")
        ready, _, _ = select.select([viewer.stdout], [], [], 1)
        lines = [viewer.stdout.readline()] if ready else []
    return json.loads(lines[0])


def test_top_sums_by_client_and_service(mesh: LabHandle) -> None:
    rows = json.loads(told(mesh, "top", "-o", "json", "--namespace", "faces"))
    found = {(row["workload"], row["service"], row["protocol"]): row for row in rows}
    smiley, nobody = found["face", "faces/smiley", "TCP"], found["face", "faces/nobody", "TCP"]
    assert smiley["established"] >= TIMES
    assert (nobody["opened"], nobody["refused"]) == (1, 1)
    assert "faces/smiley" in told(mesh, "top", "--once")


def test_a_restarted_agent_goes_on_counting(mesh: LabHandle) -> None:
    opened = ("istio_tcp_connections_opened_total", "-")
    before = metrics(mesh, "smiley")[opened]
    mesh.agent_stop(kill=True)
    ask_smiley(mesh)
    mesh.agent_start()
    assert metrics(mesh, "smiley")[opened] == before + TIMES
