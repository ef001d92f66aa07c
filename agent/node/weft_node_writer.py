"""Keeps this node's WeftNode up to date, by a task of its own: no pass of the loop waits for it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import msgspec

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.ir.envoy import Envoy
from agent.kube.errors import ApiError
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

# There is at most one write in this time; changes that come together are written together.
COALESCE_SECONDS = 0.1
# What no Envoy says, the generation of a Route above all, is looked at so often.
LOOK_SECONDS = 1.0
# An Envoy that connects is told everything first, and refuses again what it refused before.
ANSWER_SECONDS = 2.0
# Without any Envoy nothing is known of what it refuses. The report stays for so long: it may be about to return.
ABSENT_SECONDS = 30.0
# Somebody may have deleted the object. A write that changes nothing costs the API server one request.
AGAIN_SECONDS = 300.0
# Where the definition is not installed, agents of a thousand nodes do not ask for it every few seconds.
MOST_SECONDS = 60.0


class Settling:
    """Whether what Envoys refuse is known: the same ones are connected for long enough."""

    def __init__(self) -> None:
        self._envoys: frozenset[Envoy] | None = None
        self._since = 0.0

    def see(self, envoys: Collection[Envoy], now: float) -> bool:
        """These are connected now; `now` is in seconds of a clock that only grows."""
        if frozenset(envoys) != self._envoys:
            self._envoys, self._since = frozenset(envoys), now
        return now >= self._since + (ANSWER_SECONDS if envoys else ABSENT_SECONDS)


class NodeWriter:
    """Writes what `made` gives whenever it is another than the last that was written. None: nothing is known yet.

    `envoys` are the connected ones. `write` raises `ApiError`, `OSError` or `msgspec.DecodeError`; then it is tried
    again, with back-off.
    """

    def __init__(
        self,
        envoys: Callable[[], Collection[Envoy]],
        made: Callable[[], Awaitable[WeftNode | None]],
        write: Callable[[WeftNode], Awaitable[None]],
        errors: InternalErrors,
    ) -> None:
        self._envoys = envoys
        self._made = made
        self._write = write
        self._errors = errors
        self._settling = Settling()
        self._changed = asyncio.Event()
        self._written: WeftNode | None = None
        self._written_at = 0.0
        self._failing = False
        self._backoff = Backoff(random.random, MOST_SECONDS)
        self._counts = {"ok": 0, "failed": 0}

    def outcomes(self) -> dict[str, int]:
        """How many writes there have been, by how they ended."""
        return dict(self._counts)

    def touch(self) -> None:
        """What is reported may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            self._changed.clear()
            now = asyncio.get_running_loop().time()
            if self._settling.see(self._envoys(), now):
                with self._errors.guard("node report", "WeftNode"):
                    made = await self._made()
                    if made is not None and (made != self._written or now >= self._written_at + AGAIN_SECONDS):
                        await self._bring(made, now)

    async def _bring(self, node: WeftNode, now: float) -> None:
        """One write; after a failure a pause, and then it is due again, as it is by then."""
        try:
            await self._write(node)
        except (ApiError, OSError, msgspec.DecodeError) as error:
            self._counts["failed"] += 1
            if not self._failing:
                log.info("WeftNode not written, trying again", extra={"error": str(error)})
            self._failing = True
            await asyncio.sleep(self._backoff.failed(getattr(error, "retry_after", 0.0)))
            self.touch()
        else:
            self._counts["ok"] += 1
            self._written, self._written_at, self._failing = node, now, False
            self._backoff.succeeded()
