"""The way from the host's loopback to the API server, which has no link to the host.

It is started within the control plane's network namespace with a listening socket of the host's as its first
argument (a file descriptor); the second and third are the address and the port to pass everything to.
"""

import asyncio
import socket
import sys
from contextlib import suppress


async def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    address, port = sys.argv[2], int(sys.argv[3])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            api_reader, api_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, api_writer), _pass_on(api_reader, writer))

    server = await asyncio.start_server(relay, sock=listener)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main())
