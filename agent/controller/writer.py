"""Sends the writes of a store: a limited number at a time, of namespaces in turn, with retries, and only while this
replica leads.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from agent.backoff import Backoff
from agent.controller.status_store import Write
from agent.fair_queue import FairQueue
from agent.internal_errors import InternalErrors
from agent.kube.client import JSON, MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.meta import Key

log = logging.getLogger(__name__)

MAX_CONCURRENT = 8


class StatusStore(Protocol):
    """The stored and desired states of the objects, and hence their writes."""

    def write(self, target: Key, now: str) -> Write | None:
        """The write that an object needs, None when it is up to date. `now` is RFC 3339 in UTC."""

    def path(self, target: Key) -> str | None:
        """An object's path; None if the object is not known."""

    def update_from_response(self, raw: bytes) -> None:
        """Store an object's state from the server's response. Raises `msgspec.DecodeError`."""

    def forget(self, target: Key) -> None:
        """The API server answered that the object does not exist."""


class Writer:
    """Brings objects up to date. `on_write` is called with each request's kind and outcome."""

    def __init__(
        self,
        api: ApiServer,
        statuses: StatusStore,
        leads: Callable[[], bool],
        on_write: Callable[[str, str], None],
        errors: InternalErrors | None = None,
    ) -> None:
        """Without `errors` internal errors are raised."""
        self._errors = errors or InternalErrors()
        self._api = api
        self._statuses = statuses
        self._leads = leads
        self._on_write = on_write
        # A write is one unit of cost, whatever the object.
        self._due = FairQueue[Key](lambda target: target.namespace)
        self._busy: set[Key] = set()
        # Objects that changed while they were written.
        self._again: set[Key] = set()
        self._backoffs: dict[Key, Backoff] = {}
        self._wake = asyncio.Event()

    def touch(self, targets: Iterable[Key]) -> None:
        """Queue these objects."""
        touched = set(targets)
        self._again |= touched & self._busy
        self._due.add(sorted(touched - self._busy))
        self._wake.set()

    async def run(self) -> None:
        """Write queued objects while leading. Another replica writes those of other times."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._due and len(self._busy) < MAX_CONCURRENT:
                    target = self._due.pop()
                    self._due.charge(target.namespace, 1)
                    if self._leads():
                        self._busy.add(target)
                        group.create_task(self._write_target(target))

    async def _write_target(self, target: Key) -> None:
        """Write one object; never two writes of it at once. After an internal error its next change is a new
        attempt.
        """
        with self._errors.guard("write", target):
            await self._reconcile(target)
        self._busy.discard(target)
        again, self._again = self._again & {target}, self._again - {target}
        self.touch(again)

    async def _reconcile(self, target: Key) -> None:
        """Bring one object up to date. After a failure, try again with back-off."""
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
        """Send one write. After a conflict the object is read and queued again. Raises `ApiError`."""
        try:
            kind = MERGE_PATCH if write.method == "PATCH" else JSON
            answer = await self._api.send(write.method, write.path, write.body, kind)
        except ApiError as error:
            self._on_write(target.kind, _outcome(error))
            if error.status not in (404, 409):
                raise
            await self._refresh(target)
        else:
            self._on_write(target.kind, "ok")
            self._statuses.update_from_response(answer)

    async def _refresh(self, target: Key) -> None:
        """The object was changed or deleted: read it again. Raises `ApiError`."""
        path = self._statuses.path(target)
        if path is None:
            return
        try:
            self._statuses.update_from_response(await self._api.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            self._statuses.forget(target)
        self.touch([target])


def _outcome(error: ApiError) -> str:
    return {404: "gone", 409: "conflict"}.get(error.status, "failed")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
