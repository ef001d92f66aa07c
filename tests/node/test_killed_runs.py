"""A run of the demo or of the tests that is killed at any point does not break the next one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("make_lab")]

PROJECT = Path(__file__).parents[2]
DEMO = [sys.executable, "examples/faces/demo.py"]
TESTS = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
TESTS += ["tests/node/test_lab_traffic.py", "tests/datapath/test_tables.py"]


@pytest.mark.parametrize(("command", "seconds"), [(DEMO, 15.0), (TESTS, 12.0)], ids=["demo", "tests"])
def test_the_next_run_is_as_good(command: list[str], seconds: float):
    """Killed alone, and with all that it started and that shares its session."""
    for whole_session in (False, True, False, True):
        after = random.uniform(0.2, seconds)
        print(f"killed after {after:.2f} s{', with its session' if whole_session else ''}")
        with subprocess.Popen(command, cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL) as run:
            time.sleep(after)
            (os.killpg if whole_session else os.kill)(run.pid, signal.SIGKILL)
    done = subprocess.run(command, cwd=PROJECT, text=True, capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
