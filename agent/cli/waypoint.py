"""`weft waypoint`: become this node's Envoy."""

import os
import resource
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Exit, fail
from agent.ir.envoy import Envoy
from agent.settings import DEFAULT_STATE, XDS_SOCKET, SettingsError, parse_addresses
from agent.waypoint import process

MEMORY_PART = 4
DESCRIPTORS_WITHOUT_LIMIT = 2**20


def waypoint(
    state: Annotated[Path, typer.Option(help="The state folder of the agent that configures it.")] = DEFAULT_STATE,
    address: Annotated[
        str,
        typer.Option(
            help="Where its listeners are: this pod's addresses, of IPv4, IPv6 or both, separated by commas; "
            "by default what the agent says."
        ),
    ] = "",
    node_id: Annotated[str, typer.Option("--id", help="Its own name on this node; by default the host's.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Envoy's worker threads.")] = 2,
    memory: Annotated[
        int, typer.Option(min=0, help="MiB of heap, near which it refuses; by default a quarter of the machine's.")
    ] = 0,
) -> None:
    """Replace this process by Envoy, configured by the agent. Run it in a network namespace of its own.

    It keeps serving what it was last told while there is no agent. Where another runs already, with another address, it
    takes over from it when it serves all that the other does.
    """
    limits = process.Limits(concurrency, _descriptors(), memory * 2**20 if memory else _memory() // MEMORY_PART)
    try:
        addresses = parse_addresses(address, "--address")
    except SettingsError as error:
        fail(str(error), Exit.USAGE)
    room = limits.listeners(len(list(addresses)))
    envoy = Envoy(time.monotonic_ns(), node_id or socket.gethostname(), addresses, room)
    xds = state / XDS_SOCKET
    xds.parent.mkdir(parents=True, exist_ok=True)
    argv = process.envoy_command(process.prepare(xds, envoy, limits), concurrency)
    os.execv(argv[0], argv)


def _descriptors() -> int:
    """As many as this process may have: the soft limit is raised to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = DESCRIPTORS_WITHOUT_LIMIT if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
