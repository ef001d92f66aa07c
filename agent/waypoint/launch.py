"""A process becomes Envoy."""

import os
import resource
import time
from pathlib import Path
from typing import NoReturn

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint import process

MEMORY_PART = 4
DESCRIPTORS_WITHOUT_LIMIT = 2**20


def launch(socket: Path, node_id: str, addresses: Addresses, workers: int, memory: int) -> NoReturn:
    """Replace this process by an Envoy that the agent behind the socket configures.

    `memory` is the limit of its heap in MiB, 0 for a quarter of the machine's memory. Raises `OSError`.
    """
    limits = process.Limits(workers, _descriptors(), memory * 2**20 if memory else _memory() // MEMORY_PART)
    max_listeners = limits.listeners(len(list(addresses)))
    envoy = Envoy(time.monotonic_ns(), node_id, addresses, max_listeners, limits.connections)
    socket.parent.mkdir(parents=True, exist_ok=True)
    argv = process.envoy_command(process.prepare(socket, envoy, limits), workers)
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
