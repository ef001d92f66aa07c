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
from agent.waypoint.snapshot_cache import SnapshotCache
from agent.waypoint.stream import Stream

T = TypeVar("T")


class Acknowledged(NamedTuple):
    """The versions that an Envoy has acknowledged, and every resource that it was sent."""

    versions: Mapping[ResourceName, str]
    sent: set[ResourceName]


class AdsClient:
    """Only the worker touches the stream and the snapshot cache. The loop reads its results as immutable values:
    `acknowledged` and `rejected`. `outbox` has the messages to send, None at the end.
    """

    def __init__(self, worker: Executor, cache: SnapshotCache) -> None:
        self.envoy: Envoy | None = None
        self.retrying: set[ResourceName] = set()
        self.acknowledged: frozenset[ResourceName] = frozenset()
        self.rejected: Mapping[ResourceName, str] = {}
        self.outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._worker = worker
        self._cache = cache
        self._stream = Stream()

    async def snapshot(self) -> None:
        """Send what this Envoy lacks of the published resources."""
        await self._send(lambda: self._stream.on_snapshot(self._cache.snapshot(self._addresses)))

    async def answer(self, request: Request) -> None:
        """Answer a subscription, an acknowledgement or a refusal."""
        await self._send(lambda: self._stream.on_request(request))

    async def retry(self, name: ResourceName) -> None:
        """Send again what was refused."""
        await self._send(lambda: self._stream.retry(name))

    async def resync(self, lacks: Iterable[ResourceName], keeps: Iterable[ResourceName]) -> None:
        """Send again what this Envoy does not have, and remove what it should not have."""
        await self._send(lambda: self._stream.resync(lacks, keeps))

    async def acknowledged_versions(self) -> Acknowledged:
        """What this Envoy has acknowledged, and was sent."""
        return await self._in_worker(self._acknowledged_now)

    async def compare(self, before: Acknowledged, served: Mapping[ResourceName, Collection[str]]) -> Drift:
        """How `served`, its config dump, differs from what it had acknowledged before and still has acknowledged."""

        def compared() -> Drift:
            now = self._acknowledged_now()
            still = [name for name, _ in before.versions.items() & now.versions.items()]
            return compare(self._cache.shown(still, self._addresses), before.sent | now.sent, served)

        return await self._in_worker(compared)

    @property
    def _addresses(self) -> Addresses:
        return self.envoy.addresses if self.envoy else Addresses()

    def _acknowledged_now(self) -> Acknowledged:
        versions = self._cache.versions(self._addresses)
        known = {name: versions[name] for name in self._stream.acknowledged if name in versions}
        return Acknowledged(known, self._stream.sent)

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _send(self, work: Callable[[], list[Response]]) -> None:
        """Run `work` on the stream in the worker, and send the responses that it returns."""

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
            encoded = self._cache.get(ResourceName(response.kind, name), self._addresses)
            if encoded is not None:
                message.resources.add(name=name, version=encoded.version, resource=encoded.packed)
        return bytes(message.SerializeToString())
