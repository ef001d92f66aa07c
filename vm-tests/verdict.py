"""What a machine that has ended came to: from its results disk and its console."""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dmesg
import junit
from junit import Outcome

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


def read(results: Path, serial: Path, ended: bool) -> Verdict:
    """The verdict. `ended` is False for a machine that was killed for its time."""
    console = serial.read_text(errors="replace").splitlines()
    files = _unpacked(results)
    found = dmesg.examine([*files["dmesg"].decode(errors="replace").splitlines()] if "dmesg" in files else console)
    outcomes = junit.parse(files["junit.xml"]) if "junit.xml" in files else []
    log = Outcome("the kernel's log", "\n".join(found.problems))
    kept = {name: content for name, content in files.items() if name not in _READ}
    return Verdict((*outcomes, _end(files, outcomes, console, ended), log), found.slow, kept)


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


def _end(files: dict[str, bytes], outcomes: list[Outcome], console: list[str], ended: bool) -> Outcome:
    """Whether the machine came to its end and pytest to a result that its report explains."""
    name, status = "the machine's end", files.get("status", b"").decode().strip()
    failed = any(outcome.message and not outcome.skipped for outcome in outcomes)
    if not ended:
        message = "killed: it did not end in its time"
    elif not status:
        message = "it ended without results"
    elif (status == "0" and outcomes) or (status == "1" and failed):
        return Outcome(name)
    else:
        message = f"pytest ended with {status} and reported {len(outcomes)} tests"
    return Outcome(name, "\n".join((message, "its console ends with:", *console[-15:])))
