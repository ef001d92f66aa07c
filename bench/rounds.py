"""Interleaved rounds: in each, every way of a scenario takes a turn, in random order."""

import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from agent.lab import lifecycle
from bench.lab import Lab
from bench.ratios import Verdict, judge, paired
from bench.scenarios import WAYS, Scenario, Way

# By way and measure, the values of the rounds. The control of a way has its name with AGAIN.
Samples: TypeAlias = dict[str, dict[str, list[float]]]
AGAIN = ", again"


def measure(lab: Lab, scenario: Scenario, rounds: int, skipped: dict[str, str]) -> Samples:
    """Every round of a scenario. `skipped`: the ways that are not there, with the reason."""
    ways = [name for name in scenario.ways if name not in skipped]
    turns = [(name, WAYS[name], WAYS[name].address) for name in ways]
    controls = [name for name in scenario.references if name in ways]
    turns += [(name + AGAIN, WAYS[name], WAYS[name].twin or WAYS[name].address) for name in controls]
    samples: Samples = {name: {} for name, _, _ in turns}
    chance = random.Random(0)
    if scenario.agent == "killed":
        lifecycle.stop_agent(lab.paths, kill=True)
    for _ in range(rounds):
        if scenario.agent == "restarting":
            lifecycle.stop_agent(lab.paths, kill=True)
            lifecycle.start_agent(lab.paths)
        for name, way, address in chance.sample(turns, len(turns)):
            for measured, value in _turn(lab, scenario, way, address).items():
                samples[name].setdefault(measured, []).append(round(value, 3))
    return samples


def _turn(lab: Lab, scenario: Scenario, way: Way, address: str) -> dict[str, float]:
    """One way's turn: times in µs, operations a second, and CPU time in µs an operation."""
    groups = {"agent CPU": lab.paths.system_cgroup("agent")}
    if way.proxy and address == way.address:
        groups["proxy CPU"] = lab.pod_cgroup(way.proxy)
    before = {name: _cpu(group) for name, group in groups.items()}
    system = _system_cpu()
    times = sorted(lab.ask(way, address, scenario))
    system = _system_cpu() - system
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    count = len(times)
    return {
        **{name: times[int(count * share)] / 1000 for name, share in shares.items()},
        "rate": scenario.rate or scenario.connections * 1e9 / statistics.fmean(times),
        "CPU": system / count,
        **{name: (_cpu(group) - before[name]) / count for name, group in groups.items()},
    }


def _cpu(group: Path) -> float:
    """The CPU time of a cgroup in µs; cpu.stat has it without any controller."""
    return float((group / "cpu.stat").read_text().split()[1]) if group.exists() else 0.0


def _system_cpu() -> float:
    """The CPU time of everything in µs, interrupts included, idle and stolen time not. Its unit is 10 ms."""
    user, nice, system, _, _, irq, softirq, *_ = (int(part) for part in Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) * 10_000.0


def verdicts(scenario: Scenario, samples: Samples, skipped: dict[str, str]) -> Iterator[Verdict]:
    """On each bar of a scenario."""
    for bar in scenario.bars:
        if reason := skipped.get(bar.subject) or skipped.get(bar.reference):
            yield Verdict(bar.name, bar.measure, bar.bound, reason=reason)
            continue
        names = (bar.subject, bar.reference, bar.reference + AGAIN)
        subject, reference, again = (samples[name][bar.measure] for name in names)
        yield judge(bar, paired(subject, reference), paired(again, reference))
