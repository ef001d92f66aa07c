"""The commands of waypoints' pods are those of `weft`, with its options."""

import pytest
import typer.main

from agent.cli import pod
from agent.cli.main import application


@pytest.mark.parametrize("name", ["waypoint", "drain"])
def test_the_options_and_their_defaults_are_those_of_weft(name: str) -> None:
    command = typer.main.get_command(application([name, "status"])).commands[name]  # type: ignore[attr-defined]
    defaults = {parameter.name: parameter.default for parameter in command.params}
    parsed = vars(pod.parser().parse_args([name]))
    assert parsed.pop("command") == name
    assert parsed == defaults


@pytest.mark.parametrize("option", ["--concurrency=0", "--memory=much", "--addr=10.0.0.1", "--address=a"])
def test_a_wrong_option_is_a_usage_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        pod.main(["waypoint", option])
    assert caught.value.code == 2
    assert capsys.readouterr().err
