"""docs/architecture.md: the names that a reader has to know are few, and each is defined where the page says."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
ROWS = [
    line for line in PAGE[PAGE.index("## The names to know") :].split("\n## ")[0].splitlines() if line.startswith("| ")
][1:]


def test_the_names_are_at_most_fifteen() -> None:
    assert 10 <= len(ROWS) <= 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_name_is_defined_where_the_page_says(row: str) -> None:
    *names, path = re.findall(r"`([^`]+)`", row.split("|")[3])
    source = (PROJECT / path).read_text()
    assert [name for name in names if not re.search(rf"^(class )?{name}\b[(: ]", source, re.MULTILINE)] == []


def test_the_folders_are_there() -> None:
    folders = re.findall(r"`((?:agent|bpf|tests)/[\w./]+)`", PAGE)
    assert folders
    assert [folder for folder in folders if not (PROJECT / folder).exists()] == []
