"""docs/transparency.md: every line of its tables names a test, and the test is there."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (PROJECT / "docs" / "transparency.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("| what", "|--"))
]


def proofs(row: str) -> list[tuple[str, str]]:
    return re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)


def test_every_line_is_proved() -> None:
    assert len(ROWS) > 20
    assert [row for row in ROWS if not proofs(row)] == []


def test_the_tests_are_there() -> None:
    named = {test for row in ROWS for test in proofs(row)}
    written = {
        (file.name, name)
        for file in (PROJECT / "tests" / "node").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert named - written == set()
