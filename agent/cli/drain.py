"""`weft drain`: what a waypoint's pod runs before it ends."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import print_line
from agent.settings import DEFAULT_STATE, XDS_SOCKET
from agent.waypoint.drain import NoSuccessorError
from agent.waypoint.drain import drain as wait


def drain(
    state: Annotated[Path, typer.Option(help="The state folder of the agent that configures it.")] = DEFAULT_STATE,
    node_id: Annotated[str, typer.Option("--id", help="The waypoint's name; by default the host's.")] = "",
    seconds: Annotated[float, typer.Option(min=0, help="The longest that it waits.")] = 25.0,
) -> None:
    """Wait until another waypoint has taken over from this one and nobody is connected to it any more.

    Where there is no other it waits for nothing. It ends nothing itself: that is for whoever asked.
    """
    try:
        asyncio.run(_within(seconds, (state / XDS_SOCKET).parent, node_id or socket.gethostname()))
    except NoSuccessorError:
        print_line("nobody takes over")
    except TimeoutError:
        print_line("the time is over")


async def _within(seconds: float, folder: Path, node_id: str) -> None:
    async with asyncio.timeout(seconds):
        await wait(folder, node_id, print_line)
    print_line("drained")
