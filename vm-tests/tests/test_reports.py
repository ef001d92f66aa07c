"""What the runner prints of a machine whose tests fail."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm
RUNNER = Path(__file__).parents[1] / "run.py"


def test_a_refused_program_and_a_wrong_table_fail_the_run(tmp_path: Path) -> None:
    command = [sys.executable, str(RUNNER), "--kernel", "6.1", "--job", "refused", "--output", str(tmp_path)]
    runner = subprocess.run(command, capture_output=True, text=True, check=False)
    assert runner.returncode == 1
    assert "get_current_ancestor_cgroup_id#123" in runner.stdout
    assert "kernels.toml says that 6.1 has no device: veth" in runner.stdout
    assert "test_a_feature_that_the_table_promises" in runner.stdout
    assert "vm-tests: FAILED: 6.1 refused" in runner.stdout
    assert (tmp_path / "6.1-refused/serial.log").stat().st_size
