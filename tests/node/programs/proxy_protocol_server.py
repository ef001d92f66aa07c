"""A server of bytes that reads the header of the PROXY protocol (v2) before a client's own bytes: PORT.

It answers each connection with one line of JSON, and ends it: `source` and `destination` with their ports, and `tlvs`
as pairs of type and text, all of them null without a header; `peer`, who connected; `first`, the client's first bytes
in hexadecimal.
"""

import asyncio
import ipaddress
import json
import socket
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY = 0x21
# The length of an address by the byte of family and protocol: TCP over IPv4, and over IPv6.
LENGTHS = {0x11: 4, 0x21: 16}
NOTHING = {"source": None, "destination": None, "tlvs": None}


def facts(family, body):
    """What a header says. Fails for one that is not of a TCP connection."""
    size = LENGTHS[family]
    hosts = [ipaddress.ip_address(body[at : at + size]) for at in (0, size)]
    ports = [int.from_bytes(body[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
    rest, tlvs = body[2 * size + 4 :], []
    while rest:
        end = 3 + int.from_bytes(rest[1:3], "big")
        tlvs.append((rest[0], rest[3:end].decode()))
        rest = rest[end:]
    source, destination = ([str(host), port] for host, port in zip(hosts, ports, strict=True))
    return {"source": source, "destination": destination, "tlvs": tlvs}


async def answer(reader, writer):
    first = await reader.readexactly(len(SIGNATURE))
    found = NOTHING
    if first == SIGNATURE:
        command, family, *length = await reader.readexactly(4)
        assert command == PROXY
        found, first = facts(family, await reader.readexactly(int.from_bytes(bytes(length), "big"))), b""
    # A client sends its first bytes at once.
    first += await reader.read(4096)
    writer.write(json.dumps({**found, "peer": writer.get_extra_info("peername")[0], "first": first.hex()}).encode())
    writer.write(b"\n")
    writer.close()


async def main():
    hosts = ["0.0.0.0", "::"] if socket.has_dualstack_ipv6() else ["0.0.0.0"]
    async with await asyncio.start_server(answer, hosts, int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
