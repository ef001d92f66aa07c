"""The gRPC server for Envoys: ADS around `stream`, and the access log, on a Unix socket that no pod can reach."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.waypoint import admin
from agent.waypoint.access_log import AccessLog, EntriesHandler
from agent.waypoint.admin import AdminError
from agent.waypoint.ads_client import AdsClient
from agent.waypoint.config_dump import Drift
from agent.waypoint.messages import Request
from agent.waypoint.node import NodeError, identify
from agent.waypoint.process import admin_socket
from agent.waypoint.snapshot_cache import SnapshotCache

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
STOP_SECONDS = 0.5
# Envoy's error for a port in use; Envoy does not try again by itself.
CANNOT_BIND = "cannot bind"
RETRY_SECONDS = 2.0
CONFIRM_SECONDS = 0.5
MESSAGE_LIMIT = 64 * 2**20
# Characters of Envoy's error, which may quote what a Route's author wrote.
MAX_REASON = 1000


class AdsServer:
    """Configures every Envoy that connects to the socket.

    A worker thread does what takes long at thousands of resources: it encodes them, and computes what each Envoy lacks.
    Only that thread uses streams and the snapshot cache.
    """

    def __init__(
        self,
        socket: Path,
        addresses: Addresses,
        take: EntriesHandler = lambda _: None,
        allowed: Callable[[], Collection[str]] = tuple,
        errors: InternalErrors | None = None,
    ) -> None:
        """`addresses` are the listeners' of an Envoy whose metadata has none; empty: not known.

        `take` gets the requests that Envoys served. `allowed` returns the addresses of the waypoints' pods on this
        node, empty where none is known. Without `errors` internal errors are raised.
        """
        self._socket = socket
        self._addresses = addresses
        self._allowed = allowed
        self._access_log = AccessLog(take)
        self._server: aio.Server | None = None
        self._clients: set[AdsClient] = set()
        self._changed: Callable[[], None] = lambda: None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="xds")
        self._cache = SnapshotCache(errors)
        self._published = False
        self._retries: set[asyncio.Future[None]] = set()
        self.acks = 0
        self.nacks = 0

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this when an Envoy connects, disconnects or answers."""
        self._changed = callback

    async def start(self) -> None:
        """Listen. Replaces the socket that a dead agent left. Raises `OSError`, `RuntimeError`."""
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        server = aio.server(options=[(f"grpc.max_{way}_message_length", MESSAGE_LIMIT) for way in ("send", "receive")])
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=None,
        )
        discovery = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((discovery, self._access_log.handler()))
        # No other user may connect at any moment, not even before the mode could be changed.
        mask = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{self._socket}")
        finally:
            os.umask(mask)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """End all streams. Envoys keep their configuration."""
        for client in self._clients:
            client.outbox.put_nowait(None)
        for task in self._retries:
            task.cancel()
        self._access_log.stop()
        if self._server is not None:
            await self._server.stop(STOP_SECONDS)
            self._server = None
        self._worker.shutdown(wait=False, cancel_futures=True)

    @property
    def envoys(self) -> list[Envoy]:
        """The Envoys that are connected."""
        return sorted(client.envoy for client in self._clients if client.envoy is not None)

    @property
    def rejected(self) -> dict[ResourceName, str]:
        """Resources that cannot be encoded, or that an Envoy refused, with the reason."""
        found = dict(self._cache.unencodable)
        for client in self._clients:
            found |= client.rejected
        return found

    def acknowledged_by(self, envoy: Envoy) -> frozenset[ResourceName]:
        """Resources that this Envoy has, as published."""
        return frozenset().union(*(client.acknowledged for client in self._clients if client.envoy == envoy))

    def acknowledged(self) -> frozenset[ResourceName]:
        """Resources that every connected Envoy has, as published; none when there is no Envoy."""
        sets = [client.acknowledged for client in self._clients]
        return frozenset.intersection(*sets) if sets else frozenset()

    async def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace the configuration of every Envoy; neither mapping may change any more. A resource that cannot be
        encoded stays as it was, and is in `rejected`. From then on `acknowledged_by` is about these resources.
        """
        loop = asyncio.get_running_loop()
        changed = await loop.run_in_executor(self._worker, self._cache.replace, resources, ports)
        if changed or not self._published:
            self._published = True
            await asyncio.gather(*map(self._send_snapshot, list(self._clients)))

    async def audit(self) -> dict[Envoy, Drift]:
        """Compare what each Envoy serves with what it acknowledged, and send the difference again. An Envoy that does
        not answer is left out.
        """
        found: dict[Envoy, Drift] = {}
        for client in list(self._clients):
            with suppress(AdminError):
                drift = await self._drift(client)
                if drift:
                    # A resource on its way looks like drift for a moment.
                    await asyncio.sleep(CONFIRM_SECONDS)
                    drift &= await self._drift(client)
                if client in self._clients and client.envoy is not None:
                    found[client.envoy] = drift
                    if drift:
                        await client.resync(drift.lacks, drift.keeps)
        return found

    async def _drift(self, client: AdsClient) -> Drift:
        """One Envoy's drift, without what is sent or acknowledged meanwhile. Raises `AdminError`."""
        if client.envoy is None or not self._published:
            return Drift()
        before = await client.acknowledged_versions()
        served = await admin.config_dump(admin_socket(self._socket.parent, client.envoy.id))
        return await client.compare(before, served)

    async def _send_snapshot(self, client: AdsClient) -> None:
        """Send this Envoy what it lacks."""
        if self._published and client.envoy is not None:
            await client.snapshot()

    async def _serve(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """One Envoy's stream, until it ends."""
        client = AdsClient(self._worker, self._cache)
        self._clients.add(client)
        reading = asyncio.ensure_future(self._read(client, requests))
        reading.add_done_callback(lambda _: client.outbox.put_nowait(None))
        try:
            while (message := await client.outbox.get()) is not None:
                yield message
            if reading.done():
                reading.result()
        except NodeError as error:
            log.warning("waypoint refused: its node is not valid", extra={"error": str(error)})
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            reading.cancel()
            self._on_disconnected(client)

    async def _read(self, client: AdsClient, requests: Any) -> None:
        async for message in requests:
            if client.envoy is None:
                await self._on_connected(client, message.node)
            if message.type_url not in tuple(ResourceType):
                continue
            request = _request(message)
            if request.nonce:
                self._count(request)
            await client.answer(request)
            self._plan_retries(client)
            self._changed()

    def _plan_retries(self, client: AdsClient) -> None:
        """Retry listeners whose port is in use: it may become free."""
        busy = {name for name, error in client.rejected.items() if CANNOT_BIND in error}
        for name in busy - client.retrying:
            client.retrying.add(name)
            task = asyncio.ensure_future(self._retry(client, name))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)

    async def _retry(self, client: AdsClient, name: ResourceName) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        client.retrying.discard(name)
        if client in self._clients:
            await client.retry(name)

    async def _on_connected(self, client: AdsClient, node: Any) -> None:
        """An Envoy has sent its node."""
        client.envoy = identify(node, self._addresses, self._allowed())
        log.info("waypoint connected", extra={"id": client.envoy.id, "addresses": str(client.envoy.addresses)})
        await self._send_snapshot(client)
        self._changed()

    def _on_disconnected(self, client: AdsClient) -> None:
        """An Envoy's stream has ended."""
        self._clients.discard(client)
        envoy = client.envoy
        if envoy is not None and all(other.addresses != envoy.addresses for other in self.envoys):
            with suppress(RuntimeError):  # the server has stopped
                self._worker.submit(self._cache.forget, envoy.addresses)
        if envoy is not None:
            log.info("waypoint disconnected", extra={"id": envoy.id})
        self._changed()

    def _count(self, request: Request) -> None:
        if request.error:
            self.nacks += 1
            log.error("waypoint refused", extra={"kind": request.kind.label, "error": request.error})
        else:
            self.acks += 1


def _request(message: Any) -> Request:
    """A request as the state machine has it."""
    error = message.error_detail
    return Request(
        kind=ResourceType(message.type_url),
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=_reason(error.message) or (f"code {error.code}" if message.HasField("error_detail") else ""),
    )


def _reason(text: str) -> str:
    """Envoy's error, without the resource that it may quote in full before, over many lines."""
    return text.rstrip().rpartition("\n")[2].removeprefix(": ")[:MAX_REASON]
