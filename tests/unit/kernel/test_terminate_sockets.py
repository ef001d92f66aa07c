"""What the process that ends sockets looks at, and that it goes with the agent that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.ir.tables import address_bytes
from agent.ir.waypoint_state import ClientsRevoked
from agent.kernel.socket_terminator import document
from agent.kernel.sockets import Accepted
from agent.kernel.terminate_sockets import Task, read

WAYPOINT, PORT = "10.9.0.1", 20000
ONE, TWO = "10.0.0.1", "10.0.0.2"
AGENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "agent.kernel.terminate_sockets"]
command += [f"--{name}=/nowhere" for name in ("pins", "kubepods", "netns-socket")]
print(subprocess.Popen(command, stdin=int(sys.argv[1])).pid, flush=True)
time.sleep(60)
"""


def _state(process: int) -> str:
    """The letter in `/proc/PID/stat`; empty when it is gone."""
    try:
        return Path("/proc", str(process), "stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return ""


def _wait(process: int, states: str) -> bool:
    deadline = time.monotonic() + 20
    while (seen := _state(process)) and seen not in states and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen in states


def test_it_does_not_outlive_the_agent():
    # It waits for what it is to do: the pipe is ours, so that its end is not what ends it.
    reading, writing = os.pipe()
    command = [sys.executable, "-c", AGENT, str(reading)]
    with subprocess.Popen(command, pass_fds=[reading], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        child = int(agent.stdout.readline())
        deadline = time.monotonic() + 20
        while "pipe" not in Path("/proc", str(child), "wchan").read_text():
            assert time.monotonic() < deadline, "it does not come to read"
            time.sleep(0.01)
        agent.send_signal(signal.SIGKILL)
    assert _wait(child, "Z") or not _state(child)
    os.close(reading)
    os.close(writing)


def task(*clients: ClientsRevoked, revoked: bool = False, pods: tuple[int, ...] = ()) -> Task:
    return read(document((), [], revoked, clients, pods))


def ended(found: Task, address: str = WAYPOINT, port: int = PORT) -> list[str]:
    """The clients whose connections to an address and port end."""
    accepted = {client: Accepted((address_bytes(address), port), address_bytes(client), None) for client in (ONE, TWO)}
    return [client for client, item in accepted.items() if found.revokes(item)]


def test_connections_to_a_waypoint_end_for_the_clients_that_are_named_or_for_all_others() -> None:
    one = frozenset({ONE})
    assert ended(task(ClientsRevoked(WAYPOINT, PORT, one))) == [ONE]
    assert ended(task(ClientsRevoked(WAYPOINT, PORT, one, all_but=True))) == [TWO]
    both = task(ClientsRevoked(WAYPOINT, PORT, one), ClientsRevoked(WAYPOINT, PORT, frozenset({TWO})))
    assert ended(both) == [ONE, TWO]
    assert ended(both, port=20001) == ended(both, "10.9.0.2") == ended(task()) == []


def test_pods_of_waypoints_are_first_and_alone_where_nothing_else_is_to_end(tmp_path: Path) -> None:
    folders = [tmp_path / f"pod{number}" for number in range(4)]
    for folder in folders:
        folder.mkdir()
    cgroup, clients = folders[2].stat().st_ino, ClientsRevoked(WAYPOINT, PORT, frozenset())
    assert task(clients, pods=(cgroup,)).folders(tmp_path) == [folders[2]]
    for other in (task(clients, revoked=True, pods=(cgroup,)), task(clients)):
        found = other.folders(tmp_path)
        assert sorted(found) == folders
        assert found[0] == folders[2] or not other.waypoint_pods
