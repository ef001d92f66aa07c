"""MeshParameters (`weft.dev/v1alpha1`): settings of the whole mesh; and the XMesh (GEP-3949), which names its own.

As in AuthorizationPolicies, a field that is not known is an error: what weft ignored might admit fewer clients.
"""

from typing import ClassVar, Literal

import msgspec

from agent.model.authorization import GROUP, Strict
from agent.model.meta import Key, Object, Value
from agent.model.routes import undecodable

KIND = "MeshParameters"
MESH = "XMesh"
MESH_GROUP = "gateway.networking.x-k8s.io"
DEFAULT_NAME = "default"
"""The MeshParameters that apply where no XMesh names others."""
DEFAULT_TRUST_DOMAIN = "cluster.local"


class MeshAuthorization(Strict, frozen=True):
    """Which clients a pod admits that no AuthorizationPolicy selects, but for pods of exempt namespaces."""

    default: Literal["Allow", "SameNamespace", "Deny"]
    exempt_namespaces: tuple[str, ...] = ()


class MeshEncryption(Strict, frozen=True):
    """Whether packets between pods of different nodes go through WireGuard.

    - `Pods`: between nodes that both have a tunnel. `Strict`: other packets between pods are refused.
    - `pod_cidrs`: all addresses that pods of the cluster can have. `Strict` refuses packets to and from those that it
      has no tunnel for.
    - `key_generation`: nodes make new keys when it changes.
    """

    mode: Literal["Off", "Pods", "Strict"]
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    key_generation: int = 1


class MeshCertificates(Strict, frozen=True):
    """The authorities that sign certificates: a new one is made when `ca_generation` rises."""

    ca_generation: int = 1


class MeshParametersSpec(Strict, frozen=True):
    """Without a field, what applies without MeshParameters."""

    trust_domain: str = DEFAULT_TRUST_DOMAIN
    authorization: MeshAuthorization = MeshAuthorization("Allow")
    encryption: MeshEncryption = MeshEncryption("Off")
    certificates: MeshCertificates = MeshCertificates()


class MeshParameters(Object, frozen=True):
    """Settings of the whole mesh. One object at most is in force."""

    spec: MeshParametersSpec = MeshParametersSpec()


class UndecodableMeshParameters(Value, frozen=True):
    """A fact about MeshParameters: the newest generation could not be decoded.

    `spec` has the fields that could be, and the strictest value of each other one. It applies only where no earlier
    parameters were read.
    """

    parameters: Key
    generation: int
    spec: MeshParametersSpec
    field: str
    message: str

    @property
    def key(self) -> Key:
        """The fact's identity."""
        return undecodable(self.parameters)


class ParametersReference(Value, frozen=True):
    """The object that an XMesh takes its parameters from. References to cluster-scoped objects have no namespace."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""

    @property
    def supported(self) -> bool:
        """Whether it names MeshParameters."""
        return (self.group, self.kind, self.namespace) == (GROUP, KIND, "")


class MeshSpec(Value, frozen=True):
    """An XMesh's spec."""

    controller_name: str = ""
    parameters_ref: ParametersReference | None = None


class XMesh(Object, frozen=True):
    """A mesh: weft's, where the controllerName is weft's."""

    spec: MeshSpec = MeshSpec()


class LastMeshParameters(Value, frozen=True):
    """A fact: the last parameters that were in force. They stay while the object in force is missing or invalid."""

    parameters: MeshParameters
    kind: ClassVar[str] = "LastMeshParameters"

    @property
    def key(self) -> Key:
        """There is one such fact."""
        return Key(self.kind, "", "")
