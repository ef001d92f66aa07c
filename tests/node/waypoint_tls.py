"""TLS servers that say who they are and whom they were asked for, and a client that asks."""

import itertools
import socket
import ssl
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from waypoint_ads import WAYPOINT
from waypoint_fixtures import CLIENT, PATIENCE, SERVERS, WaypointNode

from agent.ir.http import BackendPort, TLSRouteSet, TLSRule
from agent.ir.resources import ResourceName, ResourceType
from agent.translate.options import Options
from agent.waypoint.xds.passthrough import passthrough_listener

# What a client that got no answer at all is told here.
CLOSED = "closed"


@dataclass
class TLSNode:
    """A waypoint's node with a certificate for its servers."""

    node: WaypointNode
    certificate: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, node: WaypointNode) -> "TLSNode":
        """Make a certificate that nobody checks."""
        file = node.folder / "tls.pem"
        subject = ["-subj", "/CN=test", "-days", "1", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command = ["openssl", "req", "-x509", *subject, "-keyout", str(file), "-out", str(file) + ".crt"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
        return cls(node, file)

    @contextmanager
    def server(self, name: str) -> Iterator[BackendPort]:
        """A TLS server that answers `name` and the server name that it was asked for."""
        backend = BackendPort("app", name, 443, "tcp")
        with self.node.own_socket() as listening:
            listening.settimeout(None)
            listening.bind((SERVERS, 0))
            listening.listen()
            self.node.servers[name] = [listening.getsockname()[1]]
            thread = Thread(target=_serve, args=(listening, name, self.certificate))
            thread.start()
            try:
                yield backend
            finally:
                listening.shutdown(socket.SHUT_RDWR)
                thread.join()

    def serve(self, rules: Iterable[TLSRule], name: str = "", consumer: str = "") -> int:
        """Publish a listener of its own and wait until it is served. Returns its port."""
        number = next(self.numbers)
        route_set = TLSRouteSet(name or f"app/tls{number}:443", consumer, tuple(rules))
        self.node.ports.setdefault(route_set.name, 25000 + number)
        self.node.resources[ResourceName(ResourceType.LISTENER, route_set.name)] = passthrough_listener(
            route_set, Options()
        )
        self.node.add_clusters(route_set.clusters)
        return self.node.serving(route_set.name)

    @contextmanager
    def connection(self, port: int, server_name: str | None, source: str = CLIENT) -> Iterator[ssl.SSLSocket]:
        """A client's connection; it believes any server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            self.node.dial(WAYPOINT, port, source) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as made,
        ):
            yield made

    def ask(self, port: int, server_name: str | None, source: str = CLIENT) -> str:
        """Who answers a client that asks for this server."""
        try:
            with self.connection(port, server_name, source) as connection:
                return connection.recv(1000).decode()
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return CLOSED


def _serve(listening: socket.socket, name: str, certificate: Path) -> None:
    """Answer until the socket is shut down; a thread for each connection."""
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        plain.settimeout(PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=_answer, args=(plain, name, certificate)).start()


def _answer(plain: socket.socket, name: str, certificate: Path) -> None:
    """Say who this is and who was asked for, then repeat what comes."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)
    with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
        connection.sendall(f"{name} {asked[0]}".encode())
        while more := connection.recv(1000):
            connection.sendall(more)
