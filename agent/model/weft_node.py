"""WeftNode (`weft.dev/v1alpha1`): what the agent of one node reports to the rest of the cluster.

Cluster-scoped, with the name of its Node. The bounds are those of `daemonset/base/weftnodes.yaml`.
"""

from typing import Any

import msgspec

from agent.model.meta import Value

KIND = "WeftNode"
VERSION = "weft.dev/v1alpha1"
MAX_REJECTED = 100
MAX_ROUTES = 16
MAX_TEXT = 512


class Owner(Value, frozen=True):
    """The Node with which the object is deleted, by Kubernetes' garbage collector."""

    api_version: str
    kind: str
    name: str
    uid: str


class WeftNodeMetadata(Value, frozen=True, omit_defaults=True):
    """What weft reads and writes of `metadata`."""

    name: str
    owner_references: tuple[Owner, ...] = ()


class ParentPort(Value, frozen=True):
    """A port of a Service or ServiceImport, the parent of Routes."""

    kind: str
    namespace: str
    name: str
    port: int


class RouteGeneration(Value, frozen=True):
    """A Route in one generation."""

    kind: str
    namespace: str
    name: str
    generation: int


class RejectedResource(Value, frozen=True, omit_defaults=True):
    """An xDS resource that an Envoy of the node refuses, with the reason, and what was to be configured by it.

    `type` is the protobuf message's name (`Listener`). A resource that several ports need is listed once for each.
    """

    type: str
    name: str
    message: str
    parent: ParentPort | None = None
    routes: tuple[RouteGeneration, ...] = ()


class WeftNodeStatus(Value, frozen=True):
    """`rejected_count` is the number of all, of which `rejected` has the first `MAX_REJECTED`."""

    rejected: tuple[RejectedResource, ...] = ()
    rejected_count: int = 0


class WeftNode(Value, frozen=True):
    """The object of one node."""

    metadata: WeftNodeMetadata
    status: WeftNodeStatus = WeftNodeStatus()

    def document(self) -> dict[str, Any]:
        """The object as it is stored."""
        head = {"apiVersion": VERSION, "kind": KIND}
        return head | {str(name): value for name, value in msgspec.to_builtins(self).items()}
