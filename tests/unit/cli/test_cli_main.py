"""The command line as a whole."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.main import application

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_version_is_the_project_s():
    done = CliRunner().invoke(application(["status"]), ["--version"])
    assert (done.stdout, done.exit_code) == (f"weft {tomllib.loads(PROJECT.read_text())['project']['version']}\n", 0)


@pytest.mark.parametrize("command", ["agent", "controller"])
def test_a_level_that_there_is_not_is_refused(command: str):
    done = CliRunner().invoke(application([command, "status"]), [command, "--log-level", "loud"])
    assert (done.exit_code, "'loud' is not one of" in done.output) == (2, True), done.output
