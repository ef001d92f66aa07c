"""The command line as a whole."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from agent.cli.main import application

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_version_is_the_project_s():
    done = CliRunner().invoke(application(["status"]), ["--version"])
    assert (done.stdout, done.exit_code) == (f"weft {tomllib.loads(PROJECT.read_text())['project']['version']}\n", 0)
