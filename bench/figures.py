"""Figures of the agent with the faces example in a lab: memory, start, and how fast a change takes effect.

Run it as root: `python -m bench.figures`. Prints JSON; medians over the rounds, with the least and the most.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent.cli.agent_client import NoAgentError, get
from agent.lab import lifecycle
from agent.lab.paths import LabPaths
from agent.lab.store import Store
from agent.lab.weft import agent_command
from agent.model.meta import Key
from agent.settings import STATUS_SOCKET

FACES = Path(__file__).parents[1] / "examples" / "faces"
ROUNDS = 5
EDITS = 20
STEADY_SECONDS = 10.0
MEMORY_V1 = Path("/sys/fs/cgroup/memory")
REQUEST = """
import http.client, json, sys, time
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    connection = http.client.HTTPConnection("smiley.faces", timeout=5)
    connection.request("GET", "/")
    pod = json.loads(connection.getresponse().read())["pod"]
    if pod.startswith(sys.argv[1]):
        print(time.time())
        break
"""
# The peer address that the server returns shows whether the request came through the waypoint. A gap is a time without
# such requests.
AGAIN = """
import http.client, json, time
gap = False
while True:
    try:
        connection = http.client.HTTPConnection("smiley.faces", timeout=5)
        connection.request("GET", "/")
        peer = json.loads(connection.getresponse().read().splitlines()[0])["peer"]
        served = peer.startswith("10.244.0.2:")
    except (OSError, ValueError, http.client.HTTPException):
        served = False
    if gap and served:
        break
    gap = gap or not served
    time.sleep(0.002)
print(time.time())
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: bench, namespace: faces}}
spec:
  parentRefs: [{{group: "", kind: Service, name: smiley, port: 80}}]
  rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]
"""


def wait_ready(paths: LabPaths) -> None:
    """Wait until the agent is ready, and every listener is ready or draining."""
    while True:
        try:
            report = get(paths.state / STATUS_SOCKET, "/status")
            if report["ready"] and all(x["state"] in ("ready", "draining") for x in report["waypoint"]["listeners"]):
                return
        except NoAgentError:
            pass
        time.sleep(0.005)


def wait_listener(paths: LabPaths) -> None:
    """Wait until the action of a frontend is `waypoint`."""
    while "waypoint" not in {x["l7"] for x in get(paths.state / STATUS_SOCKET, "/status")["frontends"]}:
        time.sleep(0.05)


def spread(values: list[float], digits: int) -> dict[str, float]:
    """The median, the least and the most."""
    parts = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, digits) for name, value in parts.items()}


def start_seconds(paths: LabPaths, fresh: bool) -> float:
    """The time from the agent's start to ready. `fresh`: nothing is loaded; otherwise it adopts the pinned maps."""
    lifecycle.stop_agent(paths, kill=not fresh)
    if fresh:
        command = [sys.executable, "-m", "agent", "detach", "--state", str(paths.state)]
        subprocess.run(command, check=True)
    began = time.monotonic()
    lifecycle.start_agent(paths)
    wait_ready(paths)
    return time.monotonic() - began


def peak_megabytes(paths: LabPaths) -> dict[str, float] | str:
    """The agent's cgroup: its peak memory with the child that compiles and the kernel's maps, and 10 s after ready."""
    group = MEMORY_V1 / f"weft-{paths.name}"
    if not (MEMORY_V1 / "memory.usage_in_bytes").exists():
        return "no cgroup v1 memory controller on this machine"
    lifecycle.stop_agent(paths)
    subprocess.run([sys.executable, "-m", "agent", "detach", "--state", str(paths.state)], check=True)
    group.mkdir(exist_ok=True)
    try:
        argv = lifecycle.node_command(paths, agent_command(paths))
        enter = f'echo 0 > {group}/cgroup.procs; exec "$@"'
        with subprocess.Popen(["sh", "-c", enter, "sh", *argv], stderr=subprocess.DEVNULL) as agent:
            wait_ready(paths)
            time.sleep(10)
            peak = int((group / "memory.max_usage_in_bytes").read_text()) / 2**20
            now = int((group / "memory.usage_in_bytes").read_text()) / 2**20
            agent.terminate()
        return {"peak": round(peak, 1), "after 10 s": round(now, 1)}
    finally:
        group.rmdir()


def resident_megabytes(paths: LabPaths) -> float:
    """The agent's resident memory, 10 s after it is ready."""
    wait_ready(paths)
    time.sleep(10)
    status = Path("/proc", paths.pidfile("agent").read_text().strip(), "status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def edit_milliseconds(paths: LabPaths, backend: str) -> float:
    """The time from the write of a Route to the first request that follows it, by this machine's clock."""
    argv, environment = lifecycle.exec_command(paths, "faces/face", [sys.executable, "-c", REQUEST, backend])
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as client:
        time.sleep(0.5)
        began = time.time()
        Store(paths).apply(ROUTE.format(backend=backend))
        out, _ = client.communicate(timeout=20)
    return (float(out) - began) * 1000


def lost_milliseconds(paths: LabPaths, policy: str) -> float:
    """The time from the end of Envoy to the first request that it serves again, with the on-loss policy `policy`."""
    service = Store(paths).load()[Key("Service", "faces", "smiley")]
    notes = {**service["metadata"].get("annotations", {}), "weft.dev/on-waypoint-loss": policy}
    Store(paths).apply(json.dumps({**service, "metadata": {**service["metadata"], "annotations": notes}}))
    while {x["onWaypointLoss"] for x in frontends(paths, "faces/smiley")} != {policy}:
        time.sleep(0.05)
    pod = next(x for x in get(paths.state / STATUS_SOCKET, "/status")["pods"] if x["pod"].startswith("weft-system/"))
    (cgroup,) = (found for found in paths.kubepods.rglob("pod*") if found.stat().st_ino == pod["cgroup"])
    argv, environment = lifecycle.exec_command(paths, "faces/face", [sys.executable, "-c", AGAIN])
    # The kubelet's back-off grows for containers that end soon after their start.
    time.sleep(STEADY_SECONDS)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as client:
        time.sleep(1)
        began = time.time()
        for processes in cgroup.rglob("cgroup.procs"):
            for process in processes.read_text().split():
                os.kill(int(process), signal.SIGKILL)
        out, _ = client.communicate(timeout=30)
    return (float(out) - began) * 1000


def frontends(paths: LabPaths, service: str) -> list[dict[str, Any]]:
    """The frontends of a Service in the agent's status."""
    return [x for x in get(paths.state / STATUS_SOCKET, "/status")["frontends"] if x["service"] == service]


def main() -> None:
    """Measure, print, and remove the lab."""
    paths = LabPaths("bench")
    lifecycle.down(paths)
    lifecycle.up(paths, [FACES / "faces.yaml"], agent=True)
    found: dict[str, Any] = {"kernel": os.uname().release, "cpus": os.cpu_count()}
    try:
        Store(paths).label(Key("Namespace", "", "faces"), ["weft.dev/mode=l7"])
        found["resident MB 10 s after ready"] = resident_megabytes(paths)
        found["cold start to ready, s"] = spread([start_seconds(paths, fresh=True) for _ in range(ROUNDS)], 2)
        found["restart to ready, s"] = spread([start_seconds(paths, fresh=False) for _ in range(ROUNDS)], 2)
        Store(paths).apply(ROUTE.format(backend="smiley-v1"))
        wait_listener(paths)
        edits = [edit_milliseconds(paths, ("smiley-v2", "smiley-v1")[number % 2]) for number in range(EDITS)]
        found["route edit to effect, ms"] = spread(edits, 0)
        for policy in ("reject", "kernel"):
            lost = [lost_milliseconds(paths, policy) for _ in range(ROUNDS)]
            found[f"Envoy killed to served by it again, {policy} meanwhile, ms"] = spread(lost, 0)
        found["agent's cgroup, MB"] = peak_megabytes(paths)
    finally:
        lifecycle.down(paths)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
