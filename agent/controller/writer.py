"""Sends the writes of a store: few at a time, with retries, and only while this replica leads."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from agent.backoff import Backoff
from agent.controller.status_store import Write
from agent.internal_errors import InternalErrors
from agent.kube.client import JSON, MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.meta import Key

log = logging.getLogger(__name__)

AT_ONCE = 8


class StatusStore(Protocol):
    """What is known of the objects that are written, and hence what is to be written."""

    def write(self, target: Key, now: str) -> Write | None:
        """The write that an object needs, None when it is up to date. `now` is RFC 3339 in UTC."""

    def path(self, target: Key) -> str | None:
        """Where an object is, None when there is none."""

    def absorb(self, raw: bytes) -> None:
        """Note an object's state as the server answered it. Raises `msgspec.DecodeError`."""

    def forget(self, target: Key) -> None:
        """The API server answered that the object does not exist."""


class Writer:
    """Brings objects up to date. `counted` hears of each request: the object's kind, and how it ended."""

    def __init__(
        self,
        api: ApiServer,
        statuses: StatusStore,
        leads: Callable[[], bool],
        counted: Callable[[str, str], None],
        errors: InternalErrors | None = None,
    ) -> None:
        """Without `errors` internal errors are raised."""
        self._errors = errors or InternalErrors()
        self._api = api
        self._statuses = statuses
        self._leads = leads
        self._counted = counted
        self._due: set[Key] = set()
        self._busy: set[Key] = set()
        self._backoffs: dict[Key, Backoff] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)

    def touch(self, targets: Iterable[Key]) -> None:
        """Look at these objects soon."""
        self._due |= set(targets)
        if self._due:
            self._wake.set()

    async def run(self) -> None:
        """Write what is due while leading; what is due otherwise is for whoever leads."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                ready = self._due - self._busy
                self._due &= self._busy
                for target in sorted(ready) if self._leads() else ():
                    self._busy.add(target)
                    group.create_task(self._turn(target))

    async def _turn(self, target: Key) -> None:
        """Write one object; no two writes of it run at once. After an internal error its next change is a new try."""
        async with self._room:
            with self._errors.guard("write", target):
                await self._bring(target)
        self._busy.discard(target)
        self.touch(())

    async def _bring(self, target: Key) -> None:
        """Bring one object up to date; when that fails, try again later."""
        try:
            write = self._statuses.write(target, _now())
            if write is not None and self._leads():
                await self._send(target, write)
            self._backoffs.pop(target, None)
        except (ApiError, msgspec.DecodeError) as error:
            log.warning("not written, trying again", extra={"object": str(target), "error": str(error)})
            backoff = self._backoffs.setdefault(target, Backoff(random.random))
            delay = backoff.failed(getattr(error, "retry_after", 0.0))
            asyncio.get_running_loop().call_later(delay, self.touch, [target])

    async def _send(self, target: Key, write: Write) -> None:
        """One write. After a conflict the object is read, and comes up again. Raises `ApiError`."""
        try:
            kind = MERGE_PATCH if write.method == "PATCH" else JSON
            answer = await self._api.send(write.method, write.path, write.body, kind)
        except ApiError as error:
            self._counted(target.kind, _outcome(error))
            if error.status not in (404, 409):
                raise
            await self._refresh(target)
        else:
            self._counted(target.kind, "ok")
            self._statuses.absorb(answer)

    async def _refresh(self, target: Key) -> None:
        """The object changed or went under our hands: see what it is now. Raises `ApiError`."""
        path = self._statuses.path(target)
        if path is None:
            return
        try:
            self._statuses.absorb(await self._api.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            self._statuses.forget(target)
        self.touch([target])


def _outcome(error: ApiError) -> str:
    return {404: "gone", 409: "conflict"}.get(error.status, "failed")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
