"""Object metadata and the keys by which objects are known."""

from typing import NamedTuple

import msgspec

CONTROLLER_NAME = "weft.dev/mesh-controller"
WEFT_NAMESPACE = "weft-system"
"""The namespace of weft's own workloads."""


class Key(NamedTuple):
    """One object: its kind, namespace (empty for cluster-scoped kinds) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """As users write it: `HTTPRoute faces/smiley`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Value(msgspec.Struct, frozen=True, rename="camel"):
    """Base of everything decoded: immutable, compared by content, camelCase on the wire."""


class OwnerReference(Value, frozen=True):
    """The owner of an object: when it is deleted, the object is too."""

    kind: str
    name: str
    controller: bool = False


class ObjectMeta(Value, frozen=True):
    """The part of `metadata` that weft reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


class Object(Value, frozen=True):
    """Base of every kind; a concrete kind's class name is its Kubernetes kind."""

    metadata: ObjectMeta

    @property
    def key(self) -> Key:
        """The object's identity in the store."""
        return Key(type(self).__name__, self.metadata.namespace, self.metadata.name)

    @property
    def age(self) -> tuple[bool, str, str, str]:
        """Sorts the oldest first, then by namespace and name; an object without a creation time is the youngest."""
        meta = self.metadata
        return (not meta.creation_timestamp, meta.creation_timestamp, meta.namespace, meta.name)
