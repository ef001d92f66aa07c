"""A waypoint without a mesh around it: real Envoy, its ADS server and echo servers in one network namespace.

There is no agent: tests hand route sets to the functions that render them and publish the result. Every address is on
the namespace's loopback, so that a client can be any of them.
"""

import asyncio
import ctypes
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.model.routes import Filter, GRPCRouteMatch, Header, HeaderFilter, HTTPPathMatch, HTTPRouteMatch
from agent.plan.plan import Json, ResourceName, Xds
from agent.translate.ir import BackendPort, RouteSet, Rule, WeightedBackend
from agent.translate.xds.admission import admission, admission_name
from agent.translate.xds.cluster import cluster, endpoints
from agent.translate.xds.listener import listener
from agent.translate.xds.route import route_configuration
from agent.waypoint.process import bootstrap, envoy_command
from agent.waypoint.server import AdsServer

PREFIX = "wefttest-wp-"
NETNS = Path("/run/netns")
WAYPOINT = "127.0.0.2"
CLIENT, STRANGER = "127.0.0.1", "127.0.1.2"
SERVERS = "127.0.2.1"
V1, V2, NOBODY = (BackendPort("app", name, 80) for name in ("v1", "v2", "nobody"))
V1_H2C = BackendPort("app", "v1", 80, "h2c")
PORTS = {"v1": 9001, "v2": 9002}
CLONE_NEWNET = 0x40000000
PATIENCE = 20.0


def any_path(**match: Any) -> HTTPRouteMatch:
    """A match of every path, with further conditions."""
    return HTTPRouteMatch(**match)


def prefix(value: str, **match: Any) -> HTTPRouteMatch:
    """A match of a path prefix."""
    return HTTPRouteMatch(path=HTTPPathMatch("PathPrefix", value), **match)


def exact(value: str, **match: Any) -> HTTPRouteMatch:
    """A match of one path."""
    return HTTPRouteMatch(path=HTTPPathMatch("Exact", value), **match)


def to(*backends: BackendPort | None, weights: Iterable[int] = ()) -> tuple[WeightedBackend, ...]:
    """Backends of a rule, each of weight 1 unless said otherwise."""
    return tuple(
        WeightedBackend(item, weight) for item, weight in zip(backends, weights or itertools.repeat(1), strict=False)
    )


def changes(kind: str, **change: Any) -> Filter:
    """A header modifier: `set` and `add` are mappings, `remove` names."""
    found = HeaderFilter(
        set=tuple(Header(*item) for item in change.get("set", {}).items()),
        add=tuple(Header(*item) for item in change.get("add", {}).items()),
        remove=tuple(change.get("remove", ())),
    )
    if kind == "request":
        return Filter("RequestHeaderModifier", request_header_modifier=found)
    return Filter("ResponseHeaderModifier", response_header_modifier=found)


def rule(
    match: HTTPRouteMatch | GRPCRouteMatch,
    backends: tuple[WeightedBackend, ...] = to(V1),
    *filters: Filter,
    **timeouts: int,
) -> Rule:
    """A rule with a name that says nothing."""
    return Rule("app/route/0/0", match, filters, backends, **timeouts)


@dataclass(frozen=True)
class Answer:
    """What the client got. `seen` is how the request reached the server, empty when none answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """The echo server's account of the request."""
        return dict(json.loads(self.body.splitlines()[0])) if self.body.startswith(b"{") else {}

    @property
    def pod(self) -> str:
        """Who answered: a server's name, or the status when it was Envoy."""
        return str(self.seen.get("pod", self.status))

    def values(self, name: str) -> list[str]:
        """Every value of a response header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def sent(self, name: str) -> list[str]:
        """Every value of a request header, as the server saw it."""
        return [value for key, value in self.seen["headers"] if key.lower() == name.lower()]


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fails with its name."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


class AdsThread:
    """An ADS server in a thread with an event loop of its own, so that tests can be plain functions."""

    def __init__(self, path: Path) -> None:
        self.server = AdsServer(path, WAYPOINT)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(PATIENCE)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self.server.start()
        self._started.set()
        await self._ended.wait()
        await self.server.stop()

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """As the agent does it."""

        async def publish() -> None:
            self.server.publish(resources, ports)

        asyncio.run_coroutine_threadsafe(publish(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        """Hang up and end the thread."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


class WaypointNode:
    """One network namespace with an Envoy and two echo servers in it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{PREFIX}{os.getpid()}"
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}
        self.servers = dict(PORTS)
        self.ads: AdsThread | None = None
        self._numbers = itertools.count(1)
        self.admit(CLIENT)

    def start(self) -> None:
        """Make the namespace, start everything, and wait until it answers."""
        _run("ip", "netns", "add", self.name)
        _run("ip", "-n", self.name, "link", "set", "lo", "up")
        self.ads = AdsThread(self.folder / "xds.sock")
        for pod, port in PORTS.items():
            self._spawn(sys.executable, "-m", "agent.lab.echo", "--http", str(port), "--tcp", str(port + 100), pod=pod)
        self.envoy = self.start_envoy("blue")
        wait_for("Envoy connects", lambda: self.ads.server.connected)
        for port in PORTS.values():
            wait_for("an echo server listens", lambda port=port: self.answers(SERVERS, port))

    def stop(self) -> None:
        """End what was started, also when not all of it was."""
        if self.ads is not None:
            self.ads.stop()
        for process in self.processes:
            process.kill()
            process.wait()
        if (NETNS / self.name).exists():
            _run("ip", "netns", "del", self.name)

    def start_envoy(self, node_id: str) -> subprocess.Popen[bytes]:
        """Start an Envoy; it asks for its configuration a moment later."""
        config = self.folder / f"{node_id}.json"
        config.write_text(json.dumps(bootstrap(self.folder / "xds.sock", node_id)))
        return self._spawn(*envoy_command(config, 1))

    def kill_envoy(self) -> None:
        """Kill the Envoy that was started first."""
        self.envoy.kill()
        self.envoy.wait()

    def admin(self, path: str, node_id: str = "blue") -> str:
        """What an Envoy's admin interface says; nothing before it is there."""
        if not (self.folder / f"{node_id}-admin.sock").exists():
            return ""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.folder / f"{node_id}-admin.sock"))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.read().decode()

    def statistic(self, name: str) -> int:
        """One of Envoy's counters."""
        found = re.search(rf"^{re.escape(name)}: (\d+)", self.admin(f"/stats?filter=^{name}$"), re.MULTILINE)
        assert found, name
        return int(found[1])

    def _spawn(self, *command: str, pod: str = "") -> subprocess.Popen[bytes]:
        argv = ["ip", "netns", "exec", self.name, *command]
        with (self.folder / f"{pod or 'envoy'}.log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "POD_NAME": pod})
        self.processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """A command's output, run in the namespace."""
        return _run("ip", "netns", "exec", self.name, *command)

    def own_socket(self) -> socket.socket:
        """A TCP socket of the namespace: it stays in the one that it was made in."""
        made: list[socket.socket] = []

        def make() -> None:
            with (NETNS / self.name).open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        made[0].settimeout(PATIENCE)
        return made[0]

    def dial(self, address: str, port: int, source: str = CLIENT) -> socket.socket:
        """A connection within the namespace."""
        made = self.own_socket()
        try:
            made.bind((source, 0))
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made

    @contextmanager
    def server(self, answer: bytes) -> Iterator[tuple[BackendPort, list[bytes]]]:
        """A backend that answers one request with these bytes, and the request as bytes."""
        backend, requests = BackendPort("app", f"server{next(self._numbers)}", 80), []
        with self.own_socket() as listening:
            listening.bind((SERVERS, 0))
            listening.listen()
            self.servers[backend.service] = listening.getsockname()[1]

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    requests.append(connection.recv(65536))
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            yield backend, requests
            thread.join()

    def answers(self, address: str, port: int) -> bool:
        """Whether somebody listens there."""
        try:
            self.dial(address, port).close()
        except ConnectionRefusedError:
            return False
        return True

    def publish(self) -> None:
        """Give Envoy all resources as they are in `resources`."""
        self.ads.publish(self.resources, self.ports)

    def settled(self) -> bool:
        """Whether Envoy has everything."""
        return self.ads.server.acknowledged() >= set(self.resources)

    def admit(self, *addresses: str, consumer: str = "") -> None:
        """Set who may connect; not published yet."""
        name = admission_name(consumer)
        self.resources[ResourceName(Xds.EXTENSION, name)] = admission(name, addresses)

    def add(
        self, rules: Iterable[Rule], *, name: str = "", grpc: bool = False, consumer: str = "", port: int = 80
    ) -> str:
        """Render a route set into `resources`; not published yet. Returns the listener's name."""
        number = next(self._numbers)
        name = name or f"app/s{number}:{port}"
        route_set = RouteSet(name, consumer, port, grpc, tuple(rules))
        self.ports.setdefault(name, 20000 + number)
        self.resources[ResourceName(Xds.LISTENER, name)] = listener(name, route_set)
        self.resources[ResourceName(Xds.ROUTE, name)] = route_configuration(route_set)
        for backend in {item.backend for one in route_set.rules for item in one.backends if item.backend}:
            found = [(SERVERS, self.servers[backend.service])] if backend.service in self.servers else []
            self.resources[ResourceName(Xds.CLUSTER, backend.cluster)] = cluster(backend)
            self.resources[ResourceName(Xds.ENDPOINT, backend.cluster)] = endpoints(backend, found)
        return name

    def serve(self, *rules: Rule, **options: Any) -> int:
        """Publish a route set of its own and wait until it is served. Returns its port."""
        port = self.ports[self.add(rules, **options)]
        self.publish()
        wait_for("everything is acknowledged", self.settled)
        wait_for("the listener accepts", lambda: self.answers(WAYPOINT, port))
        return port

    @contextmanager
    def connection(self, port: int, source: str = CLIENT) -> Iterator[http.client.HTTPConnection]:
        """An HTTP/1.1 connection that adds nothing to what it is told to send."""
        made = http.client.HTTPConnection(WAYPOINT, port)
        made.sock = self.dial(WAYPOINT, port, source)
        try:
            yield made
        finally:
            made.close()

    def ask(self, port: int, path: str = "/", **request: Any) -> Answer:
        """One request on a connection of its own. For `request` see `exchange`."""
        with self.connection(port, request.pop("source", CLIENT)) as connection:
            return exchange(connection, path, **request)

    def pods(self, port: int, times: int, path: str = "/") -> list[str]:
        """Who answers each of many requests on one connection."""
        with self.connection(port) as connection:
            return [exchange(connection, path).pod for _ in range(times)]

    def raw(self, port: int, request: bytes, until: bytes = b"") -> bytes:
        """Bytes in, bytes out: up to a mark, or to the end."""
        with self.dial(WAYPOINT, port) as connection:
            connection.sendall(request)
            answer = b""
            while not (until and until in answer) and (piece := connection.recv(65536)):
                answer += piece
            return answer


def exchange(
    connection: http.client.HTTPConnection,
    path: str = "/",
    *,
    method: str = "GET",
    host: str = "app",
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """Send exactly these headers and a Host, and read the answer."""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", host), *headers):
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    return Answer(response.status, tuple(response.getheaders()), response.read())


def _run(*command: str) -> str:
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout


def _sweep() -> None:
    """Namespaces, processes and folders of runs whose process is gone."""
    temporary = Path(tempfile.gettempdir())
    for entry in [*NETNS.glob(f"{PREFIX}*"), *temporary.glob(f"{PREFIX}*")]:
        found = re.match(rf"{PREFIX}(\d+)", entry.name)
        if found is None or Path("/proc", found[1]).exists():
            continue
        if entry.parent == NETNS:
            for pid in _run("ip", "netns", "pids", entry.name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "del", entry.name)
        else:
            shutil.rmtree(entry)


@contextmanager
def waypoint_node() -> Iterator[WaypointNode]:
    """A waypoint for one module's tests."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        node = WaypointNode(Path(folder))
        try:
            node.start()
            yield node
        finally:
            node.stop()
