"""Measures how long an endpoint change of one Service takes while the node drops the probe of another Service's
listener, and while it does not, in alternation in one run. Agent, kernel and Envoy are real, in a lab.

Run it as root: `python -m bench.dropped_probe`. Prints JSON.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from agent.cli.agent_client import get
from agent.cli.lab import wait_agent
from agent.lab import lifecycle
from agent.lab.paths import LabPaths
from agent.lab.store import Store
from agent.model.meta import Key
from agent.settings import STATUS_SOCKET
from bench.figures import FACES, ROUTE, frontends, spread

ROUNDS = 15
# Probes are in the node's output chain. Clients' packets are forwarded, so the rule does not drop them.
DROP = """
add table ip probes
add chain ip probes out { type filter hook output priority 0; }
add rule ip probes out tcp dport 20000-29999 drop
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: unrelated, namespace: faces}
spec: {ports: [{name: tcp, port: 80}]}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: unrelated-1, namespace: faces, labels: {{kubernetes.io/service-name: unrelated}}}}
addressType: IPv4
ports: [{{name: tcp, port: 8080}}]
endpoints: [{{addresses: [{address}]}}]
"""
CLIENT = """
import http.client, json, sys, time
deadline = time.monotonic() + 20
print("begun", flush=True)
while time.monotonic() < deadline:
    connection = http.client.HTTPConnection("unrelated.faces", timeout=5)
    connection.request("GET", "/")
    local = json.loads(connection.getresponse().read())["local"]
    if local.startswith(sys.argv[1] + ":"):
        print(time.time())
        break
"""


def backends(paths: LabPaths) -> list[str]:
    """The addresses of two server pods."""
    pods = get(paths.state / STATUS_SOCKET, "/status")["pods"]
    return [pod["addresses"][0] for pod in pods if pod["pod"].startswith("faces/smiley-v")][:2]


def change_milliseconds(paths: LabPaths, address: str) -> float:
    """The time from the write of the slice to the first response of its endpoint, by this machine's clock."""
    argv, environment = lifecycle.exec_command(paths, "faces/face", [sys.executable, "-c", CLIENT, address])
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        client.stdout.readline()
        time.sleep(0.3)
        began = time.time()
        Store(paths).apply(SLICE.format(address=address))
        out, _ = client.communicate(timeout=30)
    return (float(out) - began) * 1000


def nft(paths: LabPaths, rules: str) -> None:
    subprocess.run(lifecycle.node_command(paths, ["nft", rules]), check=True)


def wait_state(paths: LabPaths, state: str) -> None:
    """Wait until there is one listener, in this state."""
    while True:
        listeners = get(paths.state / STATUS_SOCKET, "/status")["waypoint"]["listeners"]
        if [item["state"] for item in listeners] == [state]:
            return
        time.sleep(0.02)


def rounds(paths: LabPaths) -> Iterator[tuple[float, float]]:
    """For each round the time while a probe is dropped, and while none is."""
    route, addresses = ROUTE.format(backend="smiley-v1"), backends(paths)
    for _ in range(ROUNDS):
        nft(paths, DROP)
        # The agent probes a listener that was removed again when it comes back.
        Store(paths).delete(route)
        wait_state(paths, "draining")
        Store(paths).apply(route)
        wait_state(paths, "probing")
        # In the middle of a probe, which takes a second.
        time.sleep(0.5)
        dropped = change_milliseconds(paths, addresses[0])
        nft(paths, "delete table ip probes")
        wait_state(paths, "ready")
        yield dropped, change_milliseconds(paths, addresses[1])


def main() -> None:
    """Measure, print, and remove the lab."""
    paths = LabPaths("benchprobe")
    lifecycle.down(paths)
    lifecycle.up(paths, [FACES / "faces.yaml"], agent=True)
    try:
        wait_agent(paths)
        Store(paths).label(Key("Namespace", "", "faces"), ["weft.dev/mode=l7"])
        Store(paths).apply(SERVICE)
        Store(paths).apply(SLICE.format(address=backends(paths)[1]))
        Store(paths).apply(ROUTE.format(backend="smiley-v1"))
        wait_state(paths, "ready")
        while not frontends(paths, "faces/unrelated"):
            time.sleep(0.05)
        dropped, answered = map(list, zip(*rounds(paths), strict=True))
    finally:
        lifecycle.down(paths)
    found = {
        "endpoint change of another Service, a probe dropped, ms": spread(dropped, 0),
        "the same, no probe dropped, ms": spread(answered, 0),
        "ratio of medians": round(statistics.median(dropped) / statistics.median(answered), 2),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
