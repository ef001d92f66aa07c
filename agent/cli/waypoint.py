"""`weft waypoint`: become this node's Envoy."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from agent.plan.envoys import Envoy
from agent.settings import DEFAULT_STATE, XDS_SOCKET
from agent.waypoint import process


def waypoint(
    state: Annotated[Path, typer.Option(help="The state folder of the agent that configures it.")] = DEFAULT_STATE,
    address: Annotated[
        str, typer.Option(help="Where its listeners are: this pod's address; by default what the agent says.")
    ] = "",
    node_id: Annotated[str, typer.Option("--id", help="Its own name on this node; by default the host's.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Envoy's worker threads.")] = 2,
) -> None:
    """Replace this process by Envoy, configured by the agent. Run it in a network namespace of its own.

    It keeps serving what it was last told while there is no agent. Where another runs already, with another address, it
    takes over from it when it serves all that the other does.
    """
    envoy = Envoy(time.monotonic_ns(), node_id or socket.gethostname(), address)
    bootstrap = state / f"{envoy.id}.json"
    bootstrap.write_text(json.dumps(process.bootstrap(state / XDS_SOCKET, envoy)))
    argv = process.envoy_command(bootstrap, concurrency)
    os.execv(argv[0], argv)
