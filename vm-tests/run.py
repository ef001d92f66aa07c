"""Run jobs on kernels in virtual machines: `make vm-test`, `make vm-test KERNEL=6.1 JOB=features`.

Two machines at a time. Each prints a line with its verdict and, when that is bad, why, and where its console's log is.
build/vm-tests/junit.xml has all tests.
"""

import argparse
import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/cluster"))

import jobs
import junit
import kernel_layer
import kernels
import layers
import machine
import progress
import tools
import verdict
from jobs import Job
from kernels import Kernel
from machine import Machine
from verdict import Verdict

AT_ONCE = 2
_SHOWN_LINES = 25


@dataclass(frozen=True, slots=True)
class Run:
    """One job on one kernel."""

    kernel: Kernel
    job: Job
    output: Path

    @property
    def name(self) -> str:
        """As it is printed and reported."""
        return f"{self.kernel.name} {self.job.name}"

    @property
    def folder(self) -> Path:
        """For its console and results."""
        return self.output / f"{self.kernel.name}-{self.job.name}"


def main() -> int:
    """0 when everything passed."""
    options = _options()
    tools.install()
    if options.install_only:
        return 0
    try:
        runs = _chosen(options.kernel, options.job, options.output)
    except kernels.DeclarationError as error:
        sys.exit(f"vm-tests: {error}")
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _run_all(runs, options.output, options.only)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="run weft's tests on other kernels, in virtual machines")
    parser.add_argument("--kernel", nargs="*", default=[], help="names in kernels.toml; without: its default ones")
    parser.add_argument("--job", nargs="*", default=[], help="names in jobs.toml; without: its default ones")
    parser.add_argument("--install-only", action="store_true", help="install programs and stop")
    parser.add_argument("--only", default="", help="pytest's -k expression")
    output = layers.REPOSITORY / "build/vm-tests"
    parser.add_argument(
        "--output", type=Path, default=output, help="folder for reports, and for consoles of failed runs"
    )
    return parser.parse_args()


def _chosen(kernel_names: Sequence[str], job_names: Sequence[str], output: Path) -> list[Run]:
    """Long jobs first, so that the machines end together."""
    all_kernels, all_jobs = kernels.declared(), jobs.declared()
    named = kernels.chosen(all_kernels, kernel_names or [k.name for k in all_kernels.values() if k.default], "kernel")
    wanted = kernels.chosen(all_jobs, job_names or [job.name for job in all_jobs.values() if job.default], "job")
    return [Run(kernel, job, output) for job in sorted(wanted, key=lambda job: -job.minutes) for kernel in named]


def _run_all(runs: Sequence[Run], output: Path, only: str) -> int:
    repository = output / "repository.erofs"
    layers.repository(repository)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        making = pool.submit(layers.root)
        site = layers.site()
        booted = {run.kernel.name: kernel_layer.files(run.kernel.package) for run in runs}
        root = making.result()

        def one(run: Run) -> Verdict:
            files = booted[run.kernel.name]
            return _run(run, only, lambda **place: Machine(files, (root, files.modules, site, repository), **place))

        found = list(pool.map(one, runs))
    repository.unlink()
    report = output / "junit.xml"
    junit.write(report, {run.name: list(one.outcomes) for run, one in zip(runs, found, strict=True)})
    print(f"vm-tests: {report}")
    return _summary(runs, found)


def _run(run: Run, only: str, make: Callable[..., Machine]) -> Verdict:
    """Boot a machine and judge it. Its folder stays when it failed."""
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir()
    words = {"weft.kernel": run.kernel.name, "weft.job": run.job.name}
    if only:
        words["weft.only"] = only.replace(" ", ",")
    results, serial = run.folder / "results.tar", run.folder / "serial.log"
    begun = time.monotonic()
    with progress.step(run.name):
        ended = machine.run(
            make(results=results, serial=serial, memory=run.job.memory, words=words), run.job.minutes * 60
        )
    found = verdict.read(results, serial, ended)
    results.unlink()
    for name, content in found.kept.items():
        (run.output / f"{run.kernel.name}-{name}").write_bytes(content)
    _report(run, found, time.monotonic() - begun)
    if found.passed:
        shutil.rmtree(run.folder)
    return found


def _report(run: Run, found: Verdict, seconds: float) -> None:
    """The verdict's line, and why."""
    slow = "".join(f", {name} reported {count} times" for name, count in found.slow.items())
    lines = [f"vm-tests: {run.name}: {'passed' if found.passed else 'FAILED'}, {_count(found)}, {seconds:.0f} s{slow}"]
    for failure in found.failures:
        lines += [f"  {failure.name}:", *(f"    {line}" for line in failure.message.splitlines()[-_SHOWN_LINES:])]
    if not found.passed:
        lines.append(f"  its console: {run.folder / 'serial.log'}")
    print("\n".join(lines), flush=True)


def _count(found: Verdict) -> str:
    return f"{len(found.outcomes) - len(found.failures)} of {len(found.outcomes)} tests"


def _summary(runs: Sequence[Run], found: Sequence[Verdict]) -> int:
    """0 when all passed, and every kernel ran the same tests of a job: they decide alike on each."""
    failed = [run.name for run, one in zip(runs, found, strict=True) if not one.passed]
    jobs_run: dict[str, dict[str, Verdict]] = {}
    for run, one in zip(runs, found, strict=True):
        jobs_run.setdefault(run.job.name, {})[run.kernel.name] = one
    missing = [f"{job}: {line}" for job, kernels_run in jobs_run.items() for line in verdict.missing_tests(kernels_run)]
    for line in missing:
        print(f"vm-tests: FAILED: {line}")
    if failed:
        print(f"vm-tests: FAILED: {', '.join(failed)}")
    if not failed and not missing:
        print("vm-tests: all passed")
    return bool(failed or missing)


if __name__ == "__main__":
    sys.exit(main())
