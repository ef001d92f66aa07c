"""A TLS server and its clients, each of which demands a certificate of the other one, and renews its own."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Requests on one connection.
REQUESTS_OF_CONNECTION = 50


class Peer:
    """One side. Connections that begin after `renew` use the new certificate and trust bundle."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        (folder / "own.key").write_bytes(key)

    def renew(self, certificate: str, bundle: str) -> None:
        """Replace certificate and trust bundle, in PEM."""
        (self._folder / "own.crt").write_text(certificate)
        self.server = self._context(ssl.PROTOCOL_TLS_SERVER, bundle)
        self.client = self._context(ssl.PROTOCOL_TLS_CLIENT, bundle)

    def _context(self, protocol: Any, bundle: str) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.check_hostname, made.verify_mode = False, ssl.CERT_REQUIRED
        made.load_verify_locations(cadata=bundle)
        made.load_cert_chain(self._folder / "own.crt", self._folder / "own.key")
        return made


async def requests(server: Peer, client: Peer, goes_on: Callable[[int], bool]) -> int:
    """Send requests on one connection after the other while `goes_on` says so, of the number that were answered.

    Returns that number. Raises what a request fails with.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(server.server)
        while byte := await reader.read(1):
            writer.write(byte)
        writer.close()

    answered = 0
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        while goes_on(answered):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client.client, server_hostname="")
            for _ in range(REQUESTS_OF_CONNECTION):
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                answered += 1
            writer.close()
    return answered
