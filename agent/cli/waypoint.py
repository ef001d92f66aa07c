"""`weft waypoint`: start this node's Envoy."""

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
    limits = process.Limits(concurrency, _descriptors(), memory * 2**20 if memory else _memory() // MEMORY_PART)
    try:
        addresses = parse_addresses(address, "--address")
    except SettingsError as error:
        fail(str(error), Exit.USAGE)
    max_listeners = limits.listeners(len(list(addresses)))
    node = node_id or socket.gethostname()
    envoy = Envoy(time.monotonic_ns(), node, addresses, max_listeners, limits.connections)
    xds = state / XDS_SOCKET
    xds.parent.mkdir(parents=True, exist_ok=True)
    argv = process.envoy_command(process.prepare(xds, envoy, limits), concurrency)
    os.execv(argv[0], argv)


def _descriptors() -> int:
    """The limit of file descriptors, after raising the soft limit to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = DESCRIPTORS_WITHOUT_LIMIT if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def _memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
