"""Files that Envoys which are gone left in the folder of the agent's socket. Pods' names are new each time."""

import socket
import time
from pathlib import Path

from agent.waypoint.admin import NotASocketError, connect
from agent.waypoint.node import is_id
from agent.waypoint.process import admin_socket, files

# An Envoy that starts has its files before it listens.
YOUNG_SECONDS = 60.0


def remove_stale_files(folder: Path) -> list[str]:
    """Remove the files of Envoys whose admin socket no process serves; returns their ids. Raises `OSError`."""
    gone = [file.stem for file in folder.glob("*.json") if is_id(file.stem) and _is_old(file)]
    gone = [node_id for node_id in gone if not is_served(admin_socket(folder, node_id))]
    for node_id in gone:
        for file in files(folder, node_id):
            file.unlink(missing_ok=True)
    return gone


def _is_old(file: Path) -> bool:
    return time.time() - file.lstat().st_mtime > YOUNG_SECONDS


def is_served(path: Path) -> bool:
    """Whether a process listens, be it slow."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connect(connection, path)
        except (FileNotFoundError, ConnectionRefusedError, NotASocketError):
            return False
        except BlockingIOError:
            pass
        return True
