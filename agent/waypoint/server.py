"""The server that Envoy talks to: ADS around `stream`, and its access log, on a Unix socket that no pod can reach."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from agent.plan.envoys import Envoy
from agent.plan.faults import Faults
from agent.plan.resources import Json, ResourceName, ResourceType
from agent.waypoint import admin
from agent.waypoint.access_log import AccessLog, Take
from agent.waypoint.admin import AdminError
from agent.waypoint.catalogue import Catalogue
from agent.waypoint.discovery import Request, Response
from agent.waypoint.node import NodeError, identify
from agent.waypoint.process import admin_socket
from agent.waypoint.served import Drift, compare
from agent.waypoint.stream import Stream

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
STOP_SECONDS = 0.5
# What Envoy says of a port that somebody has; it does not try again by itself.
CANNOT_BIND = "cannot bind"
RETRY_SECONDS = 2.0
CONFIRM_SECONDS = 0.5
MESSAGE_LIMIT = 64 * 2**20
# Characters of what Envoy says, which may quote what a Route's author wrote.
MAX_REASON = 1000


class _Client:
    """One connected Envoy; who it is, its first message tells."""

    def __init__(self) -> None:
        self.envoy: Envoy | None = None
        self.stream = Stream()
        self.retrying: set[ResourceName] = set()
        # None: one of the two sides ends the stream.
        self.outbox: asyncio.Queue[Response | None] = asyncio.Queue()

    def put(self, responses: list[Response]) -> None:
        for response in responses:
            self.outbox.put_nowait(response)


class AdsServer:
    """Configures every Envoy that connects to the socket."""

    def __init__(
        self,
        socket: Path,
        address: str,
        take: Take = lambda _: None,
        allowed: Callable[[], Collection[str]] = tuple,
        faults: Faults | None = None,
    ) -> None:
        """`address` is where the listeners are of an Envoy that does not say it itself; empty: not known.

        `take` gets the requests that Envoys serve. `allowed` says where Envoys can be: the addresses of the waypoints'
        pods on this node, nothing where none is known. Without `faults` they are raised.
        """
        self._socket = socket
        self._address = address
        self._allowed = allowed
        self._access_log = AccessLog(take)
        self._server: aio.Server | None = None
        self._clients: set[_Client] = set()
        self._changed: Callable[[], None] = lambda: None
        self._catalogue = Catalogue(faults)
        self._published = False
        self.acks = 0
        self.nacks = 0

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this when an Envoy comes, goes, or answers."""
        self._changed = callback

    async def start(self) -> None:
        """Listen. A socket that a dead agent left is replaced. Raises `OSError`, `RuntimeError`."""
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        server = aio.server(options=[(f"grpc.max_{way}_message_length", MESSAGE_LIMIT) for way in ("send", "receive")])
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        discovery = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((discovery, self._access_log.handler()))
        # Nobody else may connect at any moment, not even before the mode could be changed.
        mask = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{self._socket}")
        finally:
            os.umask(mask)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Hang up. Envoys keep what they have."""
        for client in self._clients:
            client.outbox.put_nowait(None)
        self._access_log.stop()
        if self._server is not None:
            await self._server.stop(STOP_SECONDS)
            self._server = None

    @property
    def envoys(self) -> list[Envoy]:
        """The Envoys that are connected."""
        return sorted(client.envoy for client in self._clients if client.envoy is not None)

    @property
    def rejected(self) -> dict[ResourceName, str]:
        """Resources that cannot be encoded, or that an Envoy refused, with the reason."""
        found = dict(self._catalogue.unencodable)
        for client in self._clients:
            found |= client.stream.rejected
        return found

    def acknowledged_by(self, envoy: Envoy) -> set[ResourceName]:
        """Resources that this Envoy has, as published."""
        return {name for client in self._clients if client.envoy == envoy for name in client.stream.acknowledged}

    def acknowledged(self) -> set[ResourceName]:
        """Resources that every connected Envoy has, as published; none when there is no Envoy."""
        sets = [client.stream.acknowledged for client in self._clients]
        return set.intersection(*sets) if sets else set()

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        """Replace what every Envoy shall have. What cannot be encoded stays as it was, and is listed in
        `rejected`.
        """
        if self._catalogue.replace(resources, ports) or not self._published:
            self._published = True
            for client in self._clients:
                self._tell(client)

    async def audit(self) -> dict[Envoy, Drift]:
        """Compare what each Envoy serves with what it acknowledged, and have it mend the difference. An Envoy that does
        not answer is left out.
        """
        found: dict[Envoy, Drift] = {}
        for client in list(self._clients):
            with suppress(AdminError):
                drift = await self._drift(client)
                if drift:
                    # What is on its way looks like drift for a moment.
                    await asyncio.sleep(CONFIRM_SECONDS)
                    drift &= await self._drift(client)
                if client in self._clients and client.envoy is not None:
                    found[client.envoy] = drift
                    client.put(client.stream.mistrust(drift.lacks, drift.keeps) if drift else [])
        return found

    async def _drift(self, client: _Client) -> Drift:
        """One look at an Envoy. What it is sent, or answers, meanwhile is not judged. Raises `AdminError`."""
        if client.envoy is None or not self._published:
            return Drift()
        address = client.envoy.address
        before, told = self._believed(client, address), client.stream.told
        served = await admin.served(admin_socket(self._socket.parent, client.envoy.id))
        still = [name for name, _ in before.items() & self._believed(client, address).items()]
        return compare(self._catalogue.shown(still, address), told | client.stream.told, served)

    def _believed(self, client: _Client, address: str) -> dict[ResourceName, str]:
        """What an Envoy has acknowledged, by version."""
        versions = self._catalogue.versions(address)
        return {name: versions[name] for name in client.stream.acknowledged if name in versions}

    def _tell(self, client: _Client) -> None:
        """Everything that this Envoy shall have."""
        if self._published and client.envoy is not None:
            address = client.envoy.address
            client.put(client.stream.on_snapshot(self._catalogue.versions(address), self._catalogue.leads(address)))

    async def _serve(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """One Envoy's stream, until it ends."""
        client = _Client()
        self._clients.add(client)
        reading = asyncio.ensure_future(self._read(client, requests))
        reading.add_done_callback(lambda _: client.outbox.put_nowait(None))
        try:
            while (response := await client.outbox.get()) is not None:
                yield self._message(response, client)
            if reading.done():
                reading.result()
        except NodeError as error:
            log.warning("waypoint refused: it cannot be who it says", extra={"error": str(error)})
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            reading.cancel()
            self._part(client)

    async def _read(self, client: _Client, requests: Any) -> None:
        async for message in requests:
            if client.envoy is None:
                self._meet(client, message.node)
            if message.type_url not in tuple(ResourceType):
                continue
            request = _request(message)
            if request.nonce:
                self._count(request)
            client.put(client.stream.on_request(request))
            self._plan_retries(client)
            self._changed()

    def _plan_retries(self, client: _Client) -> None:
        """Whoever has a listener's port may give it back."""
        busy = {name for name, error in client.stream.rejected.items() if CANNOT_BIND in error}
        for name in busy - client.retrying:
            client.retrying.add(name)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry, client, name)

    def _retry(self, client: _Client, name: ResourceName) -> None:
        client.retrying.discard(name)
        if client in self._clients:
            client.put(client.stream.retry(name))

    def _meet(self, client: _Client, node: Any) -> None:
        """An Envoy has said who it is."""
        client.envoy = identify(node, self._address, self._allowed())
        log.info("waypoint connected", extra={"id": client.envoy.id, "address": client.envoy.address})
        self._tell(client)
        self._changed()

    def _part(self, client: _Client) -> None:
        """An Envoy's stream has ended."""
        self._clients.discard(client)
        envoy = client.envoy
        if envoy is not None and all(other.address != envoy.address for other in self.envoys):
            self._catalogue.forget(envoy.address)
        if envoy is not None:
            log.info("waypoint disconnected", extra={"id": envoy.id})
        self._changed()

    def _count(self, request: Request) -> None:
        if request.error:
            self.nacks += 1
            log.error("waypoint refused", extra={"kind": request.kind.label, "error": request.error})
        else:
            self.acks += 1

    def _message(self, response: Response, client: _Client) -> Any:
        """The protobuf of a response. A resource that changed again since is sent as it is now."""
        address = client.envoy.address if client.envoy else ""
        message = discovery_pb2.DeltaDiscoveryResponse(
            type_url=response.kind, nonce=response.nonce, removed_resources=response.removed
        )
        for name in response.resources:
            encoded = self._catalogue.get(ResourceName(response.kind, name), address)
            if encoded is not None:
                message.resources.add(name=name, version=encoded.version, resource=encoded.packed)
        return message


def _request(message: Any) -> Request:
    """A request as the state machine knows it."""
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
    """What Envoy says is wrong, without the resource that it may quote in full before, over many lines."""
    return text.rstrip().rpartition("\n")[2].removeprefix(": ")[:MAX_REASON]
