"""The CertificateSigningRequests of weft's signer: what is known of all, and what is read of one. Pure: no I/O."""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.certificates.request import SIGNER, RequestSpec
from agent.kube.collection import Collection
from agent.model.change import Keyed, Problem
from agent.model.meta import Key, Value

KIND = "CertificateSigningRequest"
VERSION = "certificates.k8s.io/v1"
FOLDER = f"/apis/{VERSION}/certificatesigningrequests"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"


class CertificateRequest(Value, frozen=True):
    """What is known of a request all the time: its name, who made it, and whether anything is left to do."""

    name: str
    requester: str
    finished: bool

    @property
    def key(self) -> Key:
        """The object's key."""
        return Key(KIND, "", self.name)


class _Condition(Value, frozen=True):
    type: str


class _Requester(Value, frozen=True):
    username: str = ""


class _Status(Value, frozen=True):
    certificate: str = ""
    conditions: tuple[_Condition, ...] = ()


class _Metadata(Value, frozen=True):
    name: str
    resource_version: str = ""


class _Stored(Value, frozen=True):
    metadata: _Metadata
    spec: _Requester = _Requester()
    status: _Status = _Status()


class FullStatus(Value, frozen=True):
    """The status of a request. Conditions of others are written back unchanged."""

    certificate: str = ""
    conditions: tuple[dict[str, Any], ...] = ()


class FullRequest(Value, frozen=True):
    """A request as it is read when its turn has come."""

    metadata: _Metadata
    spec: RequestSpec
    status: FullStatus = FullStatus()

    @property
    def types(self) -> set[object]:
        """The types of its conditions."""
        return {condition.get("type") for condition in self.status.conditions}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.status.certificate) or not self.types.isdisjoint((DENIED, FAILED))

    def with_condition(self, kind: str, reason: str, message: str) -> dict[str, Any]:
        """The merge patch that adds a condition, for the state that was read."""
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        version = {"resourceVersion": self.metadata.resource_version}
        return {"metadata": version, "status": {"conditions": [*self.status.conditions, condition]}}


def request_collection() -> Collection:
    """The collection of the requests of weft's signer."""
    return Collection(KIND, (VERSION,), _read, {"fieldSelector": f"spec.signerName={SIGNER}"})


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        stored = msgspec.json.decode(raw, type=_Stored)
    except (msgspec.DecodeError, RecursionError) as error:
        return Problem(where, KIND, "$", str(error))
    types = {condition.type for condition in stored.status.conditions}
    finished = bool(stored.status.certificate) or not types.isdisjoint((DENIED, FAILED))
    return (CertificateRequest(stored.metadata.name, stored.spec.username, finished),)
