"""Runs in a pod: requests of many kinds, each after the answer to the last, so that a slow machine gets fewer.

Arguments: seconds, and for how many seconds a stream lives; SIGTERM ends it sooner. Prints one JSON object: how many
exchanges of each kind there were through which waypoint, how long-lived connections ended, and what failed.
"""

import asyncio
import collections
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from grpc import aio

WEB, RPC = "web.shop", "rpc.shop:80"
PATIENCE = 30.0
PAUSE = 0.02
BODY = b"x" * 65536
SLOW_PIECES = 8
ERRORS = (OSError, EOFError, TimeoutError, ValueError, aio.AioRpcError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """One client's exchanges and what became of them."""

    def __init__(self, seconds: float, life: float) -> None:
        self._end = time.monotonic() + seconds
        self._life = life
        self.counts: collections.Counter[str] = collections.Counter()
        self.lives: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

    async def run(self) -> None:
        """Until the time is over."""
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "new": self._new,
            "new POST": self._new_post,
            "slow POST": self._slow_post,
            "kept": lambda: self._keep(b""),
            "kept POST": lambda: self._keep(BODY),
            "WebSocket": self._websocket,
            "gRPC stream": self._stream,
            "gRPC": self._unary,
        }
        await asyncio.gather(*(self._again(kind, once) for kind, once in kinds.items()))

    def end(self) -> None:
        """Begin nothing new."""
        self._end = time.monotonic()

    def over(self) -> bool:
        """Whether nothing new shall begin."""
        return time.monotonic() >= self._end

    async def _again(self, kind: str, once: Callable[[], Awaitable[None]]) -> None:
        while not self.over():
            try:
                await once()
            except ERRORS as error:
                self.counts["failed"] += 1
                self.failures.append(f"{time.time():.2f} {kind}: {error!r}")
            await asyncio.sleep(PAUSE)

    async def _new(self) -> None:
        await self._once("new", b"")

    async def _new_post(self) -> None:
        await self._once("new POST", BODY)

    async def _once(self, kind: str, body: bytes) -> None:
        connection = await dial()
        try:
            await self._ask(kind, connection, body, "Connection: close\r\n")
        finally:
            connection[1].close()

    async def _slow_post(self) -> None:
        """A body that takes as long as a stream lives: its connection may be at a waypoint that is going."""
        connection = await dial()
        try:
            pause = self._life / SLOW_PIECES
            await self._ask("slow POST", connection, BODY, "Connection: close\r\n", pause)
            self.lives["slow POST: answered"] += 1
        finally:
            connection[1].close()

    async def _keep(self, body: bytes) -> None:
        """One connection for as long as it lasts."""
        kind = "kept POST" if body else "kept"
        connection = await dial()
        try:
            while not self.over():
                if await self._ask(kind, connection, body, ""):
                    self.lives[f"{kind}: closed by an announcement"] += 1
                    return
                await asyncio.sleep(PAUSE)
            self.lives[f"{kind}: still there"] += 1
        finally:
            connection[1].close()

    async def _ask(self, kind: str, connection: Streams, body: bytes, header: str, pause: float = 0.0) -> bool:
        """One request; says whether the server will close. Raises for anything but 200."""
        reader, writer = connection
        method, size = ("POST", f"Content-Length: {len(body)}\r\n") if body else ("GET", "")
        writer.write(f"{method} / HTTP/1.1\r\nHost: {WEB}\r\n{header}{size}\r\n".encode())
        piece = -(-len(body) // SLOW_PIECES)
        for start in range(0, len(body), piece or 1):
            await asyncio.sleep(pause)
            writer.write(body[start : start + piece])
        head, seen = await asyncio.wait_for(answer(reader), PATIENCE)
        if int(head.split()[1]) != 200 or seen["received"] != len(body):
            raise ValueError(f"{head.splitlines()[0]}, {seen}")
        self.counts[f"{kind} by {seen['peer'].split(':')[0]}"] += 1
        return "connection: close" in head

    async def _websocket(self) -> None:
        """Messages to and fro on an upgraded connection, which we end."""
        reader, writer = await dial()
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {WEB}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            end = time.monotonic() + self._life
            while time.monotonic() < end:
                writer.write(b"hello")
                await asyncio.wait_for(reader.readexactly(5), PATIENCE)
                self.counts["WebSocket messages"] += 1
                await asyncio.sleep(PAUSE)
            self.lives["WebSocket: ended by the client"] += 1
        finally:
            writer.close()

    async def _stream(self) -> None:
        """A call that sends for as long as a stream lives, then is answered."""
        async with aio.insecure_channel(RPC) as channel:

            async def messages() -> AsyncIterator[bytes]:
                end = time.monotonic() + self._life
                while time.monotonic() < end:
                    yield b"hello"
                    self.counts["gRPC stream messages"] += 1
                    await asyncio.sleep(PAUSE)

            await channel.stream_unary("/long.Lived/Stream")(messages(), wait_for_ready=True)
            self.lives["gRPC stream: answered"] += 1

    async def _unary(self) -> None:
        """Calls on one channel, which finds new connections for itself."""
        async with aio.insecure_channel(RPC) as channel:
            call = channel.unary_unary("/long.Lived/Call")
            while not self.over():
                seen = json.loads(await call(b"hello", wait_for_ready=True, timeout=PATIENCE))
                self.counts[f"gRPC by {seen['peer'].split(':')[0]}"] += 1
                await asyncio.sleep(PAUSE)


async def dial() -> Streams:
    """A connection to the Service."""
    return await asyncio.wait_for(asyncio.open_connection(WEB, 80), PATIENCE)


async def answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, object]]:
    """Head and JSON body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].split()[0])
    return head, json.loads(await reader.readexactly(length))


async def main() -> None:
    """Run, and say what happened."""
    load = Load(float(sys.argv[1]), float(sys.argv[2]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.end)
    await load.run()
    print(json.dumps({"counts": load.counts, "lives": load.lives, "failures": load.failures[:5]}))


asyncio.run(main())
