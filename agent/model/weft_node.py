"""WeftNode (`weft.dev/v1alpha1`): what the agent of one node reports to the controller and to the other nodes' agents.

Cluster-scoped, with the name of its Node. The bounds are those of `daemonset/base/weftnodes.yaml`.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from agent.model.meta import Value

KIND = "WeftNode"
VERSION = "weft.dev/v1alpha1"
MAX_REJECTED = 100
MAX_ROUTES = 16
MAX_TEXT = 512
MAX_WAYPOINTS = 8
MAX_GUARDED = 256
MAX_ADDRESSES = 16
MAX_POLICIES = 8
MAX_KEYS = 2
MAX_KEY_GENERATION = 1_000_000
MAX_SELECTING = 256


class Owner(Value, frozen=True):
    """The Node that owns the object: Kubernetes' garbage collector deletes the object with it."""

    api_version: str
    kind: str
    name: str
    uid: str


class WeftNodeMetadata(Value, frozen=True, omit_defaults=True):
    """The part of `metadata` that weft reads and writes."""

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
    """An xDS resource that an Envoy of the node rejected, with the reason, and what it was to configure.

    `type` is the protobuf message's name (`Listener`). A resource that several ports need is listed once for each.
    """

    type: str
    name: str
    message: str
    parent: ParentPort | None = None
    routes: tuple[RouteGeneration, ...] = ()


class PolicyGeneration(Value, frozen=True):
    """An AuthorizationPolicy in one generation; its namespace is that of the pods."""

    name: str
    generation: int


class Guarded(Value, frozen=True):
    """Addresses of protected pods of the node, and the policies that select these pods.

    Without policies the default of the mesh for this namespace decides.
    """

    namespace: str
    addresses: tuple[str, ...]
    policies: tuple[PolicyGeneration, ...] = ()


class SelectingPolicy(Value, frozen=True, omit_defaults=True):
    """An AuthorizationPolicy that selects pods of the node, in the generation that is in force there.

    `reason` and `message` say why the node does not enforce it; both are empty where it does.
    """

    namespace: str
    name: str
    generation: int
    reason: str = ""
    message: str = ""


class NodePolicies(Value, frozen=True):
    """What the node knows of AuthorizationPolicies, and enforces.

    - `observed`: the digest of the versions of all policies that the node has processed (`PolicyVersions`). One of
      them that `selecting` does not list selects no pod of the node.
    - `count`: the number of policies that select pods; `selecting` has the first `MAX_SELECTING`.
    """

    observed: str
    count: int = 0
    selecting: tuple[SelectingPolicy, ...] = ()


class TunnelKey(Value, frozen=True):
    """A public key of the node (base64), its generation as in MeshParameters, and the UDP port of its device."""

    generation: int
    public_key: str
    port: int


class Tunnels(Value, frozen=True):
    """The WireGuard devices of the node.

    - `sending`: the generations of keys by which it sends to some node. Others keep their devices for these.
    - `unsupported`: why the node cannot do what MeshParameters ask for.
    """

    keys: tuple[TunnelKey, ...] = ()
    sending: tuple[int, ...] = ()
    unsupported: str | None = None


class WeftNodeStatus(Value, frozen=True):
    """What the agent reports.

    - `rejected_count`: the number of all rejected resources; `rejected` has the first `MAX_REJECTED`. Both are absent
      while they are not known: a patch leaves what was reported before.
    - `waypoints`: the addresses of the node's waypoints.
    - `waypoint_policies`: whether the waypoints refuse what policies forbid to the clients of the node; absent while
      that is not known.
    - `guarded`: the protected pods.
    - `tunnels`: None removes what was reported before; absent while it is not known.
    - `policies`: absent while they are not known.
    """

    rejected: tuple[RejectedResource, ...] | UnsetType = UNSET
    rejected_count: int | UnsetType = UNSET
    waypoints: tuple[str, ...] = ()
    waypoint_policies: bool | UnsetType = UNSET
    guarded: tuple[Guarded, ...] = ()
    tunnels: Tunnels | UnsetType | None = None
    policies: NodePolicies | UnsetType = UNSET


class WeftNode(Value, frozen=True):
    """The object of one node."""

    metadata: WeftNodeMetadata
    status: WeftNodeStatus = WeftNodeStatus()

    def document(self) -> dict[str, Any]:
        """The object as it is stored."""
        head = {"apiVersion": VERSION, "kind": KIND}
        return head | {str(name): value for name, value in msgspec.to_builtins(self).items()}
