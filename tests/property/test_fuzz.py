"""`make fuzz`, briefly and with a fixed seed: it reports what it did, keeps its inputs, and fails with a crash's."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support import TESTS

FUZZ = TESTS / "fuzz" / "fuzz.py"
# Raises for an input with a text that only changes bring.
PLANTED = f"""
import sys
sys.path.insert(0, {str(FUZZ.parent)!r})
import fuzz
one = fuzz.Fuzzer.one
def planted(self, data):
    one(self, data)
    if b"99999h" in data:
        raise ValueError("planted")
fuzz.Fuzzer.one = planted
sys.exit(fuzz.main(["--runs=20000", "--seed=1"]))
"""


def python(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with a cache of its own."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"WEFT_CACHE": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_run_of_a_fixed_seed_finds_no_crash_and_the_next_goes_on_from_what_it_kept(tmp_path: Path) -> None:
    done = python(tmp_path, FUZZ, "--runs=600", "--seed=1")
    assert done.returncode == 0, done.stderr
    found = re.match(r"fuzz: seed 1, 600 sets of (\d+) objects .* (\d+)% of them decoded; (\d+) sets kept", done.stdout)
    assert found, done.stdout
    assert int(found[2]) >= 20
    more = python(tmp_path, FUZZ, "--runs=600", "--seed=2")
    assert more.returncode == 0, more.stderr
    kept = re.search(r"(\d+) sets kept", more.stdout)
    assert kept
    assert int(kept[1]) > int(found[3]) > 68


def test_a_crash_fails_with_the_input_that_raised_it(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", PLANTED)
    assert done.returncode == 1
    assert "ValueError: planted" in done.stdout + done.stderr
    (crash,) = (tmp_path / "fuzz-1").glob("crash-*")
    assert b"99999h" in crash.read_bytes()
    assert f"make fuzz INPUT={crash}" in done.stderr
    assert python(tmp_path, FUZZ, f"--input={crash}").returncode == 0
