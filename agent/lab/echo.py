"""The echo server of the lab's pods: says how each request arrived, on HTTP/1.1, HTTP/2, gRPC, TCP and UDP."""

import argparse
import asyncio
import socket
from itertools import product
from typing import ClassVar, cast

from agent.ir.tables import host_port
from agent.lab.echo_answer import Controls, Facts, answer, facts_of
from agent.lab.echo_http1 import HTTP1

ANYWHERE = ("0.0.0.0", "::")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class HTTPPort(asyncio.Protocol):
    """Distinguishes HTTP/1.1 from HTTP/2 with prior knowledge by the first bytes, and hands the connection over."""

    def __init__(self) -> None:
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes can be only one of the two."""
        self._first += data
        if self._first.startswith(_PREFACE):
            # Imported only here: most pods do not need the library's memory.
            from agent.lab.echo_http2 import HTTP2  # noqa: PLC0415

            self._hand_over(HTTP2())
        elif not _PREFACE.startswith(self._first):
            self._hand_over(HTTP1())

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._first)


class TCPPort(asyncio.Protocol):
    """Answers a line with a line of JSON. `?wait=1` and `?close=1` in the line are obeyed."""

    greets: ClassVar[bool] = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the peer. A server-first protocol sends its greeting now."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._rest, self._facts = transport, b"", facts_of(transport, "tcp")
        if self.greets:
            self._send("")

    def data_received(self, data: bytes) -> None:
        """Answer each whole line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            controls = Controls.of(text)
            if controls.close:
                self._transport.close()
            elif controls.wait:
                asyncio.get_running_loop().call_later(controls.wait, self._send, text)
            else:
                self._send(text)

    def _send(self, text: str) -> None:
        self._transport.write(answer(self._facts, data=text) + b"\n")


class GreetPort(TCPPort):
    """As TCP, but the server speaks first, as mysql and smtp do."""

    greets = True


class UDPPort(asyncio.DatagramProtocol):
    """A datagram in, JSON out."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        # asyncio's own datagram transport is no subclass of DatagramTransport before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._local = facts_of(transport, "udp").local

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer, unless the datagram asks for no answer."""
        text = data.decode(errors="replace")
        facts = Facts("udp", host_port(addr[0], addr[1]), self._local)
        if not Controls.of(text).close:
            self._transport.sendto(answer(facts, data=text), addr)


def _udp(address: str, port: int) -> socket.socket:
    """A socket of one family only, as asyncio's servers have them."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    made.setblocking(False)
    return made


async def serve(arguments: argparse.Namespace) -> None:
    """Listen on every port that is asked for, for ever; raises OSError when one is taken."""
    loop = asyncio.get_running_loop()
    streams = {"http": HTTPPort, "grpc": HTTPPort, "tcp": TCPPort, "greet": GreetPort}
    for flag, protocol in streams.items():
        for port in getattr(arguments, flag):
            await loop.create_server(protocol, ANYWHERE, port, backlog=1024)
    for address, port in product(ANYWHERE, arguments.udp):
        await loop.create_datagram_endpoint(UDPPort, sock=_udp(address, port))
    await asyncio.Event().wait()


def main() -> None:
    """Read the ports from the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flag in ("http", "grpc", "tcp", "greet", "udp"):
        parser.add_argument(f"--{flag}", type=int, nargs="+", action="extend", default=[], metavar="PORT")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
