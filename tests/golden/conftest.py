"""A golden test runs once for each folder."""

from pathlib import Path

import pytest

CASES = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per folder."""
    if "case" in metafunc.fixturenames:
        found = sorted(path for path in CASES.iterdir() if path.is_dir() and path.name != "__pycache__")
        metafunc.parametrize("case", found, ids=[path.name for path in found])
