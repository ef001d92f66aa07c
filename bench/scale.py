"""`python -m bench.scale`: what the agent costs, and how fast a change takes effect, as the cluster grows.

Agent and kernel are real; objects come from a directory. Times are from the rename of a file to the first connection
that obeys, by the monotonic clock. Writes results/scale.json.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.lab import lifecycle
from bench import machine, rounds
from bench.lab import LOAD, Lab, started
from bench.many import endpoint_slice, service
from bench.ratios import Ratio, Verdict, paired
from bench.report import RESULTS, render, write
from bench.scenarios import WAYPOINT, Scenario

SIZES = (10, 1_000, 10_000)
ENDPOINTS = 10
CHANGES = 60
STARTS = 3
CHURN_SECONDS, CHURN_RATE = 20, 100
# A Service whose endpoint answers, or refuses: a port where nothing listens.
NAMESPACE, PROBE, PROBE_ADDRESS, SERVER = "scale", "probe", "10.96.0.200", "10.244.9.4"
ANSWERS, REFUSES = 9000, 1
CHURNED = 100
# At each size, rounds of a connect to a Service beside a direct one.
ROUNDS = 24
CONNECT = Scenario("TCP connect", "connect", 400, ("weft L4", "direct"), ())


def point_probe(lab: Lab, port: int) -> None:
    """Have the Service's only endpoint be at this port."""
    lab.save(endpoint_slice(NAMESPACE, PROBE, [SERVER], port))


def first_connection(lab: Lab) -> subprocess.Popen[str]:
    """A client that connects to the Service until it succeeds, and prints when that was."""
    return lab.start("mesh/client", True, [str(LOAD), "until", PROBE_ADDRESS, "80"], stdout=subprocess.PIPE)


def connected_at(client: subprocess.Popen[str]) -> int:
    """When the client connected, in ns of the monotonic clock."""
    out, _ = client.communicate(timeout=120)
    return int(out)


def change_milliseconds(lab: Lab) -> float:
    """From the change of a slice to the first connection to the new endpoint."""
    point_probe(lab, REFUSES)
    time.sleep(0.5)
    client = first_connection(lab)
    time.sleep(0.1)
    while client.poll() is not None:  # the agent has not taken it yet
        client = first_connection(lab)
        time.sleep(0.1)
    began = time.monotonic_ns()
    point_probe(lab, ANSWERS)
    return (connected_at(client) - began) / 1e6


def cold_sync_seconds(lab: Lab) -> float:
    """From the start of an agent that finds nothing in the kernel to the first connection."""
    lifecycle.stop_agent(lab.paths)
    subprocess.run([sys.executable, "-m", "agent", "detach", "--state", str(lab.paths.state)], check=True)
    client = first_connection(lab)
    began = time.monotonic_ns()
    lifecycle.start_agent(lab.paths)
    return (connected_at(client) - began) / 1e9


def churn_share(lab: Lab) -> float:
    """The agent's CPU, as a share of one core, while slices change at CHURN_RATE a second."""
    group = lab.paths.system_cgroup("agent") / "cpu.stat"
    before, began = _microseconds(group), time.monotonic()
    for number in range(CHURN_SECONDS * CHURN_RATE):
        address = f"10.245.{number // 250}.{1 + number % 250}"
        lab.save(endpoint_slice(NAMESPACE, f"churned-{number % CHURNED}", [address], 8080))
        time.sleep(max(0.0, began + (number + 1) / CHURN_RATE - time.monotonic()))
    return (_microseconds(group) - before) / 1e6 / (time.monotonic() - began)


def _microseconds(file: Path) -> int:
    return int(file.read_text().split()[1])


def resident_megabytes(pid: int) -> float:
    """The resident memory of a process."""
    status = Path("/proc", str(pid), "status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def percentiles(values: list[float]) -> dict[str, float]:
    """Median, p99 (with few values the largest), and the least."""
    ordered = sorted(values)
    picked = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "least": 0}
    return {name: round(ordered[index], 1) for name, index in picked.items()}


def connect_ratio(lab: Lab) -> Ratio:
    """The p50 of a connect to a Service, as a ratio to direct ones in the same rounds."""
    samples = rounds.measure(lab, CONNECT, ROUNDS, {})
    return paired(*(samples[way]["p50"] for way in CONNECT.ways))


def measure(lab: Lab, sizes: tuple[int, ...], changes: int) -> dict[str, Any]:
    """The curve over sizes; and what is measured at the last size only."""
    lab.save(service(NAMESPACE, PROBE, PROBE_ADDRESS))
    lab.save(*(service(NAMESPACE, f"churned-{number}", f"10.96.200.{number}") for number in range(CHURNED)))
    curve = {}
    agent = lab.paths.pidfile("agent")
    for before, size in itertools.pairwise((1, *sizes)):
        lab.add_services(range(before, size), ENDPOINTS)
        times = [change_milliseconds(lab) for _ in range(changes)]
        curve[size] = {
            "change, ms": percentiles(times),
            "agent, MB": resident_megabytes(int(agent.read_text())),
            "connect / direct": round(connect_ratio(lab).value, 3),
        }
        print(f"{size} Services: {curve[size]}", file=sys.stderr, flush=True)
    churn = churn_share(lab)
    starts = [cold_sync_seconds(lab) for _ in range(STARTS)]
    envoy = max(map(resident_megabytes, lab.pod_processes(WAYPOINT)))
    return {
        "curve": curve,
        "cold sync, s": percentiles(starts),
        "CPU at 100 changes a second": round(churn, 3),
        "Envoy, MB": envoy,
    }


def verdicts(found: dict[str, Any], least: int, most: int) -> list[Verdict]:
    """The bars of absolute numbers; they are of this machine, and have no control."""
    largest, smallest = found["curve"][most], found["curve"][least]
    change = largest["change, ms"]
    growth = round(largest["connect / direct"] / smallest["connect / direct"], 3)
    rows = (
        ("endpoint change to first connection, p50 ms", change["p50"], 15),
        ("endpoint change to first connection, p99 ms", change["p99"], 60),
        ("start of the agent, compiling included, to first connection, s", found["cold sync, s"]["p50"], 4),
        ("agent resident, MB", largest["agent, MB"], 180),
        ("agent CPU at 100 endpoint changes a second, share of a core", found["CPU at 100 changes a second"], 0.15),
        (f"TCP connect p50 / that at {least} Services", growth, 1.10),
    )
    title = f"{most} Services × {ENDPOINTS} endpoints"
    return [Verdict(f"{title}: {name}", "absolute", bound, value, value <= bound) for name, value, bound in rows]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--changes", type=int, default=CHANGES, help="at each size")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that is written")
    options = parser.parse_args()
    described = machine.described()
    with started("benchscale", 1) as lab:
        found = measure(lab, tuple(options.sizes), options.changes)
    bars = [asdict(verdict) for verdict in verdicts(found, options.sizes[0], options.sizes[-1])]
    write(options.results / "scale.json", {"bars": bars, **found, "machine": described})
    render(options.results)
    print(json.dumps({"bars": bars, **found}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
