"""Run jobs on kernels in virtual machines: `make vm-test`, `make vm-test KERNEL=6.1 JOB=features`.

Two machines at a time, or as many as `--at-once` says. Each prints a line with its verdict and, when that is bad, why,
and where its console's log is. build/vm-tests/junit.xml has all tests.
"""

import argparse
import fcntl
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/cluster"))

import jobs
import junit
import kernel_layer
import kernels
import layers
import progress
import runs
import tools
import verdict
from kernels import Kernel
from runs import Images, Run
from verdict import Verdict

_SHOWN_LINES = 25


def main() -> int:
    """0 when everything passed."""
    options = _options()
    tools.install()
    if options.install_only:
        return 0
    try:
        chosen = _chosen(options.kernel, options.job, options.output)
    except kernels.DeclarationError as error:
        sys.exit(f"vm-tests: {error}")
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _run_all(chosen, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="run weft's tests on other kernels, in virtual machines")
    parser.add_argument("--kernel", nargs="*", default=[], help="names in kernels.toml; without: its default ones")
    parser.add_argument("--job", nargs="*", default=[], help="names in jobs.toml; without: its default ones")
    parser.add_argument("--install-only", action="store_true", help="install programs and stop")
    parser.add_argument("--only", default="", help="pytest's -k expression")
    parser.add_argument(
        "--at-once", type=int, default=2, help="machines that run at a time; each computes on one processor"
    )
    output = layers.REPOSITORY / "build/vm-tests"
    parser.add_argument(
        "--output", type=Path, default=output, help="folder for reports, and for consoles of failed runs"
    )
    return parser.parse_args()


def _chosen(kernel_names: Sequence[str], job_names: Sequence[str], output: Path) -> list[Run]:
    """Long jobs first, so that the machines end together. The nodes of a job have the kernels in turn."""
    all_kernels, all_jobs = kernels.declared(), jobs.declared()
    named = kernels.chosen(all_kernels, kernel_names or [k.name for k in all_kernels.values() if k.default], "kernel")
    wanted = kernels.chosen(all_jobs, job_names or [job.name for job in all_jobs.values() if job.default], "job")
    found: list[Run] = []
    for job in sorted(wanted, key=lambda job: -job.minutes):
        if job.nodes:
            found.append(Run(tuple(islice(cycle(named), job.nodes)), job, output))
        else:
            found += (Run((kernel,), job, output) for kernel in named)
    return found


def _run_all(chosen: Sequence[Run], options: argparse.Namespace) -> int:
    """Machines that are alone some at a time, then those that are joined."""
    output: Path = options.output
    images = _images({kernel.name: kernel for run in chosen for kernel in run.kernels}.values(), output)
    alone = [run for run in chosen if not run.job.nodes]
    joined = [run for run in chosen if run.job.nodes]

    def one(run: Run) -> Verdict:
        return _run(run, options.only, images)

    with ThreadPoolExecutor(options.at_once) as pool:
        found = list(zip(alone, pool.map(one, alone), strict=True))
    found += ((run, one(run)) for run in joined)
    images.repository.unlink()
    report = output / "junit.xml"
    junit.write(report, {run.name: list(judged.outcomes) for run, judged in found})
    print(f"vm-tests: {report}")
    return _summary(found)


def _images(booted: Iterable[Kernel], output: Path) -> Images:
    """What is not in the cache is made: Debian beside the rest."""
    repository = output / "repository.erofs"
    layers.repository(repository)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(layers.root)
        site = layers.site()
        files = {kernel.name: kernel_layer.files(kernel.package) for kernel in booted}
        return Images(making.result(), site, repository, files)


def _run(run: Run, only: str, images: Images) -> Verdict:
    """Boot machines and judge them. Their folder stays when they failed."""
    begun = time.monotonic()
    with progress.step(run.name):
        found = runs.execute(run, only, images)
    for name, content in found.kept.items():
        (run.output / f"{run.kernel}-{name}").write_bytes(content)
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
        lines += [f"  its console: {console}" for console in sorted(run.folder.glob("serial*.log"))]
    print("\n".join(lines), flush=True)


def _count(found: Verdict) -> str:
    return f"{len(found.outcomes) - len(found.failures)} of {len(found.outcomes)} tests"


def _summary(found: Sequence[tuple[Run, Verdict]]) -> int:
    """0 when all passed, and every kernel ran the same tests of a job: they decide alike on each."""
    failed = [run.name for run, one in found if not one.passed]
    jobs_run: dict[str, dict[str, Verdict]] = {}
    for run, one in found:
        if not run.job.nodes:
            jobs_run.setdefault(run.job.name, {})[run.kernel] = one
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
