"""A source that lists and watches the Kubernetes API.

The state machines are in `reflector`. This module has the requests, the delays, and the server's health.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.kube.client import ApiServer
from agent.kube.collection import Collection
from agent.kube.collection_watcher import CollectionWatcher
from agent.kube.definitions import Bundle, Definition, bundles, definitions
from agent.kube.discovery import served
from agent.kube.errors import ApiError
from agent.kube.node_objects import write_to_api
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.meta import Key
from agent.model.multicluster import GROUP as MULTICLUSTER
from agent.model.parameters import KIND as MESH_PARAMETERS
from agent.model.parameters import MESH, MESH_GROUP
from agent.model.weft_node import KIND as WEFT_NODE
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

# The timeout of a watch: from this to twice this, so that the watches of many nodes do not end together.
WATCH_SECONDS = 300
# After a watch that ended sooner, without events, the next one waits for the back-off.
MIN_WATCH_SECONDS = 1.0
# Watches break often. The source is stale when one fails for longer than this.
STALE_SECONDS = 10.0
# The delay after a CRD's change until the servers use its new schema: from this to twice this, so that not all nodes
# list at once.
SCHEMA_DELAY_SECONDS = 2.0


class KubernetesSource:
    """Collections of the API, as changes.

    A kind whose CRD is not installed is awaited. While the server cannot be reached, all objects stay in force. The
    next lists find what changed meanwhile, and only the difference is emitted.
    """

    name = "kubernetes"

    def __init__(self, api: ApiServer, collections: Sequence[Collection], errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._api = api
        self._errors = errors
        self._collections = tuple(collections)
        self._clock = asyncio.get_running_loop().time
        self._definitions = CollectionWatcher(definitions(), definitions().versions[0], errors)
        self._defined: dict[Key, Definition] = {}
        self._redefined = asyncio.Event()
        self._discovered = False
        self._watchers: dict[str, CollectionWatcher] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._batches: asyncio.Queue[list[Change] | BaseException] = asyncio.Queue()
        self._synced = False

    @property
    def stale(self) -> str:
        """Why the objects may be out of date; empty while the server answers."""
        limit = self._clock() - STALE_SECONDS
        for watcher in itertools.filterfalse(self._may_lack, self._followed):
            if watcher.failing_since is not None and watcher.failing_since < limit:
                since = round(self._clock() - watcher.failing_since)
                return f"{watcher.collection.plural} cannot be followed for {since} s: {watcher.error}"
        return ""

    @property
    def _followed(self) -> list[CollectionWatcher]:
        """Every collection that must not be out of date."""
        return [self._definitions, *self._watchers.values()]

    @property
    def bundles(self) -> list[Bundle]:
        """The Gateway API's channels and versions that are installed."""
        return bundles(self._defined, self._collections)

    @property
    def missing(self) -> list[str]:
        """Kinds that the cluster lacks but should have. A cluster without the Multi-Cluster Services API, or without
        the experimental kinds of the Gateway API, lacks nothing.
        """
        extra = (MULTICLUSTER, MESH_GROUP)
        wanted = (item.kind for item in self._collections if item.group not in extra and not item.optional)
        return [kind for kind in wanted if kind not in self._watchers]

    def has_listed(self, kind: str) -> bool:
        """Whether all objects of a kind have been emitted."""
        return kind in self._watchers and self._watchers[kind].reflector.synced

    def status(self) -> dict[str, Any]:
        """The source's part of `weft status`."""
        return {
            "kind": self.name,
            "server": self._api.host,
            "stale": self.stale,
            "gatewayApi": [{"channel": found.channel, "version": found.version} for found in self.bundles],
            "definitions": self._definitions.state,
            "missing": self.missing if self._discovered else [],
            "collections": {
                kind: {"version": it.version, "objects": it.reflector.objects, "state": it.state}
                for kind, it in sorted(self._watchers.items())
            },
        }

    async def write_weft_node(self, node: WeftNode) -> None:
        """Write the WeftNode to the API. Raises `ApiError`, `msgspec.DecodeError`."""
        await write_to_api(self._api, node)

    async def changes(self) -> AsyncIterator[list[Change]]:
        """All objects, then `Synced`, then changes."""
        self._start("definitions", self._watch_definitions())
        self._start("discovery", self._discovery_loop())
        try:
            while True:
                batch = await self._next()
                if not self._synced and self._all_listed():
                    self._synced = True
                    batch.append(Synced(self.name))
                if batch:
                    yield batch
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _next(self) -> list[Change]:
        """The changes since the last call, perhaps none. Raises the exception of a task that failed."""
        batch = _raise_or_batch(await self._batches.get())
        while not self._batches.empty():
            batch += _raise_or_batch(self._batches.get_nowait())
        return batch

    def _all_listed(self) -> bool:
        return self._discovered and all(it.reflector.synced or self._may_lack(it) for it in self._watchers.values())

    def _may_lack(self, watcher: CollectionWatcher) -> bool:
        """Whether work goes on without a kind that the account's role forbids: one of an older version may. Without the
        reports of other nodes fewer clients are admitted, not more. An XMesh only names MeshParameters.
        """
        kind = watcher.collection.kind
        return watcher.forbidden and (kind == WEFT_NODE or (kind == MESH and MESH_PARAMETERS not in self._watchers))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task, and cancel an earlier one of its name."""
        if (before := self._tasks.get(name)) is not None:
            before.cancel()
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._batches.put_nowait(error)

    async def _list_and_watch(self, watcher: CollectionWatcher) -> None:
        """List and watch one collection for ever."""
        while True:
            async with aclosing(self._responses(watcher)) as answers:
                async for changes in answers:
                    self._batches.put_nowait(changes)

    async def _watch_definitions(self) -> None:
        """Watch CRDs, and wake discovery after each change."""
        while True:
            async with aclosing(self._responses(self._definitions)) as answers:
                async for changes in answers:
                    self._update_definitions(changes)

    def _update_definitions(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, Upsert) and isinstance(change.value, Definition):
                before = self._defined.get(change.value.key)
                self._defined[change.value.key] = change.value
                if before is not None and before.metadata.generation != change.value.metadata.generation:
                    self._start(f"list {change.value.key.name}", self._relist(change.value.key.name))
            elif isinstance(change, Delete):
                self._defined.pop(change.key, None)
        if self._definitions.reflector.synced:
            self._redefined.set()

    async def _relist(self, definition: str) -> None:
        """List the kind of a changed CRD again: with a new schema the server may return other fields of every object.

        A running watch does not report that. It may also miss a change of the schema itself, where objects of the kind
        are written at the same time (seen on 1.36). All API servers use the new schema a moment after the CRD says so.
        """
        await asyncio.sleep(SCHEMA_DELAY_SECONDS * (1 + random.random()))
        for kind, watcher in self._watchers.items():
            if f"{watcher.collection.plural}.{watcher.collection.group}" == definition:
                watcher.reflector.restart()
                self._start(kind, self._list_and_watch(watcher))

    async def _responses(self, watcher: CollectionWatcher) -> AsyncGenerator[list[Change], None]:
        """The changes of the next request. After a failure, or an early end without events, it waits."""
        enough = self._clock() + MIN_WATCH_SECONDS
        try:
            async with aclosing(self._request(watcher)) as answers:
                async for changes in answers:
                    enough = 0.0
                    watcher.backoff.succeeded()
                    yield changes
        except ApiError as error:
            delay = watcher.failed(error, self._clock())
            self._batches.put_nowait([])
            await asyncio.sleep(delay)
        else:
            if self._clock() < enough:
                await asyncio.sleep(watcher.backoff.failed())

    async def _request(self, watcher: CollectionWatcher) -> AsyncGenerator[list[Change], None]:
        """One request for a collection. Raises `ApiError`."""
        reflector, accept = watcher.reflector, watcher.collection.accept
        request, path = reflector.request(), watcher.collection.path(watcher.version)
        if not request.watch:
            changes = reflector.page(await self._api.get(path, request.query, accept[0]))
            watcher.answered()
            yield changes
            return
        seconds = {"timeoutSeconds": str(round(WATCH_SECONDS * (1 + random.random())))}
        async with self._api.watch(path, {**request.query, **seconds}, accept[1]) as lines:
            watcher.answered()
            async for line in lines:
                yield reflector.event(line)

    async def _discovery_loop(self) -> None:
        """Run discovery whenever a CRD changed, and again while CRDs and served kinds differ."""
        backoff = Backoff(random.random)
        while True:
            await self._redefined.wait()
            self._redefined.clear()
            try:
                settled = await self._discover()
            except (ApiError, msgspec.DecodeError) as error:
                log.info("discovery failed", extra={"error": str(error)})
                settled = False
            if settled:
                backoff.succeeded()
            else:
                self._redefined.set()
                await asyncio.sleep(backoff.failed())

    async def _discover(self) -> bool:
        """Watch the served kinds. Returns whether these are the defined ones. Raises `ApiError`,
        `msgspec.DecodeError`.
        """
        found = await served(self._api, self._collections)
        named = {f"{item.plural}.{item.group}": item.kind for item in self._collections if item.defined}
        defined = {kind for name, kind in named.items() if Key(Definition.__name__, "", name) in self._defined}
        for collection, version in found.items():
            self._start_watching(collection, version)
        # One of several API servers may be older: a built-in kind that was seen once is not dropped.
        lasting = {item.kind for item in self._collections if item.optional}
        for kind in self._watchers.keys() - {item.kind for item in found} - defined - lasting:
            self._stop_watching(kind)
        if not self._discovered:
            log.info("discovered", extra={"served": len(found), "missing": ",".join(self.missing)})
        self._discovered = True
        self._batches.put_nowait([])
        return defined == {item.kind for item in found if item.defined}

    def _start_watching(self, collection: Collection, version: str) -> None:
        """Watch a collection. If its served version changed, it is listed again."""
        before = self._watchers.get(collection.kind)
        if before is not None and before.version == version:
            return
        if before is not None:
            before.version = version
            before.reflector.restart()
        watcher = before or CollectionWatcher(collection, version, self._errors)
        self._watchers[collection.kind] = watcher
        self._start(collection.kind, self._list_and_watch(watcher))

    def _stop_watching(self, kind: str) -> None:
        """The kind was removed: delete all its objects."""
        self._tasks.pop(kind).cancel()
        self._batches.put_nowait(self._watchers.pop(kind).reflector.forget())


def _raise_or_batch(item: list[Change] | BaseException) -> list[Change]:
    if isinstance(item, BaseException):
        raise item
    return item
