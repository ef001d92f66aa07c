"""`weft waypoint`: become this node's Envoy."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from agent.settings import DEFAULT_STATE, XDS_SOCKET
from agent.waypoint import process


def waypoint(
    state: Annotated[Path, typer.Option(help="The state folder of the agent that configures it.")] = DEFAULT_STATE,
    name: Annotated[str, typer.Option(help="Its own name: during an upgrade there are two.")] = "waypoint",
    concurrency: Annotated[int, typer.Option(min=1, help="Envoy's worker threads.")] = 2,
) -> None:
    """Replace this process by Envoy, configured by the agent. Run it in a network namespace of its own.

    It keeps serving what it was last told while there is no agent.
    """
    bootstrap = state / f"{name}.json"
    bootstrap.write_text(json.dumps(process.bootstrap(state / XDS_SOCKET, name)))
    argv = process.envoy_command(bootstrap, concurrency)
    os.execv(argv[0], argv)
