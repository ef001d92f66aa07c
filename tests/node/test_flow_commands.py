"""What the node says of real traffic: metrics, `weft flows`, `weft top`, and all of it after a restart."""

import json
import re
import select
import subprocess
import sys
from collections import Counter

import pytest

from support.node.lab_handle import FACES, LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

CLIENT = "faces/face"
NO_ENDPOINTS = """
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
    lab.apply(NO_ENDPOINTS)
    lab.label("Namespace", "", "faces", "weft.dev/mode=l4")
    settle(lab, lambda status: any(item["service"] == "faces/nobody" for item in status["frontends"]))
    settle(lab, lambda status: "l4" in {pod["mode"] for pod in status["pods"]})
    return lab


def metrics(mesh: LabHandle, service: str) -> Counter[tuple[str, str]]:
    """Counters of the client's connections to a Service, by name and response flags or errno; 0 what is not there."""
    found: Counter[tuple[str, str]] = Counter()
    for line in mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line).groups()
        output_of = dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))
        if (output_of.get("source_workload"), output_of.get("destination_service_name")) == ("face", service):
            found[name, output_of.get("response_flags", output_of.get("errno", ""))] = float(value)
    return found


def command(mesh: LabHandle, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", *arguments, "--state", str(mesh.paths.state)]


def output_of(mesh: LabHandle, *arguments: str) -> str:
    done = subprocess.run(command(mesh, *arguments), check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def settled(mesh: LabHandle) -> Counter[tuple[str, str]]:
    """The counters of smiley when no connection to it is open: tests compare with what was before them."""
    opened, closed = (f"istio_tcp_connections_{what}_total" for what in ("opened", "closed"))
    mesh.wait_for(
        "no connection is open",
        lambda: (found := metrics(mesh, "smiley"))[opened, "-"] == found[closed, "-"],
    )
    return metrics(mesh, "smiley")


def ask_smiley(mesh: LabHandle) -> tuple[int, int]:
    """Bytes sent and received by some requests, as curl counts them."""
    sent = received = 0
    for _ in range(TIMES):
        text = mesh.exec(CLIENT, "curl", "-sS", "-m", "5", "-w", SIZES, "http://smiley.faces/").stderr
        request, header, body = map(int, text.split())
        sent, received = sent + request, received + header + body
    return sent, received


def ask_nobody(mesh: LabHandle) -> None:
    """A connection that is refused, for there is no backend."""
    assert mesh.exec(CLIENT, "curl", "-sS", "-m", "5", "http://nobody.faces/", check=False).returncode == 7


def test_metrics_count_connections_and_bytes(mesh: LabHandle) -> None:
    before, names = settled(mesh), metrics(mesh, "kube-dns")["weft_udp_opened_total", ""]
    sent, received = ask_smiley(mesh)
    closed = ("istio_tcp_connections_closed_total", "-")
    mesh.wait_for("the connections have closed", lambda: metrics(mesh, "smiley")[closed] == before[closed] + TIMES)
    found = metrics(mesh, "smiley")
    found.subtract(before)
    assert found["istio_tcp_connections_opened_total", "-"] == TIMES
    assert found["istio_tcp_sent_bytes_total", "-"] == sent
    assert found["istio_tcp_received_bytes_total", "-"] == received
    assert found["weft_tcp_connect_seconds_count", ""] == TIMES
    assert found["weft_tcp_rtt_seconds_count", ""] == TIMES
    assert metrics(mesh, "kube-dns")["weft_udp_opened_total", ""] >= names + TIMES


def refusals(mesh: LabHandle) -> list[dict[str, str]]:
    """Those of `nobody` that the agent has seen since it started."""
    lines = output_of(mesh, "flows", "--last", "-o", "json", "--service", "nobody", "--verdict", "reject")
    return [json.loads(line) for line in lines.splitlines()]


def test_a_refusal_is_counted_and_told(mesh: LabHandle) -> None:
    before, seen = metrics(mesh, "nobody"), len(refusals(mesh))
    ask_nobody(mesh)
    found = metrics(mesh, "nobody")
    found.subtract(before)
    assert found["istio_tcp_connections_opened_total", "UH"] == found["istio_tcp_connections_closed_total", "UH"] == 1
    assert found["weft_refused_total", ""] == 1
    mesh.wait_for("the refusal is told", lambda: len(refusals(mesh)) == seen + 1)
    facts = {(event["reason"], event["workload"], event["namespace"]) for event in refusals(mesh)}
    assert facts == {("no_backend", "face", "faces")}


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
    before = metrics(mesh, "nobody")["weft_refused_total", ""]
    ask_smiley(mesh)
    ask_nobody(mesh)
    rows = json.loads(output_of(mesh, "top", "-o", "json", "--namespace", "faces"))
    found = {(row["workload"], row["service"], row["protocol"]): row for row in rows}
    smiley, nobody = found["face", "faces/smiley", "TCP"], found["face", "faces/nobody", "TCP"]
    assert smiley["established"] >= TIMES
    assert (nobody["opened"], nobody["refused"]) == (before + 1, before + 1)
    assert "faces/smiley" in output_of(mesh, "top", "--once")


def test_a_restarted_agent_goes_on_counting(mesh: LabHandle) -> None:
    opened = ("istio_tcp_connections_opened_total", "-")
    before = settled(mesh)[opened]
    mesh.agent_stop(kill=True)
    ask_smiley(mesh)
    mesh.agent_start()
    assert metrics(mesh, "smiley")[opened] == before + TIMES
