"""A waypoint's sockets without an Envoy."""

import socket
from pathlib import Path

from agent.waypoint.process import Limits

LIMITS = Limits(1, 1000, 2**30)


def listen(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made
