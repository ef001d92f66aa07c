"""Envoy's admin interface, on a Unix socket that only root can reach: statistics, config dump, health check."""

import asyncio
import http.client
import os
import socket
import stat
from collections import defaultdict
from pathlib import Path

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.config_dump import read

SECONDS = 5.0
# Of all listeners together, those too whose first byte has not come; Envoy also counts by worker, and its own admin
# connections.
CONNECTIONS = "/stats?usedonly&filter=%5Elistener%5C..*%5C.downstream_%28pre_%29%3Fcx_active$"
REQUESTS = "/stats/prometheus?filter=%5Eweft%5C."
# Several times what Envoy's limits of series take. An Envoy that sends more is not read.
REQUESTS_BYTES = 16 * 2**20
DROPPED = "/stats?filter=%5Eaccess_logs%5C.grpc_access_log%5C.logs_dropped$"
NOT_CLIENTS = (".worker_", ".admin.")
QUERIES = tuple((kind, query) for kind in ResourceType for query in kind.dump.queries)


class AdminError(Exception):
    """Envoy does not answer, or answers with an error."""


class AbsentError(AdminError):
    """Envoy has nothing of the kind (404)."""


class NotASocketError(OSError):
    """A file with the socket's name is no socket."""


def connect(connection: socket.socket, path: Path) -> None:
    """Connect to the very socket of this name, never through a link that an Envoy put there. Raises `OSError`."""
    found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(found).st_mode):
            raise NotASocketError(f"{path} is no socket")
        connection.connect(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Called by `request`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        connect(self.sock, self._path)


async def fail_healthcheck(path: Path) -> None:
    """Have every HTTP connection end with its next response: `Connection: close`, or GOAWAY. Raises `AdminError`."""
    await _request(path, "POST", "/healthcheck/fail")


async def pass_healthcheck(path: Path) -> None:
    """The opposite of `fail_healthcheck`. Raises `AdminError`."""
    await _request(path, "POST", "/healthcheck/ok")


async def connections(path: Path) -> int:
    """How many clients are connected. Raises `AdminError`."""
    return sum_counters(await _request(path, "GET", CONNECTIONS))


async def entries_dropped(path: Path) -> int:
    """How many access log entries Envoy dropped, because the agent had not read earlier ones. Raises `AdminError`."""
    return sum_counters(await _request(path, "GET", DROPPED))


def request_statistics(path: Path) -> str:
    """What Envoy counted of requests, in Prometheus' text format. Raises `AdminError`."""
    return _exchange(path, "GET", REQUESTS, REQUESTS_BYTES)


async def config_dump(path: Path) -> dict[ResourceName, set[str]]:
    """The resources that Envoy has, with the versions that its config dump shows. Raises `AdminError`."""
    return await asyncio.to_thread(_config_dump, path)


def _config_dump(path: Path) -> dict[ResourceName, set[str]]:
    found: defaultdict[ResourceName, set[str]] = defaultdict(set)
    for kind, query in QUERIES:
        try:
            for name, version in read(kind, _exchange(path, "GET", f"/config_dump?{query}")):
                found[name].add(version)
        except AbsentError:
            continue
        except (ValueError, LookupError, TypeError) as error:
            raise AdminError(f"{kind.label} cannot be read from its dump: {error!r}") from error
    return dict(found)


def sum_counters(statistics: str) -> int:
    """The sum of counters, without those of workers, which their listener's include, and of the admin interface."""
    pairs = (line.rpartition(": ") for line in statistics.splitlines())
    return sum(int(value) for name, _, value in pairs if name and not any(part in name for part in NOT_CLIENTS))


async def _request(path: Path, method: str, url: str) -> str:
    return await asyncio.to_thread(_exchange, path, method, url)


def _exchange(path: Path, method: str, url: str, most: int | None = None) -> str:
    """The body of the response, of at most so many bytes. Raises `AdminError`."""
    connection = _Connection(path)
    try:
        connection.request(method, url)
        response = connection.getresponse()
        body = response.read(most).decode()
        if not response.isclosed():
            raise AdminError(f"{method} {url}: more than {most} bytes")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        absent = response.status == http.HTTPStatus.NOT_FOUND
        raise (AbsentError if absent else AdminError)(f"{method} {url}: {response.status} {body.strip()}")
    return body
