"""Names and annotations that a terminal would obey, through every command that asks an agent, and its logs."""

import json
import os
import subprocess
import sys

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.terminal import HOSTILE, unsafe

pytestmark = pytest.mark.node

ECHO = {"containers": [{"name": "echo", "image": "weft/echo", "args": ["--http", "8080"]}]}
# The lab removes pods whose first owner is not there.
OWNERS = [
    {"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "0"},
    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": HOSTILE, "uid": "1", "controller": True},
]
NAMESPACE = {"labels": {"weft.dev/mode": "l7", "weft.dev/access-log": "true"}, "annotations": {"x": HOSTILE}}
LABELLED = {"name": "client", "namespace": "app", "labels": {"app": "web"}}
CLIENT = {"apiVersion": "v1", "kind": "Pod", "spec": ECHO, "metadata": LABELLED}
OBJECTS = [
    CLIENT,
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app", **NAMESPACE}},
    {"apiVersion": "v1", "kind": "Service"}
    | {"metadata": {"name": "web", "namespace": "app", "annotations": {"weft.dev/on-waypoint-loss": "[/x]"}}}
    | {"spec": {"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
    {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "app"}}
    | {
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
        }
    },
]
ARGUMENT = HOSTILE.replace("\0", "")  # which no argument can have
# Read by the agent alone: names that no API server takes.
UNDECODABLE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": HOSTILE}, "spec": {"ports": HOSTILE}}
NAMED = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": HOSTILE, "namespace": "[/y]"}} | {
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "a", "port": 81}]}
}


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    """A pod whose workload has a hostile name, a Service with a hostile annotation, and objects with hostile names."""
    manifest = tmp_path_factory.mktemp("hostile") / "good.yaml"
    manifest.write_text("---\n".join(json.dumps(item) + "\n" for item in OBJECTS))
    lab = make_lab("terminal", [manifest], agent=True)
    lab.apply(json.dumps(CLIENT | {"metadata": LABELLED | {"ownerReferences": OWNERS}}))
    for number, item in enumerate((UNDECODABLE, NAMED)):
        (lab.paths.manifests / f"hostile-{number}.yaml").write_text(json.dumps(item))
    settle(lab, lambda status: any(f["service"] == "app/web" and "waypoint" in f["l7"] for f in status["frontends"]))
    lab.wait_for("the hostile objects are read", lambda: bool(lab.status()["problems"]))
    lab.exec("app/client", "curl", "-sS", "-A", "a\x9b\u202e", "http://web.app/")
    return lab


def weft(mesh: LabHandle, *arguments: str) -> str:
    """What a command prints, both streams."""
    words = [sys.executable, "-m", "agent", *arguments, "--state", str(mesh.paths.state)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=60, env=os.environ | {"TERM": "xterm"})
    text = (done.stdout + done.stderr).decode()
    assert "Traceback" not in text, text
    return text


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize(
    "command",
    [("status",), ("tables",), ("flows", "--last"), ("top", "--once"), ("explain", "app/client", "web.app:80")],
    ids=lambda words: words[0],
)
def test_a_command(mesh: LabHandle, command: tuple[str, ...], output: str) -> None:
    text = weft(mesh, *(word for word in command if output == "text" or word != "--once"), "-o", output)
    assert unsafe(text) == []
    assert "app" in text


def test_markup_and_names_are_literal(mesh: LabHandle) -> None:
    assert "'[/x]' is neither" in weft(mesh, "status")
    mesh.wait_for(
        "the flow is counted", lambda: r"app/[/x][red][link=http://h]\u001b[2J" in weft(mesh, "top", "--once")
    )


def test_a_request_through_the_waypoint_explained(mesh: LabHandle) -> None:
    assert unsafe(weft(mesh, "explain", "app/client", f"http://web.app/{ARGUMENT}")) == []


def test_the_agent_s_log(mesh: LabHandle) -> None:
    mesh.wait_for("the request is logged", lambda: '"userAgent"' in mesh.log("agent"))
    assert unsafe(mesh.log("agent")) == []
