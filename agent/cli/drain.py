"""`weft drain`: the preStop hook of a waypoint's pod."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import print_line
from agent.settings import DEFAULT_STATE, XDS_SOCKET
from agent.waypoint.drain import drain_within


def drain(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    node_id: Annotated[str, typer.Option("--id", help="The waypoint's name. Default: the host name.")] = "",
    seconds: Annotated[float, typer.Option(min=0, help="The longest wait.")] = 25.0,
) -> None:
    """Wait until another waypoint has taken over from this one, and this one has no connections any more.

    If there is no other waypoint, it returns at once. It does not stop Envoy.
    """
    asyncio.run(drain_within(seconds, (state / XDS_SOCKET).parent, node_id or socket.gethostname(), print_line))
