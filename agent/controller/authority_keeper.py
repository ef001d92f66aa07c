"""The leader's authorities: read from the Secret, made and removed when that is due, published in the ConfigMap."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from agent.certificates.authority import Authority, AuthorityError, new_authority
from agent.certificates.rotation import DEFAULT_LIVES, Authorities, Lives, ended, next_generation, signing
from agent.controller import cluster_trust_bundle
from agent.controller.authority_objects import (
    BUNDLE,
    SECRET,
    StoredBundle,
    bundle,
    bundle_object,
    new_secret,
    published_since,
    read_secret,
    secret_patch,
)
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.parameters import DEFAULT_TRUST_DOMAIN, MeshParametersSpec

log = logging.getLogger(__name__)


class AuthorityKeeper:
    """One replica's part. Only the leader reads the Secret; a replica that does not lead holds no key."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        may_write: Callable[[], bool],
        parameters: Callable[[], MeshParametersSpec | None],
        lives: Lives = DEFAULT_LIVES,
    ) -> None:
        """`parameters` are None while there are no MeshParameters."""
        self._api = api
        self._folder = f"/api/v1/namespaces/{namespace}"
        self._may_write = may_write
        self._parameters = parameters
        self._lives = lives
        self._authorities: dict[int, Authority] = {}
        self._since: dict[int, datetime] = {}
        self._problem = ""
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Look at the objects soon: this replica leads now, or does not lead any more."""
        self._awake.set()

    def signing(self, now: datetime) -> Authority | None:
        """The authority that signs now; None where no root is published, or none of the mesh's trust domain."""
        found = signing(self._authorities, self._since, now, self._lives) if self._may_write() else None
        return found if found and found.trust_domain == self.trust_domain else None

    @property
    def trust_domain(self) -> str:
        """The trust domain in which certificates are signed; empty while it is not known."""
        spec = self._parameters()
        return spec.trust_domain if spec else _newest_domain(self._authorities, "")

    @property
    def end(self) -> float:
        """The end of the authority that signs, in seconds since 1970; 0 without one."""
        found = self.signing(datetime.now(UTC))
        return found.end.timestamp() if found else 0.0

    async def run(self, changed: Callable[[], None]) -> None:
        """Keep the objects up to date while this replica leads. `changed` is called after each time."""
        while True:
            self._awake.clear()
            if not self._may_write():
                self._authorities, self._since = {}, {}
            elif (spec := self._parameters()) is None or spec.trust_domain:
                await self._attempt()
                changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lives.looked_at.total_seconds()):
                    await self._awake.wait()

    async def _attempt(self) -> None:
        """After a failure the authorities of before stay in use, but for a Secret that cannot be read."""
        try:
            await self._reconcile(datetime.now(UTC))
        except AuthorityError as error:
            self._authorities, self._since = {}, {}
            self._report(str(error))
        except (ApiError, msgspec.DecodeError) as error:
            self._report(str(error))
        else:
            self._report("")

    def _report(self, problem: str) -> None:
        """Log a problem once."""
        if problem and problem != self._problem:
            log.warning("authorities of certificates not up to date", extra={"problem": problem})
        self._problem = problem

    async def _reconcile(self, now: datetime) -> None:
        """Raises `ApiError`, `AuthorityError`, `msgspec.DecodeError`."""
        authorities, version = await self._read()
        spec, lives = self._parameters(), self._lives
        domain = spec.trust_domain if spec else _newest_domain(authorities, DEFAULT_TRUST_DOMAIN)
        due = spec.certificates.ca_generation if spec else 1
        generation = next_generation(authorities, domain, due, now, lives)
        gone = ended(authorities, self._since, now, lives) if authorities.keys() == self._authorities.keys() else ()
        if generation is not None or gone:
            added = [] if generation is None else [new_authority(generation, domain, now, lives.authority)]
            authorities = await self._write(authorities, version, added, gone)
        since = await self._publish(authorities, now)
        self._authorities, self._since = authorities, since

    async def _read(self) -> tuple[dict[int, Authority], str]:
        try:
            return read_secret(await self._api.get(f"{self._folder}/secrets/{SECRET}"))
        except ApiError as error:
            if error.status != 404:
                raise
            return {}, ""

    async def _write(
        self, former: Authorities, version: str, added: list[Authority], gone: tuple[int, ...]
    ) -> dict[int, Authority]:
        """Add an authority, and remove those whose certificates have ended. Fails after any other write."""
        generations = ",".join(str(authority.generation) for authority in added)
        log.info("changing authorities", extra={"added": generations, "removed": ",".join(map(str, gone))})
        if not former:
            raw = await self._api.send("POST", f"{self._folder}/secrets", new_secret(added[0]))
        else:
            patch = secret_patch(version, added, gone)
            raw = await self._api.send("PATCH", f"{self._folder}/secrets/{SECRET}", patch, MERGE_PATCH)
        return read_secret(raw)[0]

    async def _publish(self, authorities: dict[int, Authority], now: datetime) -> dict[int, datetime]:
        """Write the trust bundle where it differs. Returns since when each authority has been in the ConfigMap, which
        is written last: what it has, all have.
        """
        await cluster_trust_bundle.publish(self._api, bundle(authorities))
        path = f"{self._folder}/configmaps"
        stored = await self._read_bundle(path)
        since = published_since(stored, authorities)
        if since.keys() == authorities.keys() and stored.text == bundle(authorities):
            return since
        since = {generation: since.get(generation, now) for generation in authorities}
        version = stored.metadata.resource_version
        body = bundle_object(authorities, since, version)
        if version:
            await self._api.send("PUT", f"{path}/{BUNDLE}", body)
        else:
            await self._api.send("POST", path, body)
        return since

    async def _read_bundle(self, path: str) -> StoredBundle:
        try:
            return msgspec.json.decode(await self._api.get(f"{path}/{BUNDLE}"), type=StoredBundle)
        except ApiError as error:
            if error.status != 404:
                raise
            return StoredBundle()


def _newest_domain(authorities: Authorities, otherwise: str) -> str:
    """The trust domain of the newest authority. It stays in force while MeshParameters are missing: a new one would end
    certificates everywhere.
    """
    return authorities[max(authorities)].trust_domain if authorities else otherwise
