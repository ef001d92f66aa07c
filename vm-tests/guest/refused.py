"""Fails where the kernel lacks a helper in a hook, with what the verifier printed:
`make vm-test KERNEL=6.1 JOB=refused`.
"""

from pathlib import Path

from test_features import later_helper, place, run_loader

__all__ = ["place"]


def test_programs_load(place: tuple[Path, Path], tmp_path: Path) -> None:
    loader = run_loader(*place, later_helper(tmp_path / "sources"))
    assert loader.returncode == 0, loader.stderr
