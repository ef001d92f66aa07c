"""The echo server on loopback: order, upgrades, versions, and answers larger than a window."""

import asyncio
import json
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived

from agent.lab.echo import GreetPort, HTTPPort


@asynccontextmanager
async def connected(protocol):
    made = []

    class Noted(protocol):
        def connection_made(self, transport):
            made.append(transport)
            super().connection_made(transport)

    server = await asyncio.get_running_loop().create_server(Noted, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        # What the client's end would tell it may still be on its way when the loop ends.
        for transport in made:
            transport.abort()


async def read_answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split()[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    body = await reader.readexactly(length)
    return head, json.loads(body)


async def test_pipelined_answers_keep_their_order():
    async with connected(HTTPPort) as (reader, writer):
        writer.write(b"GET /slow?wait=0.05 HTTP/1.1\r\nHost: a\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [(await read_answer(reader))[1]["path"] for _ in range(2)] == ["/slow?wait=0.05", "/fast"]


async def test_a_request_in_single_bytes_and_an_unknown_status():
    async with connected(HTTPPort) as (reader, writer):
        for byte in b"POST /p?status=499 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-A: 1\r\nx-a: 2\r\n\r\nabc":
            writer.write(bytes([byte]))
            await writer.drain()
        head, answer = await read_answer(reader)
    assert head.startswith(b"HTTP/1.1 499 Unknown")
    assert (answer["method"], answer["received"]) == ("POST", 3)
    assert answer["headers"][-2:] == [["X-A", "1"], ["x-a", "2"]]


async def test_http_1_0_closes_and_an_upgrade_echoes_bytes():
    async with connected(HTTPPort) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Connection: close" in await reader.read()
    async with connected(HTTPPort) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(b"\x00any\xff")
        assert await reader.readexactly(5) == b"\x00any\xff"


async def test_what_is_no_http_gets_400():
    async with connected(HTTPPort) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_a_server_first_protocol_speaks_first():
    async with connected(GreetPort) as (reader, _):
        assert json.loads(await reader.readline())["protocol"] == "tcp"


async def test_http2_answers_larger_than_the_window_and_trailers():
    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/s.S/M")]
    client.send_headers(
        1, [*head, ("content-type", "application/grpc"), ("x-echo-body", "200000"), ("x-echo-status", "8")]
    )
    client.end_stream(1)
    body, seen = b"", []
    async with connected(HTTPPort) as (reader, writer):
        writer.write(client.data_to_send())
        while "StreamEnded" not in [type(event).__name__ for event in seen]:
            for event in client.receive_data(await reader.read(65536)):
                seen.append(event)
                if isinstance(event, DataReceived):
                    body += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, 1)
            writer.write(client.data_to_send())
    assert len(body) == 5 + int.from_bytes(body[1:5], "big") > 200_000
    assert json.loads(body[5:].splitlines()[0])["protocol"] == "grpc"
    trailers = next(event for event in seen if isinstance(event, TrailersReceived))
    assert dict(trailers.headers)["grpc-status"] == "8"
    assert next(type(event) for event in seen if isinstance(event, (ResponseReceived, StreamEnded))) is ResponseReceived
