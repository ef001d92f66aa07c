"""How often the kernel runs weft's programs, and for how long, by its own counts (BPF_ENABLE_STATS, kernel 5.8)."""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from agent.kernel.links import list_links
from bench.lab import Lab
from bench.scenarios import WAYS, Scenario

RUN_TIME = 0  # enum bpf_stats_type
OPERATIONS = 1000


@contextmanager
def counting() -> Iterator[None]:
    """The kernel counts runs and their time while a descriptor is open."""
    fd = ctypes.CDLL("libbpf.so.1").bpf_enable_stats(RUN_TIME)
    if fd < 0:
        raise OSError("the kernel does not count the runs of programs (BPF_ENABLE_STATS)")
    try:
        yield
    finally:
        os.close(fd)


def runs(lab: Lab) -> dict[str, tuple[int, int]]:
    """Of each attached program, how often it has run while runs were counted, and the nanoseconds of that."""
    shown = subprocess.run(["bpftool", "--json", "prog", "show"], check=True, capture_output=True).stdout
    counts = {item["id"]: (item.get("run_cnt", 0), item.get("run_time_ns", 0)) for item in json.loads(shown)}
    return {link.program: counts[link.program_id] for link in list_links(lab.paths.bpf)}


def per_operation(lab: Lab, scenario: Scenario, way: str) -> dict[str, dict[str, float]]:
    """Of each program that ran, its runs for an operation, and the nanoseconds of a run.

    The difference of two calls, with N and 2 N operations: what a call itself causes is in both. Rounded, as earlier
    connections may end meanwhile.
    """
    once, twice = (_counted(lab, replace(scenario, count=count), way) for count in (OPERATIONS, 2 * OPERATIONS))
    return {
        name: {
            "runs": round((twice[name][0] - count) / OPERATIONS, 2) + 0.0,
            "ns": round(twice[name][1] / twice[name][0]),
        }
        for name, (count, _) in once.items()
        if twice[name][0]
    }


def _counted(lab: Lab, scenario: Scenario, way: str) -> dict[str, tuple[int, int]]:
    with counting():
        before = runs(lab)
        lab.ask(WAYS[way], WAYS[way].address, scenario)
        return {name: (count - before[name][0], time - before[name][1]) for name, (count, time) in runs(lab).items()}
