"""`weft uninstall`: leave nothing of weft on this node."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.ask import NoAgentError, ask
from agent.cli.output import fail
from agent.kernel import bpffs, links
from agent.settings import DEFAULT_STATE, HEALTH_SOCKET, NODE_FILE, PINS, STATUS_SOCKET, XDS_SOCKET


def uninstall(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    pins: Annotated[Path | None, typer.Option(help="Where links and maps are pinned; by default in it.")] = None,
) -> None:
    """Remove every link, program and map of weft from this node, and its folders. No agent may run here.

    New connections are as without weft; those that are open go on. Safe to run again.
    """
    try:
        ask(state / STATUS_SOCKET, "/status")
    except NoAgentError:
        pass
    else:
        fail(f"an agent answers at {state / STATUS_SOCKET}: end it first, or it puts everything back")
    try:
        links.detach(pins or state / PINS)
        bpffs.unmount(pins or state / PINS)
        _remove_files(state)
    except OSError as error:
        fail(f"not everything could be removed: {error}")


def _remove_files(state: Path) -> None:
    """What an agent and its waypoints keep in the state folder, then it. Raises `OSError` for what is foreign."""
    for name in (STATUS_SOCKET, HEALTH_SOCKET, NODE_FILE, f".{NODE_FILE}.new"):
        (state / name).unlink(missing_ok=True)
    if (waypoints := (state / XDS_SOCKET).parent).exists():
        shutil.rmtree(waypoints)
    for folder in (state / PINS, state):
        if folder.exists():
            folder.rmdir()
