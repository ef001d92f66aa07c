"""One connected Envoy: its stream of resources, worked on by the server's worker thread."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from typing import NamedTuple, TypeVar

from envoy.service.discovery.v3 import discovery_pb2

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName
from agent.waypoint.config_dump import Drift, compare
from agent.waypoint.messages import Request, Response
from agent.waypoint.snapshot_cache import Catalogue
from agent.waypoint.stream import Stream

T = TypeVar("T")


class Believed(NamedTuple):
    """What an Envoy has acknowledged, by version, and every resource that it has been sent."""

    versions: Mapping[ResourceName, str]
    told: set[ResourceName]


class AdsClient:
    """The stream and the catalogue are touched in the worker only. What the worker found is read by the loop as values
    that do not change: `acknowledged` and `rejected`; `outbox` has the messages to send, None at the end.
    """

    def __init__(self, worker: Executor, catalogue: Catalogue) -> None:
        self.envoy: Envoy | None = None
        self.retrying: set[ResourceName] = set()
        self.acknowledged: frozenset[ResourceName] = frozenset()
        self.rejected: Mapping[ResourceName, str] = {}
        self.outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._worker = worker
        self._catalogue = catalogue
        self._stream = Stream()

    async def snapshot(self) -> None:
        """Send what this Envoy lacks of everything that it shall have."""
        await self._send(
            lambda: self._stream.on_snapshot(
                self._catalogue.versions(self._addresses), self._catalogue.leads(self._addresses)
            )
        )

    async def answer(self, request: Request) -> None:
        """Answer a subscription, an acknowledgement or a refusal."""
        await self._send(lambda: self._stream.on_request(request))

    async def retry(self, name: ResourceName) -> None:
        """Send again what was refused."""
        await self._send(lambda: self._stream.retry(name))

    async def mend(self, lacks: Iterable[ResourceName], keeps: Iterable[ResourceName]) -> None:
        """Send again what this Envoy turned out not to have, and remove what it should not have."""
        await self._send(lambda: self._stream.mistrust(lacks, keeps))

    async def believed(self) -> Believed:
        """What this Envoy has, as far as it said so."""
        return await self._in_worker(self._believed)

    async def compare(self, before: Believed, served: Mapping[ResourceName, Collection[str]]) -> Drift:
        """What it serves otherwise than it said before and says now."""

        def compared() -> Drift:
            now = self._believed()
            still = [name for name, _ in before.versions.items() & now.versions.items()]
            return compare(self._catalogue.shown(still, self._addresses), before.told | now.told, served)

        return await self._in_worker(compared)

    @property
    def _addresses(self) -> Addresses:
        return self.envoy.addresses if self.envoy else Addresses()

    def _believed(self) -> Believed:
        versions = self._catalogue.versions(self._addresses)
        known = {name: versions[name] for name in self._stream.acknowledged if name in versions}
        return Believed(known, self._stream.told)

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _send(self, work: Callable[[], list[Response]]) -> None:
        """Have something done with the stream, and send what it answers."""

        def worked() -> list[bytes]:
            messages = [self._message(response) for response in work()]
            self.rejected = dict(self._stream.rejected)
            self.acknowledged = frozenset(self._stream.acknowledged)
            return messages

        for message in await self._in_worker(worked):
            self.outbox.put_nowait(message)

    def _message(self, response: Response) -> bytes:
        message = discovery_pb2.DeltaDiscoveryResponse(
            type_url=response.kind, nonce=response.nonce, removed_resources=response.removed
        )
        for name in response.resources:
            encoded = self._catalogue.get(ResourceName(response.kind, name), self._addresses)
            if encoded is not None:
                message.resources.add(name=name, version=encoded.version, resource=encoded.packed)
        return bytes(message.SerializeToString())
