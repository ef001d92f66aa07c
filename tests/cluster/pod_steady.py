"""Runs in a pod: HTTP/1.1 requests at a given rate, half on connections of their own, half on ten that are kept.

Arguments: host, seconds, requests per second, the waypoint's address; SIGTERM ends it sooner. Prints one JSON object:
how many requests went which way, how many connections were opened for the kept ones, the first failures and the last.
"""

import asyncio
import collections
import json
import signal
import sys
import time

KEPT_CONNECTIONS = 10
IN_FLIGHT = 40  # of new connections: a machine that is too slow for the rate gets fewer requests, not time-outs
PATIENCE = 30.0


class Load:
    """One client's requests and what became of them."""

    def __init__(self, host: str, seconds: float, rate: float, waypoint: str) -> None:
        self._host, self._rate, self._waypoint = host, rate, waypoint
        self._end = time.monotonic() + seconds
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

    async def run(self) -> None:
        """Until the time is over."""
        kept = asyncio.gather(*(self._keep() for _ in range(KEPT_CONNECTIONS)))
        fresh: set[asyncio.Task[None]] = set()
        at = time.monotonic()
        while at < self._end:
            if len(fresh) < IN_FLIGHT:
                task = asyncio.create_task(self._fresh())
                fresh.add(task)
                task.add_done_callback(fresh.discard)
            at += 2 / self._rate
            await asyncio.sleep(max(0.0, at - time.monotonic()))
        await kept
        await asyncio.gather(*fresh)

    def end(self) -> None:
        """Begin nothing new."""
        self._end = time.monotonic()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection(self._host, 80), PATIENCE)

    async def _fresh(self) -> None:
        try:
            reader, writer = await self._open()
            try:
                await asyncio.wait_for(self._ask(reader, writer, close=True), PATIENCE)
            finally:
                writer.close()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._failed("new", error)

    async def _keep(self) -> None:
        """Requests on one connection; another one only after the server said or showed that it is closing."""
        connection = None
        at = time.monotonic()
        while at < self._end:
            try:
                if connection is None or connection[0].at_eof():
                    connection = await self._open()
                    self.counts["opened"] += 1
                if await asyncio.wait_for(self._ask(*connection, close=False), PATIENCE):
                    connection[1].close()
                    connection = None
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self._failed("kept", error)
                connection = None
            at += KEPT_CONNECTIONS / (self._rate / 2)
            await asyncio.sleep(max(0.0, at - time.monotonic()))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, close: bool) -> bool:
        """One request; says whether the server will close. Raises for anything but 200."""
        header = "Connection: close\r\n" if close else ""
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n{header}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        body = await reader.readexactly(length)
        status = int(head.split()[1])
        if status != 200:
            raise ValueError(f"status {status}")
        way = "waypoint" if json.loads(body)["peer"].split(":")[0] == self._waypoint else "kernel"
        self.counts[f"{'new' if close else 'kept'} by {way}"] += 1
        return "connection: close" in head

    def _failed(self, what: str, error: BaseException) -> None:
        self.counts["failed"] += 1
        self.failures.append(f"{time.time():.2f} {what}: {error!r}")


async def main() -> None:
    """Run, and say what happened."""
    load = Load(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.end)
    await load.run()
    print(json.dumps({"counts": load.counts, "failures": load.failures[:5] + load.failures[5:][-1:]}))


asyncio.run(main())
