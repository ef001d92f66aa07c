"""Within the network namespace of several machines: wait for them, run tests of them, have them end.

Arguments: the report's path, the machines' kernels joined by commas, pytest's -k expression or nothing, and tests.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest
from remote_node import KERNELS, nodes


def main(report: str, kernels: str, only: str, tests: Sequence[str]) -> int:
    """pytest's exit code."""
    os.environ[KERNELS] = kernels
    there = nodes(kernels)
    try:
        for node in there:
            node.wait()
        options = [
            f"--junitxml={report}",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--color=no",
            "-q",
            "-p",
            "node_fixtures",
        ]
        return int(pytest.main([*options, *(["-k", only] if only else []), *tests]))
    finally:
        for node in there:
            with suppress(OSError):
                node.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
