"""The waypoint's life under load: replaced while requests of every kind run, routes edited, and nothing is lost."""

import collections
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import LabFactory, LabHandle
from test_routes_http import settle

from agent.cli.lab_waypoint import replace
from agent.lab import lifecycle
from agent.lab.weft import WAYPOINTS, waypoints

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
LIFE = 4.0
REPLACEMENTS = 4
EDITS_PER_SECOND = 20
EDITS = 200


@dataclass
class Seen:
    """What all clients counted together."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    lives: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Three clients of an HTTP and a gRPC Service, all of it at the waypoint."""
    made = make_lab("replace", [HERE / "long_lived.yaml"], agent=True)
    settle(made, lambda status: {f["l7"] for f in status["frontends"] if f["listener"]} == {"waypoint"})
    return made


def under_load(mesh: LabHandle, seconds: float, meanwhile: Callable[[], None], life: float = LIFE) -> Seen:
    """What the clients saw while something else happened."""
    command = [sys.executable, str(HERE / "long_lived.py"), str(seconds), str(life)]
    running = []
    for name in [key.name for key in mesh.store.load() if key.kind == "Pod" and key.name.startswith("client-")]:
        argv, environment = lifecycle.exec_command(mesh.paths, f"shop/{name}", command)
        running.append(subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True))
    seen = Seen()
    try:
        time.sleep(1)
        meanwhile()
    finally:
        for client in running:
            found = json.loads(client.communicate(timeout=seconds + 90)[0])
            seen.counts.update(found["counts"])
            seen.lives.update(found["lives"])
            seen.failures += found["failures"]
    assert len(running) == 3
    return seen


def test_an_envoy_is_replaced_and_nothing_is_lost(mesh, capsys):
    cut = []

    def several() -> None:
        cut.extend(replace(mesh.paths, patience=60) for _ in range(REPLACEMENTS))

    seen = under_load(mesh, 45, several)
    with capsys.disabled():
        print(json.dumps({"counts": seen.counts, "lives": seen.lives}, indent=1, sort_keys=True))
    assert seen.failures == []
    assert cut == [0] * REPLACEMENTS
    for kind in ("new", "new POST", "slow POST", "kept", "kept POST", "gRPC"):
        assert all(seen.counts[f"{kind} by {address}"] for address in WAYPOINTS.values()), kind
    announced = seen.lives["kept: closed by an announcement"]
    assert announced >= 3 * REPLACEMENTS, "each client's kept connection left each of the old ones"
    for kind in ("WebSocket: ended by the client", "gRPC stream: answered", "slow POST: answered"):
        assert seen.lives[kind] >= 3


def test_routes_are_edited_and_nothing_is_lost(mesh):
    def edit() -> None:
        at = time.monotonic()
        for number in range(EDITS):
            mesh.apply(ROUTE.format(number=number))
            at += 1 / EDITS_PER_SECOND
            time.sleep(max(0.0, at - time.monotonic()))

    seen = under_load(mesh, EDITS / EDITS_PER_SECOND + 3, edit)
    assert seen.failures == []
    assert seen.lives["kept: closed by an announcement"] == 0, "a route's change closed connections"
    answer = mesh.exec("shop/client", "curl", "-si", "http://web.shop/").stdout.lower()
    assert f"x-edit: {EDITS - 1}" in answer


def test_modes_change_and_nothing_is_lost(mesh):
    def change() -> None:
        for _ in range(3):
            for mode in ("l4", "none", "l7"):
                mesh.label("Namespace", "", "shop", f"weft.dev/mode={mode}")
                time.sleep(1.5)

    seen = under_load(mesh, 15, change)
    assert seen.failures == []
    assert all(seen.lives[kind] for kind in ("WebSocket: ended by the client", "gRPC stream: answered"))
    settle(mesh, lambda status: {f["l7"] for f in status["frontends"] if f["listener"]} == {"waypoint"})


def test_the_agent_is_killed_while_envoys_are_replaced(mesh):
    def both() -> None:
        for _ in range(3):
            replacing = threading.Thread(target=replace, args=(mesh.paths, 60))
            replacing.start()
            time.sleep(0.3)
            mesh.agent_stop(kill=True)
            time.sleep(0.5)
            mesh.agent_start()
            replacing.join()

    seen = under_load(mesh, 35, both)
    assert seen.failures == []
    assert len(waypoints(mesh.store.load())) == 1
    assert mesh.status()["drift"] == 0


def test_what_does_not_end_is_cut_in_the_end_and_nobody_dials_a_waypoint(mesh):
    dialled: list[str] = []

    def impatiently() -> None:
        replacing = threading.Thread(target=lambda: cut.append(replace(mesh.paths, patience=4)))
        replacing.start()
        before = mesh.status()["waypoint"]["address"]
        mesh.wait_for("the other took over", lambda: mesh.status()["waypoint"]["address"] != before)
        programs = (DIAL.format(address=address) for address in WAYPOINTS.values())
        dialled.extend(mesh.python("shop/client", program).strip() for program in programs)
        replacing.join()

    cut: list[int] = []
    seen = under_load(mesh, 12, impatiently, life=30)
    assert dialled == ["PermissionError"] * 2
    assert cut[0] >= 6, "each client's WebSocket, stream and slow body"
    kinds = {text.split()[1] for text in seen.failures}
    assert kinds <= {"WebSocket:", "gRPC", "slow"}, "only what outlives the patience"


def test_who_is_connected_to_a_listener_that_goes_is_served_to_the_end(mesh):
    argv, environment = lifecycle.exec_command(mesh.paths, "shop/client", [sys.executable, "-c", PATIENT])
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "connected\n"
        mesh.label("Namespace", "", "shop", "weft.dev/mode=none")
        mesh.wait_for("the listeners are gone", lambda: not mesh.status()["waypoint"]["listeners"], patience=60)
        said, _ = client.communicate("go on\n", timeout=60)
    mesh.label("Namespace", "", "shop", "weft.dev/mode=l7")
    assert said.split("\n")[:-1] == ["200 close", "hello", "hello"]


PATIENT = """
import http.client, socket, sys, time
kept = http.client.HTTPConnection("web.shop", timeout=10)
kept.request("GET", "/")
kept.getresponse().read()
stream = socket.create_connection(("web.shop", 80), timeout=10)
stream.sendall(b"GET / HTTP/1.1\\r\\nHost: web.shop\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
assert b" 101 " in stream.recv(4096)
print("connected", flush=True)
sys.stdin.readline()
kept.request("GET", "/")
answer = kept.getresponse()
print(answer.status, answer.getheader("connection"))
for pause in (0, 12):
    time.sleep(pause)
    stream.sendall(b"hello")
    print(stream.recv(5).decode())
"""
DIAL = """
import socket
try:
    socket.create_connection(("{address}", 20000), timeout=2)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, port: 80}}]
  rules:
  - backendRefs: [{{name: web, port: 80}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-edit, value: "{number}"}}]}}}}]
"""
