"""A job on a kernel, or on several machines that are joined: booted, and judged by what they leave."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import kernel_layer
import layers
import machine
import verdict
from jobs import Job
from kernels import Kernel
from machine import Machine
from private_network import PrivateNetwork, private_network, taps
from verdict import Verdict


@dataclass(frozen=True, slots=True)
class Images:
    """What machines read: Debian, the virtual environment, the clone, and files of each kernel by its name."""

    root: Path
    site: Path
    repository: Path
    kernels: Mapping[str, kernel_layer.Files]


@dataclass(frozen=True, slots=True)
class Run:
    """A job on a kernel; one of several machines has a kernel for each of them."""

    kernels: tuple[Kernel, ...]
    job: Job
    output: Path

    @property
    def kernel(self) -> str:
        """The kernel's name, or the machines' kernels'."""
        return "+".join(kernel.name for kernel in self.kernels)

    @property
    def name(self) -> str:
        """As it is printed and reported."""
        return f"{self.kernel} {self.job.name}"

    @property
    def folder(self) -> Path:
        """For consoles and results."""
        return self.output / f"{self.kernel}-{self.job.name}"

    @property
    def seconds(self) -> float:
        """After which its machines are killed."""
        return self.job.minutes * 60


def execute(run: Run, only: str, images: Images) -> Verdict:
    """Boot the machines in an empty folder of the run, and judge them. `only` is pytest's -k expression, or empty."""
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir()
    if not run.job.nodes:
        words = {"weft.only": only.replace(" ", ",")} if only else {}
        return _execute_machine(run, images, run.kernels[0], words)
    numbers = range(1, run.job.nodes + 1)
    with private_network(numbers) as network, ThreadPoolExecutor(run.job.nodes) as pool:

        def one(number: int, kernel: Kernel) -> Verdict:
            return _execute_machine(run, images, kernel, {"weft.node": str(number)}, (network, number))

        booted = [pool.submit(one, number, kernel) for number, kernel in zip(numbers, run.kernels, strict=True)]
        report = run.folder / "junit.xml"
        status = _drive(run, only, network, report)
        names = [f"node {number}, {kernel.name}" for number, kernel in zip(numbers, run.kernels, strict=True)]
        machines = {name: future.result() for name, future in zip(names, booted, strict=True)}
    return verdict.of_nodes(report, status, (run.folder / "tests.log").read_text(), machines)


def _execute_machine(
    run: Run, images: Images, kernel: Kernel, words: Mapping[str, str], node: tuple[PrivateNetwork, int] | None = None
) -> Verdict:
    """One machine; `node` is the network in which it is one, and its number there."""
    suffix = f"-{node[1]}" if node else ""
    results, serial = run.folder / f"results{suffix}.tar", run.folder / f"serial{suffix}.log"
    files = images.kernels[kernel.name]
    made = Machine(
        kernel=files,
        disks=(images.root, files.modules, images.site, images.repository),
        results=results,
        serial=serial,
        memory=run.job.memory,
        words={"weft.kernel": kernel.name, "weft.job": run.job.name, **words},
        taps=taps(node[1]) if node else (),
        within=node[0].within(()) if node else (),
        reboots=run.job.reboots,
    )
    found = verdict.read(results, serial, machine.run(made, run.seconds), tests=node is None)
    results.unlink()
    return found


def _drive(run: Run, only: str, network: PrivateNetwork, report: Path) -> int | None:
    """Run the tests of the machines; returns pytest's exit code, None when it was killed for its time."""
    kernels = ",".join(kernel.name for kernel in run.kernels)
    tests = [sys.executable, str(Path(__file__).with_name("drive.py")), str(report), kernels, only, *run.job.tests]
    command = ["setpriv", "--pdeathsig", "KILL", *network.within(tests)]
    with (run.folder / "tests.log").open("wb") as log:
        try:
            done = subprocess.run(
                command,
                cwd=layers.REPOSITORY,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=run.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode
