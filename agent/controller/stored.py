"""Objects as the API server has them, as far as a writer must know: where they are, their version, their status."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from agent.kube.collection import Collection, collection, plural
from agent.model.change import Keyed, Problem
from agent.model.meta import Key, Value
from agent.model.routes import AnyRoute

ROUTES = tuple(sorted(kind.__name__ for kind in AnyRoute.__args__))
MESH = "XMesh"
MESH_VERSION = "gateway.networking.x-k8s.io/v1alpha1"


class Metadata(Value, frozen=True):
    """What a writer reads of `metadata`."""

    name: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0


class MeshSpec(Value, frozen=True):
    """An XMesh's spec (GEP-3949); for Routes it is left empty, the store has it."""

    controller_name: str = ""
    parameters_ref: Any = None


class Status(Value, frozen=True):
    """The statuses that are written: of Routes the parents, of policies the ancestors, of an XMesh the rest."""

    parents: list[Any] | None = None
    ancestors: list[Any] | None = None
    conditions: list[Any] | None = None
    supported_features: list[Any] | None = None


class Stored(Value, frozen=True):
    """One object whose status is ours to write, beside the store's value of it."""

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
        """This fact about it."""
        return Key(f"Stored{self.kind}", self.metadata.namespace, self.metadata.name)

    @property
    def path(self) -> str:
        """Where it is in the API."""
        meta = self.metadata
        folder = f"/apis/{self.api_version}" + (f"/namespaces/{meta.namespace}" if meta.namespace else "")
        return f"{folder}/{plural(self.kind)}/{meta.name}"

    def newer_than(self, other: "Stored | None") -> bool:
        """Whether this is a later state; versions of one kind are numbers that grow (KEP-5504)."""
        if other is None:
            return True
        ours, theirs = self.metadata.resource_version, other.metadata.resource_version
        return not (ours.isdecimal() and theirs.isdecimal()) or int(ours) >= int(theirs)


def decode_stored(raw: bytes) -> Stored:
    """An object as stored. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(raw, type=Stored)


def read_stored(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    """A `Read` for collections of which only that matters."""
    try:
        return (decode_stored(raw),)
    except msgspec.DecodeError as error:
        return Problem(where, "status", "$", str(error))


def controller_collections() -> tuple[Collection, ...]:
    """What statuses depend on, and what they are written to."""
    routes = tuple(_route(kind) for kind in ROUTES)
    return (
        collection("Service"),
        collection("ServiceImport"),
        *routes,
        Collection(MESH, (MESH_VERSION,), read_stored, defined=True),
    )


def _route(kind: str) -> Collection:
    """A Route's collection whose objects are told twice: for the store, and for the writer."""
    plain = collection(kind)

    def read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
        value, stored = plain.read(raw, where), read_stored(raw, where)
        if isinstance(stored, Problem):
            return value if isinstance(value, Problem) else stored
        return replace(value, beside=(*value.beside, *stored)) if isinstance(value, Problem) else (*value, *stored)

    return Collection(kind, plain.versions, read, defined=True)
