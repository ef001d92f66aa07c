"""The signer `weft.dev/spiffe`: approves or denies CertificateSigningRequests, and signs those that it approves."""

import asyncio
import logging
import random
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from agent.backoff import Backoff
from agent.certificates.authority import signed
from agent.certificates.request import ACCOUNT_USER, NODE_NAME, DeniedError, Wanted, wanted
from agent.controller.authority_keeper import AuthorityKeeper
from agent.controller.certificate_requests import (
    APPROVED,
    DENIED,
    FAILED,
    FOLDER,
    KIND,
    CertificateRequest,
    FullRequest,
)
from agent.fair_queue import FairQueue
from agent.internal_errors import InternalErrors
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from agent.model.change import Change, Delete, Upsert
from agent.model.meta import Key, Value
from agent.translate.enrolment import AGENT

log = logging.getLogger(__name__)

# Requests that are processed at once.
WORKERS = 4
NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class _Names(Value, frozen=True):
    items: tuple[msgspec.Raw, ...] | None = None


class Signer:
    """Decides requests while this replica leads. `decided` is called with each outcome: issued, denied or failed."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        keeper: AuthorityKeeper,
        may_write: Callable[[], bool],
        decided: Callable[[str], None],
        errors: InternalErrors,
    ) -> None:
        """`namespace` is that of weft's agents."""
        self._api = api
        self._agent = f"{ACCOUNT_USER}{namespace}:{AGENT}"
        self._keeper = keeper
        self._may_write = may_write
        self._decided = decided
        self._errors = errors
        self._unfinished: dict[str, CertificateRequest] = {}
        self._backoffs: dict[str, Backoff] = {}
        # A request is one unit of cost, whatever it asks for.
        self._due = FairQueue[CertificateRequest](lambda request: request.requester)
        self._busy: set[str] = set()
        # Requests that changed while they were processed.
        self._again: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """The number of requests that are not decided, or not signed."""
        return len(self._unfinished)

    def update(self, change: Change) -> None:
        """Apply a change of a request."""
        match change:
            case Upsert(CertificateRequest(finished=False) as request):
                self._unfinished[request.name] = request
                self._touch(request.name)
            case Upsert(CertificateRequest(name=name)):
                self._forget(name)
            case Delete(key) if key.kind == KIND:
                self._forget(key.name)

    def touch_all(self) -> None:
        """Queue all unfinished requests: this replica leads now, or an authority has changed."""
        for name in self._unfinished:
            self._touch(name)

    async def run(self) -> None:
        """Decide what is queued, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    def _touch(self, name: str) -> None:
        if name in self._busy:
            self._again.add(name)
        elif (request := self._unfinished.get(name)) is not None:
            self._due.add([request])
            self._wake.set()

    def _forget(self, name: str) -> None:
        self._unfinished.pop(name, None)
        self._backoffs.pop(name, None)
        self._again.discard(name)

    async def _work(self) -> None:
        while True:
            if not self._due or not self._may_write():
                self._wake.clear()
                await self._wake.wait()
                continue
            request = self._due.pop()
            if request.name in self._unfinished:
                self._due.charge(request.requester, 1)
                await self._process(request.name)

    async def _process(self, name: str) -> None:
        """Process one request; never twice at once."""
        self._busy.add(name)
        with self._errors.guard("certificate", Key(KIND, "", name)):
            await self._attempt(name)
        self._busy.discard(name)
        if name in self._again:
            self._again.discard(name)
            self._touch(name)

    async def _attempt(self, name: str) -> None:
        """Decide one request. After a failure, try again with back-off."""
        try:
            await self._decide(f"{FOLDER}/{name}")
            self._backoffs.pop(name, None)
        except (ApiError, msgspec.DecodeError) as error:
            if isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND:
                return
            log.info("certificate request not processed, trying again", extra={"name": name, "error": str(error)})
            backoff = self._backoffs.setdefault(name, Backoff(random.random))
            delay = backoff.failed(getattr(error, "retry_after", 0.0))
            asyncio.get_running_loop().call_later(delay, self._touch, name)

    async def _decide(self, path: str) -> None:
        """Read a request, and approve and sign it, or deny it. It waits while there is no authority. Raises `ApiError`,
        `msgspec.DecodeError`.
        """
        domain = self._keeper.trust_domain
        request = msgspec.json.decode(await self._api.get(path), type=FullRequest)
        if request.finished or not domain:
            return
        try:
            allowed = wanted(request.spec, domain, self._agent)
            await self._check_node(allowed)
        except DeniedError as error:
            await self._deny(path, request, str(error))
            return
        if self._keeper.signing(datetime.now(UTC)) is None:
            return
        if APPROVED not in request.types:
            text = f"{request.spec.username} may have {allowed.spiffe_id}"
            approval = request.with_condition(APPROVED, "SpiffeIdAllowed", text)
            raw = await self._api.send("PATCH", f"{path}/approval", approval, MERGE_PATCH)
            request = msgspec.json.decode(raw, type=FullRequest)
        await self._sign(path, request, allowed)

    async def _check_node(self, allowed: Wanted) -> None:
        """Raises `DeniedError` where an agent asks for an account that no pod on its node has, and `ApiError`."""
        if not allowed.node:
            return
        account = allowed.account
        selectors = [f"spec.nodeName={allowed.node}", f"spec.serviceAccountName={account.name}"]
        selectors += ["status.phase!=Succeeded", "status.phase!=Failed"]
        query = {"fieldSelector": ",".join(selectors), "limit": "1"}
        raw = await self._api.get(f"/api/v1/namespaces/{account.namespace}/pods", query, NAMES_ONLY)
        if not msgspec.json.decode(raw, type=_Names).items:
            raise DeniedError(f"spec.extra[{NODE_NAME}]", f"no pod of {account} runs on node {allowed.node}")

    async def _deny(self, path: str, request: FullRequest, message: str) -> None:
        """Deny a request; one that somebody else has approved has failed."""
        kind, part = (FAILED, "status") if APPROVED in request.types else (DENIED, "approval")
        await self._api.send(
            "PATCH", f"{path}/{part}", request.with_condition(kind, "NotAllowed", message), MERGE_PATCH
        )
        self._decided(kind.lower())

    async def _sign(self, path: str, request: FullRequest, allowed: Wanted) -> None:
        now = datetime.now(UTC)
        authority = self._keeper.signing(now)
        if authority is None:
            return
        certificate = b64encode(signed(authority, allowed, now)).decode()
        version = {"resourceVersion": request.metadata.resource_version}
        patch = {"metadata": version, "status": {"certificate": certificate}}
        await self._api.send("PATCH", f"{path}/status", patch, MERGE_PATCH)
        self._decided("issued")
