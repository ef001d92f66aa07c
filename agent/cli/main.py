"""The commands, put together."""

import typer

from agent.cli.agent import agent
from agent.cli.detach import detach
from agent.cli.lab import app as lab
from agent.cli.status import status
from agent.cli.tables import tables
from agent.cli.waypoint import waypoint

app = typer.Typer(
    name="weft",
    help="A sidecarless service mesh: eBPF at L4, one Envoy per node at L7.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(lab, name="lab", help="Pods as network namespaces and cgroups on this machine, from manifests.")
for command in (agent, waypoint, status, tables, detach):
    app.command()(command)
