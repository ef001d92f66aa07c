"""Machines leave nothing on the host: after they ended, and after their runner was killed."""

import os
import select
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import host_state
import pytest

pytestmark = pytest.mark.vm
RUNNER = Path(__file__).parents[1] / "run.py"
COMMAND = ("--kernel", "6.1", "--job", "features", "--only", "BTF")


@dataclass
class Runner:
    """A runner of one short machine. Every process that it starts has its mark in the environment."""

    folder: Path
    mark: str = field(default_factory=lambda: f"WEFT_VM_MARK={uuid.uuid4()}")
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        temporary = self.folder / "temporary"
        temporary.mkdir()
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-u", RUNNER, *COMMAND, "--output", self.folder / "out"],
            env=os.environ | {name: value, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[int]:
        """Those that have the mark and are no zombies."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._has_mark(entry)]

    def _has_mark(self, entry: Path) -> bool:
        try:
            return self.mark.encode() in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def machine(self) -> int:
        """A descriptor of QEMU's process, once the guest has written to its console."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("6.1 features"):
                break
        while self.process.poll() is None:
            found = [process for process in self.processes() if "qemu" in Path(f"/proc/{process}/exe").readlink().name]
            if found and (self.folder / "out/6.1-features/serial.log").stat().st_size:
                return os.pidfd_open(found[0])
            select.select([], [], [], 0.1)
        raise AssertionError("the runner ended without a machine")

    def temporary(self) -> list[Path]:
        """What is in its folder for temporary files."""
        return list((self.folder / "temporary").iterdir())


def test_a_run_that_ends_leaves_its_report_only(tmp_path: Path) -> None:
    before = host_state.snapshot()
    runner = Runner(tmp_path)
    output, _ = runner.process.communicate()
    assert runner.process.returncode == 0, output
    assert host_state.snapshot() == before
    assert (runner.processes(), runner.temporary()) == ([], [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "junit.xml"]


def test_a_killed_runner_takes_its_machine_with_it(tmp_path: Path) -> None:
    before = host_state.snapshot()
    runner = Runner(tmp_path)
    with runner.process:
        machine = runner.machine()
        os.kill(runner.process.pid, signal.SIGKILL)
    select.select([machine], [], [])  # readable when the process is gone
    os.close(machine)
    assert host_state.snapshot() == before
    assert (runner.processes(), runner.temporary()) == ([], [])
