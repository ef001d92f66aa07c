"""Writes this node's WeftNode when it changes, in a task of its own: the loop does not wait for it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import msgspec
from msgspec import UnsetType
from msgspec.structs import replace

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.ir.envoy import Envoy
from agent.kube.errors import ApiError
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

# The shortest time between two writes. Changes within it are written together.
COALESCE_SECONDS = 0.1
# How often values are compared whose changes no Envoy signals, above all the generation of a Route.
POLL_SECONDS = 1.0
# An Envoy that connects gets the whole configuration first, and rejects again what it rejected before.
ANSWER_SECONDS = 2.0
# Without a connected Envoy the rejections are unknown. The last report stays for this long: an Envoy may reconnect.
ABSENT_SECONDS = 30.0
# The object may have been deleted. A write that changes nothing costs the API server one request.
RESYNC_SECONDS = 300.0
# Where the CRD is not installed, the agents of a thousand nodes do not retry every few seconds.
MAX_BACKOFF_SECONDS = 60.0


class ConnectionStability:
    """Whether the Envoys' rejections are complete: the same Envoys have been connected for long enough."""

    def __init__(self) -> None:
        self._envoys: frozenset[Envoy] | None = None
        self._since = 0.0

    def observe(self, envoys: Collection[Envoy], now: float) -> bool:
        """Record which Envoys are connected now. `now` is in seconds of a monotonic clock."""
        if frozenset(envoys) != self._envoys:
            self._envoys, self._since = frozenset(envoys), now
        return now >= self._since + (ANSWER_SECONDS if envoys else ABSENT_SECONDS)


class NodeWriter:
    """Writes what `build` returns when it differs from what was written last. None means: not known yet.

    `envoys` returns the connected Envoys. `build` is told whether their rejections are complete: where they are not, it
    leaves them out, and those that were reported last stay. What other nodes need is not held up by that. `write`
    raises `ApiError`, `OSError` or `msgspec.DecodeError`; then the write is retried with back-off.
    """

    def __init__(
        self,
        envoys: Callable[[], Collection[Envoy]],
        build: Callable[[bool], Awaitable[WeftNode | None]],
        write: Callable[[WeftNode], Awaitable[None]],
        errors: InternalErrors,
        spread: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`spread` returns within how many seconds the nodes shall write a change of no more than `policies.observed`:
        each at a random time, because all of them have it at once.
        """
        self._envoys = envoys
        self._build = build
        self._write = write
        self._errors = errors
        self._stability = ConnectionStability()
        self._changed = asyncio.Event()
        self._written: WeftNode | None = None
        self._written_at = 0.0
        self._spread = spread
        self._observed_due: float | None = None
        self._failing = False
        self._backoff = Backoff(random.random, MAX_BACKOFF_SECONDS)
        self._counts = {"ok": 0, "failed": 0}

    def outcomes(self) -> dict[str, int]:
        """The number of writes, by outcome."""
        return dict(self._counts)

    def touch(self) -> None:
        """Signal that the content may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            self._changed.clear()
            now = asyncio.get_running_loop().time()
            complete = self._stability.observe(self._envoys(), now)
            with self._errors.guard("WeftNode", "WeftNode"):
                made = await self._build(complete)
                if made is not None:
                    made = made if complete else _with_rejections_of(made, self._written)
                    if self._is_due(made, now) or now >= self._written_at + RESYNC_SECONDS:
                        await self._write_once(made, now)

    def _is_due(self, node: WeftNode, now: float) -> bool:
        """Whether it is time to write the WeftNode."""
        if node == self._written:
            return False
        if self._written is None or _with_observed_of(node, self._written) != self._written:
            return True
        if self._observed_due is None:
            self._observed_due = now + random.random() * self._spread()
        return now >= self._observed_due

    async def _write_once(self, node: WeftNode, now: float) -> None:
        """Write once. After a failure, wait, and try again with the content at that time."""
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
            self._observed_due = None
            self._backoff.succeeded()


def _with_observed_of(node: WeftNode, written: WeftNode) -> WeftNode:
    """A WeftNode with the state of policies that was written last; the same WeftNode where one of them has none."""
    new, old = node.status.policies, written.status.policies
    if isinstance(new, UnsetType) or isinstance(old, UnsetType):
        return node
    return replace(node, status=replace(node.status, policies=replace(new, observed=old.observed)))


def _with_rejections_of(node: WeftNode, written: WeftNode | None) -> WeftNode:
    """A WeftNode with the rejections that were written last."""
    if written is None:
        return node
    rejected, count = written.status.rejected, written.status.rejected_count
    return replace(node, status=replace(node.status, rejected=rejected, rejected_count=count))
