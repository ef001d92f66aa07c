"""The waypoint's life under load: replaced while requests of every kind run, and nothing is lost."""

import subprocess
import sys
import threading
import time

import pytest

from agent.cli.lab_waypoint import replace
from agent.lab import lifecycle
from agent.lab.weft import waypoints
from agent.waypoint.process import admin_socket
from support.node.lab_handle import LabFactory, LabHandle
from support.node.life_load import CLIENTS, LONG, ROUNDS, Seen, load, manifest
from support.node.moves import at_the_waypoint

pytestmark = pytest.mark.node

# How long a stream lasts: a draining waypoint waits for that.
LIFE = 4.0
PATIENCE = 60.0
STATISTIC = "listener_manager.total_listeners_active"


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory, tmp_path_factory: pytest.TempPathFactory) -> LabHandle:
    """Ten clients of an HTTP and a gRPC Service, all of it at the waypoint."""
    made = make_lab("replace", [manifest(tmp_path_factory.mktemp("replace"))], agent=True)
    at_the_waypoint(made)
    return made


def lived(seen: Seen) -> bool:
    """Whether streams ended by their clients' will, with all their messages, and what is kept was told to leave."""
    ends = {(kind, end) for kind, end in seen.ends if kind in LONG}
    others = {end for kind, end in seen.ends if kind not in LONG}
    return ends == {(kind, "ended by the client") for kind in LONG} and others <= {"told to leave", "still there"}


def active_listeners(mesh: LabHandle) -> int:
    """How many listeners the one waypoint has that do not drain."""
    (name,) = waypoints(mesh.store.load())
    admin = str(admin_socket(mesh.paths.state / "waypoint", name))
    url = f"http://admin/stats?filter=^{STATISTIC}$"
    return int(mesh.node("curl", "-sS", "--unix-socket", admin, url).stdout.removeprefix(f"{STATISTIC}: "))


def test_an_envoy_is_replaced_and_nothing_is_lost(mesh, capsys):
    with load(mesh, LIFE) as seen:
        left = [replace(mesh.paths, PATIENCE) for _ in range(ROUNDS)]
    with capsys.disabled():
        print(f"\nEnvoy replaced {ROUNDS} times\n{seen.table()}")
    assert seen.failures == []
    assert left == [0] * ROUNDS
    assert lived(seen)
    for kind in ("new", "new POST", "kept", "kept POST", "gRPC", *LONG):
        assert all(seen.counts[f"{kind} by {address}"] for address in mesh.waypoints.values()), kind
    for kind in ("kept", "kept POST", "gRPC calls"):
        # Each client has at least two of them, and each of those left each of the old ones.
        assert seen.ends[kind, "told to leave"] >= 2 * CLIENTS * ROUNDS


def test_the_agent_is_killed_while_envoys_are_replaced(mesh):
    with load(mesh, LIFE) as seen:
        for _ in range(3):
            replacing = threading.Thread(target=replace, args=(mesh.paths, PATIENCE))
            replacing.start()
            time.sleep(0.3)
            mesh.agent_stop(kill=True)
            time.sleep(0.5)
            mesh.agent_start()
            replacing.join()
    assert seen.failures == []
    assert lived(seen)
    assert len(waypoints(mesh.store.load())) == 1
    assert mesh.status()["drift"] == 0


def test_what_does_not_end_is_cut_in_the_end_and_nobody_dials_a_waypoint(mesh):
    cut: list[int] = []
    with load(mesh) as seen:
        replacing = threading.Thread(target=lambda: cut.append(replace(mesh.paths, patience=4)))
        replacing.start()
        before = mesh.status()["waypoint"]["addresses"]
        mesh.wait_for("the other took over", lambda: mesh.status()["waypoint"]["addresses"] != before)
        programs = (DIAL.format(address=address) for address in mesh.waypoints.values())
        dialled = [mesh.python("shop/client", program).strip() for program in programs]
        replacing.join()
        # Whoever was cut notices with the next message.
        mesh.wait_for("it is gone", lambda: len(waypoints(mesh.store.load())) == 1)
        time.sleep(1)
    assert dialled == ["PermissionError"] * 2
    assert cut[0] >= len(LONG) * CLIENTS
    assert {kind for kind, end in seen.ends if end == "cut"} == set(LONG), "only what outlives the patience"
    assert seen.counts["failed"] == len(LONG) * CLIENTS


def test_who_is_connected_to_a_listener_that_goes_is_served_to_the_end(mesh):
    argv, environment = lifecycle.exec_command(mesh.paths, "shop/client", [sys.executable, "-c", PATIENT])
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "connected\n"
        mesh.label("Namespace", "", "shop", "weft.dev/mode=none")
        mesh.wait_for("the listeners are gone", lambda: not mesh.status()["waypoint"]["listeners"], patience=60)
        # The agent no longer has them; Envoy asks clients to leave once its main thread has applied that.
        mesh.wait_for("Envoy drains them", lambda: active_listeners(mesh) == 0)
        printed, _ = client.communicate("go on\n", timeout=60)
    at_the_waypoint(mesh)
    assert printed.split("\n")[:-1] == ["200 close", "hello", "hello"]


def test_an_idle_connection_is_closed_before_its_waypoint_ends(mesh):
    argv, environment = lifecycle.exec_command(mesh.paths, "shop/client", [sys.executable, "-c", IDLE])
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "idle\n"
        assert replace(mesh.paths, PATIENCE) == 0
        assert client.stdout.readline() == "b''\n"


IDLE = """
import http.client
kept = http.client.HTTPConnection("web.shop", timeout=300)  # longer than a replacement may take
kept.request("GET", "/")
kept.getresponse().read()
print("idle", flush=True)
print(kept.sock.recv(1))
"""
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
