"""Requests to the agent on its Unix socket."""

import http.client
import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

from agent.telemetry.http import REQUEST_LIMIT


class NoAgentError(Exception):
    """No agent answers on the socket, or it rejects the request."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, what: str, seconds: float = 10) -> Any:
    """The decoded response to `GET what`, which may take so long. Raises `NoAgentError`, which names the socket."""
    if len(what) > REQUEST_LIMIT // 2:
        raise NoAgentError(f"the request has {len(what)} bytes; the agent accepts at most {REQUEST_LIMIT // 2}")
    connection = _UnixConnection(path, seconds)
    try:
        connection.request("GET", what)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAgentError(f"no agent answers at {path}: {error}") from error
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise NoAgentError(f"the agent at {path} answers: {body.decode(errors='replace').strip()}")
    return json.loads(body)
