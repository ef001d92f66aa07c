"""A process gives up capabilities for good, in each of its threads and for its children. The processes are real."""

import subprocess
import sys

import pytest

from agent.kernel.privileges import AGENT_CAPABILITIES

MASK = sum(1 << capability for capability in AGENT_CAPABILITIES)
# Prints the permitted capabilities of the process, of a thread that it starts later, and of a child.
KEEP = """
import subprocess, threading
from pathlib import Path
from agent.kernel import privileges

def show(*_):
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("CapPrm")).split()[1], flush=True)

privileges.keep()
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
subprocess.run(["awk", "/^CapPrm/ { print $2 }", "/proc/self/status"], check=True)
"""
TOO_LATE = """
import threading, time
from agent.kernel import privileges
threading.Thread(target=time.sleep, args=[60], daemon=True).start()
privileges.keep()
"""


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_no_thread_and_no_child_has_another_capability() -> None:
    found = [int(text, 16) for text in _run(KEEP).stdout.split()]
    assert len(found) == 3
    assert [permitted & ~MASK for permitted in found] == [0, 0, 0]


@pytest.mark.skipif("os.geteuid() != 0", reason="a process without capabilities has none to keep")
def test_what_the_agent_needs_stays() -> None:
    assert {int(text, 16) for text in _run(KEEP).stdout.split()} == {MASK}


def test_threads_that_would_keep_theirs_are_an_error() -> None:
    done = _run(TOO_LATE)
    assert done.returncode == 1
    assert "RuntimeError: 1 other threads would keep their capabilities" in done.stderr
