"""Tests that fail on 6.1: what a report shows of the verifier's refusal, and of a table of features that is wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

from test_features import check

from agent.kernel.programs import SOURCES


def test_a_helper_that_this_kernel_has_in_other_hooks_only(installation: tuple[Path, Path], tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(SOURCES, sources)
    text = (sources / "weft.c").read_text()
    line = "\tu32 op = ctx->op;\n"
    assert line in text
    (sources / "weft.c").write_text(text.replace(line, f"{line}\n\tbpf_get_current_ancestor_cgroup_id(1);"))
    pins, cgroup = installation
    arguments = ["--pins", str(pins), "--cgroup", str(cgroup), "--sources", str(sources)]
    command = [sys.executable, "-m", "agent.kernel.loader", *arguments]
    loader = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loader.returncode == 0, loader.stderr


def test_a_feature_that_the_table_denies() -> None:
    check("device: veth", expected=False)


def test_a_feature_that_the_table_promises() -> None:
    check("device link: tcx", expected=True)
