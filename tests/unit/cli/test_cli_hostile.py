"""Names, annotations and messages that a terminal would obey, through every command that needs no kernel."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.cli.main import application
from agent.settings import STATUS_SOCKET
from agent.telemetry.http import HttpServer, Response
from support.terminal import HOSTILE, unsafe

H = HOSTILE
EVENT = {"time": "2026-01-01T00:00:00.000+00:00", "verdict": "reject", "reason": H, "errno": None, "namespace": H}
EVENT |= {
    "pod": H,
    "workload": H,
    "service": H,
    "protocol": "TCP",
    "destination": H,
    "backend": H,
    "policy": H,
    "source": H,
}
COUNTED = ("opened", "established", "refused", "failed", "closed", "sent", "received")
FLOW = {"namespace": H, "workload": H, "service": H, "protocol": "TCP", **dict.fromkeys(COUNTED, 1)}
FLOW |= {"connectMicroseconds": 1, "rttMicroseconds": 1}
BUDGET = {"resource": H, "namespace": H, "used": 1, "limit": 1, "capacity": 1, "rejected": 1}
CONDITION = {"type": H, "status": "False", "reason": H, "message": H + "\nforged: yes"}
DRAINING = {"id": H, "addresses": [H], "connections": None, "drained": False}
NODE = {
    "node": H,
    "packets": H,
    "keyGeneration": 1,
    "theirGenerations": [1],
    "handshakeSeconds": 1.0,
    "received": 1,
    "sent": 1,
    "unsupported": H,
}
STATUS: dict[str, Any] = {
    "node": H,
    "synced": True,
    "reconciling": True,
    "ready": True,
    "drift": 0,
    "kernel": {"release": H, "missing": [{"feature": H, "since": H, "without": H}]},
    "source": {"kind": "manifests", "directory": H, "stale": ""},
    "waypoint": {
        "addresses": [H],
        "connected": True,
        "lost": False,
        "standby": [H],
        "draining": [DRAINING],
        "drift": [H],
        "guards": {H: H},
        "rejected": {H: H},
    }
    | {"listeners": [{"name": H, "port": 1, "state": H}]},
    "pods": [{"pod": H, "mode": H, "addresses": [H], "cgroup": 1, "supported": True, "l4Only": False}],
    "frontends": [{"frontend": H, "service": H, "l4": H, "l7": H, "backends": [{"backend": H, "share": 1.0}]}],
    "routes": [{"kind": H, "namespace": H, "name": H, "parents": [{"parent": H, "conditions": [CONDITION]}]}],
    "ineffectiveRoutes": [{"clients": H, "routes": [H]}],
    "protectedPods": [{"pod": H, "policies": [H], "guard": H}],
    "auditedServices": [[H, H]],
    "auditedPods": [{"pod": H, "policies": [H], "guard": H}],
    "meshParameters": {"name": H, "default": H, "exemptNamespaces": [H], "trustDomain": H, "problem": H},
    "encryption": {"mode": "Strict", "keyGeneration": 1, "unsupported": H, "error": H, "nodes": [NODE]},
    "problems": [H],
    "warnings": [H],
    "failures": {H: H},
    "internalErrors": [{"part": H, "object": H, "error": H}],
    "netnsHelper": {"error": H, "podsWithoutAddress": 1},
}
ANSWERS = {
    "/status": STATUS,
    "/flows": {"flows": [FLOW]},
    "/budgets": {"budgets": [BUDGET]},
    "/events": {"events": [EVENT]},
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state folder of an agent whose every answer is hostile, on a real socket."""
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as thread:
        server = HttpServer({path: lambda _, it=answer: Response.json(it) for path, answer in ANSWERS.items()})
        end = asyncio.Event()
        thread.submit(runner.run, server.start_unix(tmp_path / STATUS_SOCKET)).result()
        serving = thread.submit(runner.run, end.wait())
        yield tmp_path
        runner.get_loop().call_soon_threadsafe(end.set)
        serving.result()
        thread.submit(runner.run, server.stop()).result()


def weft(*arguments: object) -> Result:
    return CliRunner().invoke(application([str(arguments[0])]), [str(item) for item in arguments])


@pytest.mark.parametrize(
    ("command", "document"),
    [
        (("status",), STATUS),
        (("flows", "--last"), EVENT),
        (("top", "--once"), [FLOW]),
        (("top", "--once", "--by", "namespace"), [BUDGET]),
    ],
    ids=("status", "flows", "top", "budgets"),
)
def test_an_agent_s_answers(state: Path, command: tuple[str, ...], document: object) -> None:
    text = weft(*command, "--state", state)
    assert (text.exit_code, unsafe(text.output)) == (3 if command == ("status",) else 0, [])
    assert r"[/x][red][link=http://h]\u001b" in text.stdout
    assert "\nforged" not in text.stdout
    done = weft(*command, "--state", state, "-o", "json")
    assert unsafe(done.output) == []
    assert json.loads(done.stdout) == document


HOSTILE_MANIFEST = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app", "labels": {"weft.dev/mode": "l7"}}},
    {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.1"}}
    | {"metadata": {"name": "web", "namespace": "app", "annotations": {"weft.dev/on-waypoint-loss": H}}},
    {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    | {"metadata": {"name": "r", "namespace": "app"}}
    | {
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
            "rules": [
                {
                    "name": "x",
                    "backendRefs": [{"name": "web", "port": 80}],
                }
            ],
        }
    },
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": H, "namespace": H}, "spec": {"ports": H}},
]


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A folder whose objects can be read but for one, and say what a terminal would obey."""
    made = tmp_path / "manifests"
    made.mkdir()
    for number, item in enumerate(HOSTILE_MANIFEST):
        (made / f"{number}.json").write_text(json.dumps(item))
    return made


def test_lint(manifests: Path) -> None:
    for output in ("text", "json"):
        done = weft("lint", manifests, "-o", output)
        assert (unsafe(done.output), done.exit_code) == ([], 1), output
    text = weft("lint", manifests).stdout
    assert "[weft.dev/on-waypoint-loss]: '[/x][red][link=http://h]" in text


def test_diff(manifests: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for output in ("text", "json"):
        done = weft("diff", other, manifests, "-o", output)
        assert (unsafe(done.output), done.exit_code) == ([], 1), output
    assert "cannot be used: see weft lint" in weft("diff", other, manifests).stdout


def test_simulate(manifests: Path) -> None:
    for output in ("text", "json"):
        done = weft("simulate", "-f", manifests, "--from", "app/x", "GET", f"http://web{H}/", "-o", output)
        assert unsafe(done.output) == [], output
        done = weft("simulate", "-f", manifests, "--from", "app/x", "GET", f"http://web/{H}", "-o", output)
        assert unsafe(done.output) == [], output
