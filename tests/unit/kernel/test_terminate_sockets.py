"""The process that ends sockets goes with the agent that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
