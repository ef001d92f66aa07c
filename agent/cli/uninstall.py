"""`weft uninstall`: remove everything of weft from this node."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from pyroute2 import NetlinkError

from agent.atomic_file import draft
from agent.cli.agent_client import NoAgentError, get
from agent.cli.output import fail
from agent.kernel import bpffs, links
from agent.kernel.tunnels import remove_tunnels
from agent.settings import (
    DEFAULT_STATE,
    HEALTH_SOCKET,
    NETNS_SOCKET,
    NODES,
    PARAMETERS_FILE,
    PINS,
    REQUESTS_FILE,
    STATUS_SOCKET,
    XDS_SOCKET,
)


def uninstall(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    pins: Annotated[Path | None, typer.Option(help="The folder of pins. Default: in the state folder.")] = None,
) -> None:
    """Remove every link, program and map of weft from this node, its directories, and the tunnels of this network
    namespace with their routes and rules. No agent may run here.

    New connections bypass weft from then on; open connections continue. It can be run again.
    """
    try:
        get(state / STATUS_SOCKET, "/status")
    except NoAgentError:
        pass
    else:
        fail(f"an agent answers at {state / STATUS_SOCKET}: stop it first, or it installs everything again")
    try:
        links.detach(pins or state / PINS)
        bpffs.unmount(pins or state / PINS)
        remove_tunnels()
        _remove_files(state)
    except (OSError, NetlinkError) as error:
        fail(f"not everything could be removed: {error}")


def _remove_files(state: Path) -> None:
    """Remove the files of the agent and its waypoints, then the state directory. Raises `OSError` for other files in
    it.
    """
    sockets = [state / name for name in (STATUS_SOCKET, HEALTH_SOCKET, NETNS_SOCKET)]
    files = [state / name for name in (PARAMETERS_FILE, REQUESTS_FILE)]
    for file in (*sockets, *files, *map(draft, files)):
        file.unlink(missing_ok=True)
    for folder in ((state / XDS_SOCKET).parent, state / NODES):
        if folder.exists():
            shutil.rmtree(folder)
    for folder in (state / PINS, state):
        if folder.exists():
            folder.rmdir()
