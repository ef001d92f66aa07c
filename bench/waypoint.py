"""Measures a request through the waypoint beside one through a plain Envoy, with the agent running and killed.

One connection, kept alive, HTTP/1.1. In each round the three ways (the waypoint and two plain Envoys of the same
configuration) take turns in random order. The ratio of the two plain Envoys is the control: what differs by no more
than it is noise. Run it as root with `make bench`. Prints JSON.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.cli.agent_client import get
from agent.cli.lab import wait_agent
from agent.lab import lifecycle
from agent.lab.paths import LabPaths
from agent.lab.store import Store
from agent.settings import STATUS_SOCKET
from agent.waypoint.process import envoy_command

HERE = Path(__file__).parent
WAYS = {"weft": "server.app", "plain": "10.244.9.2", "control": "10.244.9.3"}
POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}}}
  annotations: {{lab.weft.dev/address: {address}}}
spec: {{containers: [{{name: envoy, command: {command}}}]}}
---
"""
INSTALLATIONS = {
    "server": ("app", "10.244.9.1", "waypoint_server.yaml"),
    "plain": ("outside", "10.244.9.2", "waypoint_plain.yaml"),
    "control": ("outside", "10.244.9.3", "waypoint_plain.yaml"),
}
# In the client's pod: the p50 and p99 of so many requests on one connection, in microseconds.
CLIENT = """
import json, socket, sys, time
REQUEST, END = b"GET / HTTP/1.1\\r\\nHost: server.app\\r\\n\\r\\n", b"\\r\\n\\r\\nok"
def ask():
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(END):
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer
for line in sys.stdin:
    host, number = line.split()
    with socket.create_connection((host, 80), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(50):
            ask()
        for _ in range(int(number)):
            began = time.perf_counter_ns()
            ask()
            times.append(time.perf_counter_ns() - began)
    times.sort()
    print(json.dumps([times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000]), flush=True)
"""
# Of each round: p50 and p99, and the CPU time for a request, of the way's Envoy and, for the waypoint, of the agent.
MEASURES = ("p50", "p99", "Envoy's CPU", "agent's CPU")
Samples = dict[str, list[tuple[float, ...]]]


def start(paths: LabPaths) -> None:
    """A client, an Envoy that is the server, and two plain ones before it."""
    lifecycle.up(paths, [HERE / "waypoint.yaml"], agent=True)
    pods = "".join(
        POD.format(name=name, namespace=namespace, address=address, command=json.dumps(envoy_command(HERE / file, 2)))
        for name, (namespace, address, file) in INSTALLATIONS.items()
    )
    Store(paths).apply(pods)
    wait_agent(paths)
    lifecycle.wait_for("the listener is ready", lambda: _states(paths) == ["ready"], 60)


def _states(paths: LabPaths) -> list[str]:
    return [item["state"] for item in get(paths.state / STATUS_SOCKET, "/status")["waypoint"]["listeners"]]


def envoys(paths: LabPaths) -> dict[str, list[int]]:
    """The processes of each way's Envoy."""
    pods = {pod["pod"]: pod["cgroup"] for pod in get(paths.state / STATUS_SOCKET, "/status")["pods"]}
    found = {}
    for way, name in {"weft": "weft-system/", "plain": "outside/plain", "control": "outside/control"}.items():
        inode = next(cgroup for pod, cgroup in pods.items() if pod.startswith(name))
        (folder,) = (found for found in paths.kubepods.rglob("pod*") if found.stat().st_ino == inode)
        found[way] = [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]
    return found


def cpu_microseconds(processes: list[int]) -> float:
    """The CPU time of all threads of processes; none of those that ended."""
    files = [file for pid in processes for file in Path("/proc", str(pid), "task").glob("*/schedstat")]
    return sum(int(file.read_text().split()[0]) for file in files) / 1000


def measure(paths: LabPaths, processes: dict[str, list[int]], rounds: int, requests: int) -> Samples:
    """For each way, the measures of each round."""
    samples: Samples = {way: [] for way in WAYS}
    agent = [int(paths.pidfile("agent").read_text())] if lifecycle.agent_runs(paths) else []
    argv, environment = lifecycle.exec_command(paths, "app/client", [sys.executable, "-c", CLIENT])
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(rounds):
            for way in random.sample(list(WAYS), len(WAYS)):
                before = [cpu_microseconds(processes[way]), cpu_microseconds(agent)]
                client.stdin.write(f"{WAYS[way]} {requests}\n")
                client.stdin.flush()
                times = json.loads(client.stdout.readline())
                after = [cpu_microseconds(processes[way]), cpu_microseconds(agent)]
                samples[way].append((*times, *((b - a) / requests for a, b in zip(before, after, strict=True))))
        client.stdin.close()
    return samples


def ratios(samples: Samples) -> dict[str, Any]:
    """Medians of the paired ratios to the first plain Envoy, with their quartiles; and the times themselves."""
    found: dict[str, Any] = {}
    for column, name in enumerate(MEASURES):
        if name == "agent's CPU":
            found[f"{name}, µs"] = round(statistics.median(pair[column] for pair in samples["weft"]), 1)
            continue
        plain = [pair[column] for pair in samples["plain"]]
        found[f"{name} plain, µs"] = round(statistics.median(plain), 1)
        for way in ("weft", "control"):
            paired = [pair[column] / other for pair, other in zip(samples[way], plain, strict=True)]
            low, middle, high = (round(value, 3) for value in statistics.quantiles(paired, n=4))
            found[f"{name} {way} / plain"] = {"median": middle, "quartiles": [low, high]}
    return found


def main() -> None:
    """Measure, print, and remove the lab."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1500, help="of each way in a round")
    settings = parser.parse_args()
    paths = LabPaths("benchwaypoint")
    lifecycle.down(paths)
    try:
        start(paths)
        processes = envoys(paths)
        found = {"agent running": ratios(measure(paths, processes, settings.rounds, settings.requests))}
        lifecycle.stop_agent(paths, kill=True)
        found["agent killed"] = ratios(measure(paths, processes, settings.rounds, settings.requests))
    finally:
        lifecycle.down(paths)
    print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
