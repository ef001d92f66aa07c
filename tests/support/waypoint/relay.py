"""Between an Envoy and the agent: passes their stream on, and can lose what the agent says without either noticing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from agent.ir.resources import ResourceName
from agent.waypoint.server import METHOD, SERVICE

PATIENCE = 20.0


class Relay:
    """Listens where Envoy looks for the agent. `lose` holds resources that do not get through, while they are there:
    neither they nor their removal. Envoy acknowledges the rest of a message, which the agent takes for all of it.
    """

    def __init__(self, listen: Path, agent: Path) -> None:
        self.lose: set[ResourceName] = set()
        self.lost = 0
        self._paths = listen, agent
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._started.wait(PATIENCE)

    def stop(self) -> None:
        """Close the connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        listen, agent = self._paths
        server = aio.server()
        handler = grpc.stream_stream_rpc_method_handler(self._pass)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        server.add_insecure_port(f"unix:{listen}")
        async with aio.insecure_channel(f"unix:{agent}") as self._agent:
            await server.start()
            self._started.set()
            await self._ended.wait()
            await server.stop(0)

    async def _pass(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        """One stream: requests as they are, of the responses what is not to be lost."""
        call = self._agent.stream_stream(f"/{SERVICE}/{METHOD}")(requests)
        async for response in call:
            yield self._without(response)

    def _without(self, data: bytes) -> bytes:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
        names = {item.name for item in self.lose if item.kind == message.type_url}
        kept = [item for item in message.resources if item.name not in names]
        removed = [name for name in message.removed_resources if name not in names]
        self.lost += len(message.resources) + len(message.removed_resources) - len(kept) - len(removed)
        del message.resources[:], message.removed_resources[:]
        message.resources.extend(kept)
        message.removed_resources.extend(removed)
        return bytes(message.SerializeToString())
