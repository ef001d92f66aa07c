"""What a machine that has ended came to: from its results disk and its console."""

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dmesg
import junit
from junit import Outcome

_LATE = "killed: it did not end in its time"
_READ = {"status", "junit.xml", "dmesg"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcomes of a machine's tests, and of its end and its kernel's log, which are tests too."""

    outcomes: tuple[Outcome, ...]
    slow: dict[str, int]  # reports of a slow guest, see `dmesg.SLOW_GUEST`
    kept: dict[str, bytes]  # other files that the guest's tests left

    @property
    def failures(self) -> list[Outcome]:
        """Tests that failed, and those that were skipped: a machine is made so that nothing need be."""
        return [outcome for outcome in self.outcomes if outcome.message]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def read(results: Path, serial: Path, ended: bool, tests: bool = True) -> Verdict:
    """The verdict. `ended` is False for a machine that was killed for its time, `tests` for one whose tests run on the
    host.
    """
    console = serial.read_text(errors="replace").splitlines()
    files = _unpacked(results)
    found = dmesg.examine([*files["dmesg"].decode(errors="replace").splitlines()] if "dmesg" in files else console)
    outcomes = junit.parse(files["junit.xml"]) if "junit.xml" in files else []
    log = Outcome("the kernel's log", "\n".join(found.problems))
    kept = {name: content for name, content in files.items() if name not in _READ}
    status = files.get("status", b"").decode().strip()
    message = _why(status, outcomes, tests) if ended else _LATE
    end = Outcome(
        "the machine's end", "\n".join((message, "its console ends with:", *console[-15:])) if message else ""
    )
    return Verdict((*outcomes, end, log), found.slow, kept)


def of_nodes(report: Path, status: int | None, log: str, machines: Mapping[str, Verdict]) -> Verdict:
    """The verdict on several machines at once. `report` is where pytest wrote one on the host, `status` its exit code
    (None when it was killed for its time), `log` what it printed; `machines` are by what they are called.
    """
    outcomes = junit.parse(report.read_bytes()) if report.exists() else []
    message = _LATE if status is None else _why(str(status), outcomes)
    end = Outcome("the tests' end", "\n".join((message, "they end with:", *log.splitlines()[-15:])) if message else "")
    named = [replace(one, name=f"{name}: {one.name}") for name, found in machines.items() for one in found.outcomes]
    slow = {f"{name}: {report}": count for name, found in machines.items() for report, count in found.slow.items()}
    return Verdict((*outcomes, end, *named), slow, {})


def missing_tests(found: Mapping[str, Verdict]) -> list[str]:
    """Tests of a job that one kernel ran and another did not, a sentence each; `found` is by kernel. A failed machine
    has not run all.
    """
    ran = {kernel: {outcome.name for outcome in one.outcomes} for kernel, one in found.items() if one.passed}
    everywhere = set().union(*ran.values())
    return [f"{kernel} did not run {name}" for kernel, names in ran.items() for name in sorted(everywhere - names)]


def _unpacked(results: Path) -> dict[str, bytes]:
    """Files of the archive that the guest wrote; none when it did not come so far."""
    try:
        with tarfile.open(results) as archive:
            members = {member.name.removeprefix("./"): archive.extractfile(member) for member in archive}
            return {name: file.read() for name, file in members.items() if file}
    except tarfile.ReadError:
        return {}


def _why(status: str, outcomes: Sequence[Outcome], tests: bool = True) -> str:
    """Why an exit code of pytest is not one that its report explains, or empty. Without `tests`, 0 needs no report."""
    failed = any(outcome.message and not outcome.skipped for outcome in outcomes)
    if not status:
        return "it ended without results"
    if (status == "0" and (outcomes or not tests)) or (status == "1" and failed):
        return ""
    return f"pytest ended with {status} and reported {len(outcomes)} tests"
