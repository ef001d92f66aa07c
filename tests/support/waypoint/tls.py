"""TLS servers that answer with their name and the requested server name, and a client."""

import itertools
import socket
import ssl
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from agent.ir.http import BackendPort, TLSListenerIR, TLSRule
from agent.ir.resources import ResourceName, ResourceType
from agent.translate.options import Options
from agent.waypoint.xds.passthrough import passthrough_listener
from support.waypoint.ads import PATIENCE, WAYPOINT
from support.waypoint.fixtures import WaypointNode
from support.waypoint.listeners import CLIENT, SERVERS

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
        """Create a self-signed certificate."""
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
        listener_ir = TLSListenerIR(name or f"app/tls{number}:443", consumer, tuple(rules))
        self.node.ports.setdefault(listener_ir.name, 25000 + number)
        self.node.resources[ResourceName(ResourceType.LISTENER, listener_ir.name)] = passthrough_listener(
            listener_ir, self.node.requirements, Options()
        )
        self.node.add_clusters(listener_ir.clusters)
        return self.node.serving(listener_ir.name)

    @contextmanager
    def connection(self, port: int, server_name: str | None, source: str = CLIENT) -> Iterator[ssl.SSLSocket]:
        """A client's connection. It verifies no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            self.node.dial(WAYPOINT, port, source) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as made,
        ):
            yield made

    def ask(self, port: int, server_name: str | None, source: str = CLIENT) -> str:
        """The server that answers a client with this server name."""
        try:
            with self.connection(port, server_name, source) as connection:
                return connection.recv(1000).decode()
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return CLOSED


def client_hello(server_name: str) -> bytes:
    """The first bytes of a TLS client."""
    sent, context = ssl.MemoryBIO(), ssl.create_default_context()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name).do_handshake()
    return sent.read()


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
    """Send the server's name and the requested server name, then echo."""
    server_names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, server_name, _context: server_names.append(server_name)
    with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
        connection.sendall(f"{name} {server_names[0]}".encode())
        while more := connection.recv(1000):
            connection.sendall(more)
