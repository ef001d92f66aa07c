"""The leader election loop: reads the Lease and tries to acquire or renew it."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from agent.controller.lease import RENEW_BEFORE, RETRY, Candidate, Lease, LeaseSpec, decode_lease
from agent.kube.client import ApiServer
from agent.kube.errors import ApiError

log = logging.getLogger(__name__)

RELEASE_SECONDS = 3.0


class Election:
    """This process's part in leader election. `changed` is called when it starts or stops leading."""

    def __init__(self, api: ApiServer, namespace: str, name: str, identity: str, changed: Callable[[], None]) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._changed = changed
        self._clock = asyncio.get_running_loop().time
        self._candidate = Candidate(identity)

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._candidate.leads(self._clock())

    async def run(self) -> None:
        """Take part in the election until cancelled; then release the lease at once."""
        was_leading = False
        try:
            while True:
                await self._round()
                if self.leads != was_leading:
                    was_leading = self.leads
                    log.info("leading" if was_leading else "not leading", extra={"identity": self._candidate.identity})
                    self._changed()
                await asyncio.sleep(RETRY * (1 + random.random() / 5))
        finally:
            await self._release()

    async def _round(self) -> None:
        began = self._clock()
        try:
            async with asyncio.timeout(RENEW_BEFORE):
                self._candidate.observe(await self._read(), self._clock())
                record = self._candidate.try_acquire(self._clock(), _now())
                if record is None:
                    self._candidate.lost()
                else:
                    self._candidate.renewed(await self._write(record), began)
        except (ApiError, TimeoutError, msgspec.DecodeError) as error:
            log.info("cannot acquire or renew the lease", extra={"error": str(error) or "timed out"})

    async def _read(self) -> Lease | None:
        try:
            return decode_lease(await self._api.get(f"{self._folder}/{self._name}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _write(self, record: LeaseSpec) -> Lease:
        """Make or replace the Lease; fails after any other write. Raises `ApiError`."""
        version = self._candidate.version
        meta = {"name": self._name} | ({"resourceVersion": version} if version else {})
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
        body["spec"] = msgspec.to_builtins(record)
        if version:
            return decode_lease(await self._api.send("PUT", f"{self._folder}/{self._name}", body))
        return decode_lease(await self._api.send("POST", self._folder, body))

    async def _release(self) -> None:
        record = self._candidate.release(_now()) if self.leads else None
        self._candidate.lost()
        if record is not None:
            with suppress(ApiError, TimeoutError, msgspec.DecodeError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._write(record)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
