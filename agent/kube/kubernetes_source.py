"""The distributed source: the Kubernetes API, listed and watched.

The state machines are in `reflector`; here are the requests, the waiting, and what is said of the server's health.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.kube.client import ApiServer
from agent.kube.collection import Collection
from agent.kube.definitions import Bundle, Definition, bundles, definitions, group_versions, resources, served
from agent.kube.errors import ApiError
from agent.kube.follower import Follower
from agent.kube.node_objects import write_to_api
from agent.model.change import Change, Delete, Synced, Upsert
from agent.model.meta import Key
from agent.model.multicluster import GROUP as MULTICLUSTER
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

# How long a watch is asked to last: from this to twice that, so that those of many nodes do not end together.
WATCH_SECONDS = 300
# A watch that ends sooner without a word is not asked for again at once.
SHORT_SECONDS = 1.0
# Watches break and come back all the time; what lasts longer is worth a word.
STALE_SECONDS = 10.0
# A definition's new schema is in force this long after it was told, or up to twice that: not all nodes ask at once.
SETTLE_SECONDS = 2.0


@asynccontextmanager
async def open_kubernetes(
    kubeconfig: Path | None, agent: str, collections: Sequence[Collection], errors: InternalErrors | None = None
) -> AsyncIterator["KubernetesSource"]:
    """The source with a connection of its own; `agent` is sent as User-Agent. Raises `ConfigurationError`."""
    async with ApiServer(kubeconfig, agent) as api:
        yield KubernetesSource(api, collections, errors)


class KubernetesSource:
    """Collections of the API as changes.

    Kinds whose definition is not installed are waited for. While the server cannot be reached everything said before
    stays in force; what changed meanwhile is found by the lists that follow, and only the difference is said.
    """

    name = "kubernetes"

    def __init__(self, api: ApiServer, collections: Sequence[Collection], errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._api = api
        self._errors = errors
        self._collections = tuple(collections)
        self._clock = asyncio.get_running_loop().time
        self._definitions = Follower(definitions(), definitions().versions[0], errors)
        self._defined: dict[Key, Definition] = {}
        self._redefined = asyncio.Event()
        self._discovered = False
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: asyncio.Queue[list[Change] | BaseException] = asyncio.Queue()
        self._synced = False

    @property
    def stale(self) -> str:
        """Why what is known may be old; empty while the server answers."""
        limit = self._clock() - STALE_SECONDS
        for follower in (self._definitions, *self._followers.values()):
            if follower.failing_since is not None and follower.failing_since < limit:
                since = round(self._clock() - follower.failing_since)
                return f"{follower.collection.plural} cannot be followed for {since} s: {follower.error}"
        return ""

    @property
    def bundles(self) -> list[Bundle]:
        """The Gateway API's channels and versions that are installed."""
        return bundles(self._defined, self._collections)

    @property
    def missing(self) -> list[str]:
        """Kinds that the cluster does not have and should: a cluster without imports lacks nothing."""
        wanted = (item.kind for item in self._collections if item.group != MULTICLUSTER and not item.optional)
        return [kind for kind in wanted if kind not in self._followers]

    def lists(self, kind: str) -> bool:
        """Whether all objects of a kind were told."""
        return kind in self._followers and self._followers[kind].reflector.synced

    def report(self) -> dict[str, Any]:
        """What `weft status` shows of the source."""
        return {
            "kind": self.name,
            "server": self._api.host,
            "stale": self.stale,
            "gatewayApi": [{"channel": found.channel, "version": found.version} for found in self.bundles],
            "definitions": self._definitions.state,
            "missing": self.missing if self._discovered else [],
            "collections": {
                kind: {"version": it.version, "objects": it.reflector.objects, "state": it.state}
                for kind, it in sorted(self._followers.items())
            },
        }

    async def store(self, node: WeftNode) -> None:
        """Bring the WeftNode in the API up to date. Raises `ApiError`, `msgspec.DecodeError`."""
        await write_to_api(self._api, node)

    async def changes(self) -> AsyncIterator[list[Change]]:
        """Everything that there is, then `Synced`, then what changes."""
        self._start("definitions", self._follow_definitions())
        self._start("discovery", self._discover_for_ever())
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
        """What was said since the last time, perhaps nothing. Raises what ended a task that should not end."""
        batch = _taken(await self._said.get())
        while not self._said.empty():
            batch += _taken(self._said.get_nowait())
        return batch

    def _all_listed(self) -> bool:
        return self._discovered and all(it.reflector.synced for it in self._followers.values())

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task, in the place of one of its name."""
        if (before := self._tasks.get(name)) is not None:
            before.cancel()
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._said.put_nowait(error)

    async def _follow(self, follower: Follower) -> None:
        """List and watch one collection for ever."""
        while True:
            async with aclosing(self._answers(follower)) as answers:
                async for changes in answers:
                    self._said.put_nowait(changes)

    async def _follow_definitions(self) -> None:
        """What a definition says is kept here; that there was a change is told to discovery."""
        while True:
            async with aclosing(self._answers(self._definitions)) as answers:
                async for changes in answers:
                    self._define(changes)

    def _define(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, Upsert) and isinstance(change.value, Definition):
                before = self._defined.get(change.value.key)
                self._defined[change.value.key] = change.value
                if before is not None and before.metadata.generation != change.value.metadata.generation:
                    self._start(f"list {change.value.key.name}", self._list_anew(change.value.key.name))
            elif isinstance(change, Delete):
                self._defined.pop(change.key, None)
        if self._definitions.reflector.synced:
            self._redefined.set()

    async def _list_anew(self, definition: str) -> None:
        """A schema changed: the server may show more or less of every object now, which is no event of a watch.

        A watch that goes on meanwhile may never hear of it, where objects of the kind are written at the same time
        (seen on 1.36). All servers of the cluster know the new schema a moment after the definition says it.
        """
        await asyncio.sleep(SETTLE_SECONDS * (1 + random.random()))
        for kind, follower in self._followers.items():
            if f"{follower.collection.plural}.{follower.collection.group}" == definition:
                follower.reflector.restart()
                self._start(kind, self._follow(follower))

    async def _answers(self, follower: Follower) -> AsyncGenerator[list[Change], None]:
        """The changes of the next request; then a pause, when it failed or was over before it told anything."""
        enough = self._clock() + SHORT_SECONDS
        try:
            async with aclosing(self._ask(follower)) as answers:
                async for changes in answers:
                    enough = 0.0
                    follower.backoff.succeeded()
                    yield changes
        except ApiError as error:
            await asyncio.sleep(follower.failed(error, self._clock()))
        else:
            if self._clock() < enough:
                await asyncio.sleep(follower.backoff.failed())

    async def _ask(self, follower: Follower) -> AsyncGenerator[list[Change], None]:
        """One request of a collection. Raises `ApiError`."""
        reflector, accept = follower.reflector, follower.collection.accept
        request, path = reflector.request(), follower.collection.path(follower.version)
        if not request.watch:
            changes = reflector.page(await self._api.get(path, request.query, accept[0]))
            follower.answered()
            yield changes
            return
        seconds = {"timeoutSeconds": str(round(WATCH_SECONDS * (1 + random.random())))}
        async with self._api.watch(path, {**request.query, **seconds}, accept[1]) as lines:
            follower.answered()
            async for line in lines:
                yield reflector.event(line)

    async def _discover_for_ever(self) -> None:
        """Find out what is served whenever a definition changed, and again while the two do not agree."""
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
        """Follow what is served; returns whether that is what is defined. Raises `ApiError`, `msgspec.DecodeError`."""
        contents = {version: resources(await self._api.get(f"/apis/{version}")) for version in await self._versions()}
        found = served(self._collections, contents)
        named = {f"{item.plural}.{item.group}": item.kind for item in self._collections if item.defined}
        defined = {kind for name, kind in named.items() if Key(Definition.__name__, "", name) in self._defined}
        for collection, version in found.items():
            self._begin(collection, version)
        # Of several servers, one may be of an older version: what is built in does not end.
        lasting = {item.kind for item in self._collections if item.optional}
        for kind in self._followers.keys() - {item.kind for item in found} - defined - lasting:
            self._end(kind)
        if not self._discovered:
            log.info("discovered", extra={"served": len(found), "missing": ",".join(self.missing)})
        self._discovered = True
        self._said.put_nowait([])
        return defined == {item.kind for item in found if item.defined}

    async def _versions(self) -> list[str]:
        """The apiVersions of the groups of which not every server has every kind."""
        found: list[str] = []
        for group in sorted({item.group for item in self._collections if item.defined or item.optional}):
            try:
                found += group_versions(await self._api.get(f"/apis/{group}"))
            except ApiError as error:
                if error.status != 404:
                    raise
        return found

    def _begin(self, collection: Collection, version: str) -> None:
        """Follow a collection; one that is served in another version now is listed anew."""
        before = self._followers.get(collection.kind)
        if before is not None and before.version == version:
            return
        if before is not None:
            before.version = version
            before.reflector.restart()
        follower = before or Follower(collection, version, self._errors)
        self._followers[collection.kind] = follower
        self._start(collection.kind, self._follow(follower))

    def _end(self, kind: str) -> None:
        """A kind is no more, and with it all its objects."""
        self._tasks.pop(kind).cancel()
        self._said.put_nowait(self._followers.pop(kind).reflector.forget())


def _taken(said: list[Change] | BaseException) -> list[Change]:
    if isinstance(said, BaseException):
        raise said
    return said
