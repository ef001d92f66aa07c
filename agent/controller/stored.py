"""Objects as stored in the API, as far as a writer needs them: path, resourceVersion, status."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from agent.kube.collection import Collection, collection, plural
from agent.model import authorization, parameters
from agent.model.change import Keyed, Problem
from agent.model.meta import Key, Value
from agent.model.routes import AnyRoute

ROUTES = tuple(sorted(kind.__name__ for kind in AnyRoute.__args__))
POLICIES = (authorization.KIND,)
MESH = parameters.MESH
MESH_VERSION = f"{parameters.MESH_GROUP}/v1alpha1"


class Metadata(Value, frozen=True):
    """The metadata that a writer needs."""

    name: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0


class MeshSpec(Value, frozen=True):
    """Whose an XMesh is. It is empty for Routes and policies."""

    controller_name: str = ""


class Status(Value, frozen=True):
    """The written parts of `status`: parents of Routes, ancestors of policies, the rest of an XMesh."""

    parents: list[Any] | None = None
    ancestors: list[Any] | None = None
    conditions: list[Any] | None = None
    supported_features: list[Any] | None = None


class Stored(Value, frozen=True):
    """An object whose status the controller writes. Its spec is in the store."""

    metadata: Metadata
    api_version: str
    kind: str
    spec: MeshSpec = MeshSpec()
    status: Status = Status()

    @property
    def target(self) -> Key:
        """The object itself."""
        return Key(self.kind, self.metadata.namespace, self.metadata.name)

    @property
    def key(self) -> Key:
        """The key of this value in a source."""
        return Key(f"Stored{self.kind}", self.metadata.namespace, self.metadata.name)

    @property
    def path(self) -> str:
        """The object's path in the API."""
        meta = self.metadata
        folder = f"/apis/{self.api_version}" + (f"/namespaces/{meta.namespace}" if meta.namespace else "")
        return f"{folder}/{plural(self.kind)}/{meta.name}"

    def newer_than(self, other: "Stored | None") -> bool:
        """Whether this state is later. resourceVersions of one kind are increasing numbers (KEP-5504)."""
        if other is None:
            return True
        ours, theirs = self.metadata.resource_version, other.metadata.resource_version
        return not (ours.isdecimal() and theirs.isdecimal()) or int(ours) >= int(theirs)


def decode_stored(raw: bytes) -> Stored:
    """An object as stored. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(raw, type=Stored)


def read_stored(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    """A `Read` that decodes only what a writer needs."""
    try:
        return (decode_stored(raw),)
    except msgspec.DecodeError as error:
        return Problem(where, "status", "$", str(error))


def controller_collections() -> tuple[Collection, ...]:
    """The collections that statuses depend on, and those they are written to."""
    written = tuple(_written(kind) for kind in (*ROUTES, *POLICIES, MESH))
    return (collection("Service"), collection("ServiceImport"), collection(parameters.KIND), *written)


def _written(kind: str) -> Collection:
    """A collection of Routes, policies or XMeshes, decoded twice: for the store, and for the writer."""
    plain = collection(kind)

    def read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
        value, stored = plain.read(raw, where), read_stored(raw, where)
        if isinstance(stored, Problem):
            return value if isinstance(value, Problem) else stored
        return replace(value, facts=(*value.facts, *stored)) if isinstance(value, Problem) else (*value, *stored)

    return Collection(kind, plain.versions, read, defined=True, undecodable=plain.undecodable)
