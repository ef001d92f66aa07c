"""The cluster's DNS: names of Services and ServiceImports; all other names do not exist."""

import asyncio
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from agent.ir.addresses import Family, family_of
from agent.lab.controllers import cluster_ips, with_kind
from agent.lab.proxy import slices_of
from agent.lab.store import Object, Objects
from agent.model.meta import Key

CLUSTER_DOMAIN = "cluster.local"
CLUSTER_SET_DOMAIN = "clusterset.local"
_TTL_SECONDS = 5
_RECORDS = {QTYPE.A: (Family.IPV4, A), QTYPE.AAAA: (Family.IPV6, AAAA)}


def names(objects: Objects) -> dict[str, tuple[str, ...]]:
    """Each Service's full name and its addresses: its cluster IP, or if headless its ready endpoints; each import's
    name and its cluster set IPs.
    """
    services = {
        f"{key.name}.{key.namespace}.svc.{CLUSTER_DOMAIN}": tuple(_addresses(key, service, objects))
        for key, service in with_kind(objects, "Service")
    }
    imports = {
        f"{key.name}.{key.namespace}.svc.{CLUSTER_SET_DOMAIN}": tuple(item["spec"].get("ips", ()))
        for key, item in with_kind(objects, "ServiceImport")
    }
    return services | imports


def _addresses(key: Key, service: Object, objects: Objects) -> Iterator[str]:
    spec = service["spec"]
    if spec.get("clusterIP") != "None":
        yield from cluster_ips(spec)
        return
    for item in slices_of(objects, key):
        for endpoint in item.get("endpoints", ()):
            if endpoint.get("conditions", {}).get("ready", True):
                yield endpoint["addresses"][0]


def answer(query: bytes, known: Mapping[str, tuple[str, ...]]) -> bytes:
    """The response to a query. Raises DNSError when it cannot be read."""
    request = DNSRecord.parse(query)
    reply = request.reply()
    name = str(request.q.qname).lower().rstrip(".")
    if name not in known:
        reply.header.rcode = RCODE.NXDOMAIN
    elif request.q.qtype in _RECORDS:
        family, record = _RECORDS[request.q.qtype]
        for address in known[name]:
            if family_of(address) is family:
                reply.add_answer(RR(request.q.qname, request.q.qtype, ttl=_TTL_SECONDS, rdata=record(address)))
    return bytes(reply.pack())


class DNSServer(asyncio.DatagramProtocol):
    """Answers from `known`, which its owner replaces as Services change."""

    def __init__(self) -> None:
        self.known: Mapping[str, tuple[str, ...]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, address: str) -> None:
        """Listen on UDP and TCP; raises OSError."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, (address, 53))
        await asyncio.start_server(self._serve_stream, address, 53)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        # asyncio's own datagram transport is no subclass of DatagramTransport before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer what can be read."""
        assert self._transport
        with suppress(DNSError):
            self._transport.sendto(answer(data, self.known), addr)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages on TCP have their length in two bytes before them (RFC 1035 §4.2.2)."""
        with suppress(DNSError, OSError, asyncio.IncompleteReadError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = answer(await reader.readexactly(length), self.known)
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        writer.close()
