"""In the guest: runs the job that the kernel's command line names, by pytest."""

import os
import sys
from pathlib import Path

import jobs
import pytest
import remote

# An emulated processor computes a tenth of what others do: the lab waits so much longer (agent/lab/patience.py).
_PATIENCE = "10"
_WORDS = dict(word.split("=", 1) for word in Path("/proc/cmdline").read_text().split() if word.startswith("weft."))


class Share:
    """Leaves the tests of the job's share."""

    def __init__(self, part: int, of: int) -> None:
        self._part, self._of = part, of

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """pytest's hook."""
        items[:] = [item for item in items if jobs.in_share(item.nodeid, self._part, self._of)]


def main() -> int:
    """pytest's exit code; of one node of several, whose tests run on the host, 0 when they have ended."""
    os.environ["WEFT_LAB_PATIENCE"] = _PATIENCE
    if node := _WORDS.get("weft.node"):
        return remote.serve(int(node))
    job = jobs.declared()[_WORDS["weft.job"]]
    os.environ["WEFT_VM_KERNEL"] = _WORDS["weft.kernel"]
    if job.scale:
        os.environ["WEFT_TEST_SCALE"] = job.scale
    options = ["--junitxml=/results/junit.xml", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no", "-q"]
    options += ["--durations=25", "-m", job.marks]
    if only := _WORDS.get("weft.only"):
        options += ["-k", only.replace(",", " ")]
    return int(pytest.main([*options, *job.tests], plugins=[Share(*job.share)]))


if __name__ == "__main__":
    sys.exit(main())
