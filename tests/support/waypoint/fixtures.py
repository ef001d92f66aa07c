"""A waypoint without a mesh around it: real Envoy, its ADS server and echo servers in one network namespace.

There is no agent: tests hand listener IRs to the functions that render them and publish the result. Every address is on
the namespace's loopback, so that a client can be any of them.
"""

import ctypes
import http.client
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.http import BackendPort, Rule
from agent.waypoint.process import Limits, envoy_command, prepare
from support import TESTS
from support.cleanup_lock import one_at_a_time
from support.waypoint.ads import PATIENCE, WAYPOINT, AdsThread
from support.waypoint.client import Answer, exchange
from support.waypoint.listeners import CLIENT, PORTS, SERVERS, Listeners

PREFIX = "wefttest-wp-"
NETNS = Path("/run/netns")
OTHER_CLIENT = "127.0.1.2"
LIMITS = Limits(workers=1, descriptors=20_000, heap=2**30)
CLONE_NEWNET = 0x40000000


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails with its name."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


class WaypointNode(Listeners):
    """One network namespace with an Envoy and two echo servers in it."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        super().__init__()
        self.name = f"{PREFIX}{os.getpid()}"
        self.folder = folder
        self.limits = limits
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ads: AdsThread | None = None

    def start(self) -> None:
        """Make the namespace, start everything, and wait until it answers."""
        _run("ip", "netns", "add", self.name)
        _run("ip", "-n", self.name, "link", "set", "lo", "up")
        _run("ip", "-n", self.name, "address", "add", SERVERS, "dev", "lo")
        self.ads = AdsThread(self.folder / "xds.sock")
        for pod, port in PORTS.items():
            self.spawn(sys.executable, "-m", "agent.lab.echo", "--http", str(port), "--tcp", str(port + 100), pod=pod)
        self.envoy = self.start_envoy("blue")
        wait_for("Envoy connects", lambda: bool(self.ads_server.server.envoys))
        for port in PORTS.values():
            wait_for("an echo server listens", partial(self.answers, SERVERS, port))

    def stop(self) -> None:
        """Stop all started processes, also after a failed start."""
        if self.ads is not None:
            self.ads.stop()
        for process in self.processes:
            process.kill()
            process.wait()
        if (NETNS / self.name).exists():
            _run("ip", "netns", "del", self.name)

    def start_envoy(self, node_id: str) -> subprocess.Popen[bytes]:
        """Start an Envoy. It requests its configuration a moment later."""
        envoy = Envoy(time.monotonic_ns(), node_id, Addresses(WAYPOINT))
        config = prepare(self.folder / "xds.sock", envoy, self.limits)
        return self.spawn(*envoy_command(config, 1))

    def kill_envoy(self) -> None:
        """Kill the Envoy that was started first."""
        self.envoy.kill()
        self.envoy.wait()

    def admin(self, path: str, node_id: str = "blue") -> str:
        """The response of an Envoy's admin interface; empty while Envoy does not answer."""
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

    def spawn(self, *command: str, pod: str = "") -> subprocess.Popen[bytes]:
        argv = ["ip", "netns", "exec", self.name, *command]
        with (self.folder / f"{pod or 'envoy'}.log").open("wb") as log:
            # Modules of the tests are started as programs too.
            environment = {**os.environ, "POD_NAME": pod, "PYTHONPATH": str(TESTS)}
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
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
            self.servers[backend.service] = [listening.getsockname()[1]]

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
        """Whether a server listens on a port."""
        try:
            self.dial(address, port).close()
        except ConnectionError:  # refused, or reset: the listener closed with the connection in its queue
            return False
        return True

    @property
    def ads_server(self) -> AdsThread:
        """The ADS server, once it has been started."""
        assert self.ads is not None
        return self.ads

    def publish(self) -> None:
        """Publish all of `resources` to Envoy."""
        self.ads_server.publish(self.resources, self.ports)

    def settled(self) -> bool:
        """Whether Envoy has acknowledged everything."""
        return bool(self.ads_server.server.acknowledged() >= set(self.resources))

    def serve(self, *rules: Rule, **options: Any) -> int:
        """Publish a listener IR of its own and wait until it is served. Returns its port."""
        return self.serving(self.add(rules, **options))

    def serving(self, name: str) -> int:
        """Publish what was added and wait until this listener accepts. Returns its port."""
        port = self.ports[name]
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
        """The server that answers each of many requests on one connection."""
        with self.connection(port) as connection:
            return [exchange(connection, path).pod for _ in range(times)]

    def raw(self, port: int, request: bytes, until: bytes = b"", patience: float = PATIENCE) -> bytes:
        """Bytes in, bytes out: up to a mark, or to the end."""
        with self.dial(WAYPOINT, port) as connection:
            connection.settimeout(patience)
            connection.sendall(request)
            answer = b""
            while not (until and until in answer) and (piece := connection.recv(65536)):
                answer += piece
            return answer


def _run(*command: str) -> str:
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout


def _remove_stale() -> None:
    """Remove namespaces, processes and folders of test runs that have ended."""
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
def waypoint_node(limits: Limits = LIMITS) -> Iterator[WaypointNode]:
    """A waypoint for one module's tests."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with one_at_a_time():
        _remove_stale()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        node = WaypointNode(Path(folder), limits)
        try:
            node.start()
            yield node
        finally:
            node.stop()
