"""What `weft status` prints of the source, and its exit code."""

from typing import Any

import pytest

from agent.cli import status as module
from agent.cli.output import Output
from agent.settings import DEFAULT_STATE

KUBERNETES = {
    "kind": "kubernetes",
    "server": "https://api",
    "stale": "",
    "gatewayApi": [{"channel": "standard", "version": "v1.6.1"}],
    "missing": [],
    "collections": {},
    "accounts": {"watched": {}, "leftOut": []},
}

PARAMETERS = {"name": None, "default": "Allow", "exemptNamespaces": [], "trustDomain": "cluster.local", "problem": ""}


OFF = {"mode": "Off", "keyGeneration": 1, "unsupported": "", "error": "", "nodes": []}


def report(source: dict[str, Any]) -> dict[str, Any]:
    lists: dict[str, Any] = {
        name: []
        for name in (
            "pods",
            "frontends",
            "protectedPods",
            "auditedPods",
            "auditedServices",
            "routes",
            "ineffectiveRoutes",
            "problems",
            "warnings",
        )
    }
    waypoint = {
        "addresses": [],
        "connected": False,
        "lost": False,
        "listeners": [],
        "standby": None,
        "draining": [],
        "guards": {},
        "drift": [],
        "rejected": {},
    }
    more = {
        "source": source,
        "kernel": {"release": "6.1.0-1-amd64", "missing": []},
        "waypoint": waypoint,
        "failures": {},
        "internalErrors": [],
        "meshParameters": PARAMETERS,
        "encryption": OFF,
        "netnsHelper": {"error": "", "podsWithoutAddress": 0},
    }
    return {"node": "n1", "synced": True, "ready": True, "reconciling": False, "drift": 0} | lists | more


@pytest.mark.parametrize(
    ("source", "line", "code"),
    [
        ({"kind": "manifests", "directory": "/m", "stale": ""}, "source manifests in /m", 0),
        (KUBERNETES, "source https://api: watching; Gateway API v1.6.1 (standard)", 0),
        (
            KUBERNETES | {"gatewayApi": [], "missing": ["HTTPRoute", "TCPRoute"]},
            "source https://api: watching; Gateway API not installed; waiting for HTTPRoute, TCPRoute",
            0,
        ),
        (
            KUBERNETES | {"accounts": {"watched": {}, "leftOut": ["app/web", "shop/*"]}},
            "source https://api: watching; Gateway API v1.6.1 (standard); pods of other nodes not watched, accounts: "
            "app/web, shop/*",
            0,
        ),
        (
            KUBERNETES | {"stale": "pods cannot be followed for 12 s: refused"},
            "source https://api: stale: pods cannot be followed for 12 s: refused; Gateway API v1.6.1 (standard)",
            3,
        ),
    ],
)
def test_the_source(
    source: dict[str, Any], line: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module, "get", lambda *_: report(source))
    found = 0
    try:
        module.status(DEFAULT_STATE, Output.TEXT)
    except SystemExit as end:
        found = int(end.code or 0)
    assert (capsys.readouterr().out.splitlines()[1], found) == (line, code)


@pytest.mark.parametrize(
    ("standby", "draining", "line"),
    [
        (None, [], "waypoint 10.1.1.1, fd00::1: connected"),
        (["10.1.1.2"], [], "waypoint 10.1.1.1, fd00::1: connected; standby 10.1.1.2"),
        (
            None,
            [
                {"id": "a", "addresses": ["10.1.1.2"], "connections": 3, "drained": False},
                {"id": "b", "addresses": ["10.1.1.3"], "connections": None, "drained": False},
                {"id": "c", "addresses": ["10.1.1.4"], "connections": 0, "drained": True},
            ],
            "waypoint 10.1.1.1, fd00::1: connected; 10.1.1.2 draining, connections: 3; "
            "10.1.1.3 draining, connections: ?; 10.1.1.4 drained",
        ),
    ],
)
def test_the_waypoints(
    standby: list[str] | None,
    draining: list[dict[str, Any]],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    shown = report(KUBERNETES)
    shown["waypoint"] |= {"addresses": ["10.1.1.1", "fd00::1"], "connected": True}
    shown["waypoint"] |= {"standby": standby, "draining": draining}
    monkeypatch.setattr(module, "get", lambda *_: shown)
    module.status(DEFAULT_STATE, Output.TEXT)
    assert line in capsys.readouterr().out.replace("\n", " ").replace("  ", " ")


def test_pods_that_cannot_be_what_they_should(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    pod = {"pod": "app/web", "mode": "none", "modeReason": "", "addresses": ["10.1.0.1"], "cgroup": 7, "l4Only": False}
    good = pod | {"supported": True}
    pods = [pod | {"supported": False}, good | {"pod": "app/old"}, good | {"pod": "app/host", "l4Only": True}]
    shown = report(KUBERNETES) | {"pods": pods}
    monkeypatch.setattr(module, "get", lambda *_: shown)
    module.status(DEFAULT_STATE, Output.TEXT)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["app/web", "Unsupported", "10.1.0.1", "7"] in lines
    assert ["app/old", "none", "10.1.0.1", "7"] in lines
    assert ["app/host", "l4", "only", "10.1.0.1", "7"] in lines


def test_what_a_waypoint_does_not_serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    shown = report(KUBERNETES)
    shown["waypoint"]["drift"] = ["blue: Listener a: not served as acknowledged"]
    monkeypatch.setattr(module, "get", lambda *_: shown)
    with pytest.raises(SystemExit) as end:
        module.status(DEFAULT_STATE, Output.TEXT)
    assert end.value.code == 3
    assert "blue: Listener a: not served as acknowledged" in capsys.readouterr().out


def test_kinds_that_are_not_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    source = {"kind": "manifests", "directory": "/m", "stale": "", "ignored": {"apps/v1 Deployment": 2}}
    monkeypatch.setattr(module, "get", lambda *_: report(source))
    module.status(DEFAULT_STATE, Output.TEXT)
    assert ["apps/v1", "Deployment", "2"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_what_an_envoy_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    shown = report(KUBERNETES)
    shown["waypoint"]["rejected"] = {"RouteConfiguration app/web:80": "missing )"}
    monkeypatch.setattr(module, "get", lambda *_: shown)
    with pytest.raises(SystemExit) as end:
        module.status(DEFAULT_STATE, Output.TEXT)
    assert end.value.code == 3
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["RouteConfiguration", "app/web:80", "missing", ")"] in lines


@pytest.mark.parametrize(
    ("parameters", "lines", "code"),
    [
        ({}, ["mesh no MeshParameters; default for pods without policies: Allow; trust domain cluster.local"], 0),
        (
            {"name": "strict", "default": "Deny", "exemptNamespaces": ["a", "b"], "problem": "it does not exist"},
            [
                "mesh MeshParameters strict; default for pods without policies: Deny, exempt: a, b; trust domain "
                "cluster.local",
                "mesh it does not exist; meanwhile these are in force",
            ],
            3,
        ),
    ],
)
def test_the_mesh_s_parameters(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, Any],
    lines: list[str],
    code: int,
):
    found = report(KUBERNETES) | {"meshParameters": PARAMETERS | parameters}
    monkeypatch.setattr(module, "get", lambda *_: found)
    ended = 0
    try:
        module.status(DEFAULT_STATE, Output.TEXT)
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == code
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("mesh ")] == lines


@pytest.mark.parametrize(
    ("found", "lines", "code"),
    [
        ({}, [], 0),
        ({"mode": "Pods"}, ["encryption Pods, key generation 1"], 0),
        (
            {"mode": "Strict", "unsupported": "the kernel has no WireGuard", "error": "no helper"},
            ["encryption Strict, key generation 1; Unsupported: the kernel has no WireGuard; error: no helper"],
            3,
        ),
    ],
)
def test_encryption(
    found: dict[str, Any],
    lines: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    node = {
        "node": "n2",
        "packets": "encrypted",
        "keyGeneration": 1,
        "theirGenerations": [1, 2],
        "handshakeSeconds": 12.3,
    }
    node |= {"received": 5, "sent": 6, "unsupported": ""}
    monkeypatch.setattr(module, "get", lambda *_: report(KUBERNETES) | {"encryption": OFF | found | {"nodes": [node]}})
    ended = 0
    try:
        module.status(DEFAULT_STATE, Output.TEXT)
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == code
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("encryption ")] == lines
    rows = [line.split() for line in printed if line.startswith("n2 ")]
    assert rows == ([["n2", "encrypted", "1", "1,", "2", "12", "s", "ago", "5", "6"]] if lines else [])
