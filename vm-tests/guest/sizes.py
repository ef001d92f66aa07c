"""How many instructions weft's programs are on this kernel, for the record: the runner keeps the measurement."""

import subprocess
import sys
from pathlib import Path


def test_programs_are_measured() -> None:
    command = [sys.executable, "tests/datapath/program_sizes.py"]
    measured = subprocess.run(command, capture_output=True, text=True, check=False)
    assert measured.stdout, measured.stderr
    Path("/results/program-sizes.json").write_text(measured.stdout)
