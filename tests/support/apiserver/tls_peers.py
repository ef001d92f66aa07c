"""A TLS server and its client, each of which demands a certificate of the other one."""

import asyncio
import ssl
from pathlib import Path
from typing import Any


def served(certificate: str, folder: Path) -> ssl.SSLContext:
    """A server's context that demands a certificate of its clients, with a certificate of its own."""
    return context(ssl.PROTOCOL_TLS_SERVER, certificate, folder)


def context(protocol: Any, certificate: str, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.check_hostname, made.verify_mode = False, ssl.CERT_REQUIRED
    made.load_verify_locations(str(folder / "ca.crt"))
    (folder / "own.crt").write_text(certificate)
    made.load_cert_chain(folder / "own.crt", folder / "own.key")
    return made


async def exchanged(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether a client and a server trust each other."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read(1))
        writer.write(b"y")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="")
        writer.write(b"x")
        found = await reader.read(1)
        writer.close()
    return (await heard, found) == (b"x", b"y")
