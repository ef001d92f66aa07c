"""The `weft` command.

Only the requested command is imported: an agent does not load the lab (10 MB of pyroute2), and `weft status` does not
load Envoy's modules.
"""

import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated

import typer

# The module of each command. It has a function of the command's name, or `app`, a group of commands.
COMMANDS = {
    "agent": "agent.cli.agent",
    "controller": "agent.cli.controller",
    "waypoint": "agent.cli.waypoint",
    "drain": "agent.cli.drain",
    "status": "agent.cli.status",
    "tables": "agent.cli.tables",
    "explain": "agent.cli.explain",
    "flows": "agent.cli.flows",
    "top": "agent.cli.top",
    "detach": "agent.cli.detach",
    "uninstall": "agent.cli.uninstall",
    "lint": "agent.cli.lint",
    "simulate": "agent.cli.simulate",
    "diff": "agent.cli.diff",
    "authz": "agent.cli.authz",
    "lab": "agent.cli.lab",
}


def application(names: Sequence[str]) -> typer.Typer:
    """The `weft` command with these commands."""
    app = typer.Typer(
        name="weft",
        help="A sidecarless service mesh: eBPF at L4, one Envoy per node at L7.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_weft)
    for name in names:
        module = import_module(COMMANDS[name])
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"weft {metadata.version('weft')}")
        raise typer.Exit


def _weft(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A sidecarless service mesh: eBPF at L4, one Envoy per node at L7."""


def main() -> None:
    """Run `weft` with this process's arguments. An image has the modules of its own commands only."""
    names = [name for name, module in COMMANDS.items() if find_spec(module)]
    requested = sys.argv[1:2]
    application(requested if requested and requested[0] in names else names)()
