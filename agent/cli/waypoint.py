"""`weft waypoint`: start this node's Envoy."""

import socket
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Exit, fail
from agent.settings import DEFAULT_STATE, XDS_SOCKET, SettingsError, parse_addresses
from agent.waypoint.launch import launch


def waypoint(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    address: Annotated[
        str,
        typer.Option(
            help="The addresses of the listeners: of IPv4, IPv6 or both, separated by commas. "
            "Default: --waypoint-address of the agent."
        ),
    ] = "",
    node_id: Annotated[str, typer.Option("--id", help="The waypoint's name on this node. Default: the host's.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Envoy's worker threads.")] = 2,
    memory: Annotated[
        int, typer.Option(min=0, help="Limit of Envoy's heap in MiB. Default: a quarter of the machine's memory.")
    ] = 0,
) -> None:
    """Replace this process by Envoy, configured by the agent. Run it in a network namespace of its own.

    Envoy keeps serving its last configuration while no agent runs. If another waypoint is active, with another address,
    this one takes over when it serves all listeners of the other.
    """
    try:
        addresses = parse_addresses(address, "--address")
    except SettingsError as error:
        fail(str(error), Exit.USAGE)
    launch(state / XDS_SOCKET, node_id or socket.gethostname(), addresses, concurrency, memory)
