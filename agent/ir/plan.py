"""The plan: canonical values that compare equal exactly when nothing needs to be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from agent.ir.authorization import Destination, PeerRow, ServerPlan, UnsupportedPod
from agent.ir.http import BackendPort, EndpointAddress, ListenerIR
from agent.ir.identity import Identity, Workload
from agent.ir.policy import ServiceAccount
from agent.ir.requirements import AuditedRequirements, Requirements
from agent.ir.tables import Mode, PodFlag, Protocol, Slot, host_port
from agent.model.meta import Key
from agent.model.routes import ParentReference


@dataclass(frozen=True, slots=True)
class PodPlan:
    """A pod of this node whose cgroup is known. Pods in mode none have a row too: unknown is another state.

    - `mode_reason`: a text with the reason for its mode.
    - `supported`: False where its labels enrol it and its runtime does not allow that.
    - `provisional`: its addresses are those of its sandbox, because its status has none yet.
    - `allow_listed`: its addresses are on the waypoint's client allow list.
    - `service_account`: empty where its spec has none.
    """

    pod: Key
    namespace: str
    mode: Mode
    flags: PodFlag
    addresses: tuple[str, ...]
    workload: Workload
    mode_reason: str = ""
    supported: bool = True
    provisional: bool = False
    allow_listed: bool = True
    service_account: str = ""

    @property
    def identity(self) -> Identity:
        """The pod's identity."""
        return Identity(self.namespace, self.service_account, self.workload)

    @property
    def known_identity(self) -> Identity | None:
        """The identity by which policies know it; None for a pod without a service account."""
        return self.identity if self.service_account else None

    @property
    def l4_only(self) -> bool:
        """Whether it is in the mesh without Routes: on the host's network it has no address of its own."""
        return self.mode is Mode.L4 and PodFlag.L4_ONLY in self.flags


class OnLoss(StrEnum):
    """What happens to a frontend's waypoint traffic while there is no waypoint."""

    KERNEL = "kernel"
    REJECT = "reject"


class OnBackendLoss(StrEnum):
    """What happens to established TCP connections to a removed backend. UDP sockets are always terminated."""

    KEEP = "keep"
    RESET = "reset"


@dataclass(frozen=True, slots=True, order=True)
class FrontendName:
    """A Service's address and port for one consumer namespace; `consumer` is empty for all other clients."""

    address: str
    port: int
    protocol: Protocol
    consumer: str = ""

    def __str__(self) -> str:
        """For people: `10.96.0.10:80/TCP`, with the consumer namespace behind an @."""
        text = f"{host_port(self.address, self.port)}/{self.protocol.name}"
        return f"{text}@{self.consumer}" if self.consumer else text


NAME_ORDER = attrgetter("address", "port", "protocol", "consumer")
"""The order of `FrontendName`: as a sort key it is ten times faster for thousands of names."""


@dataclass(frozen=True, slots=True)
class FrontendPlan:
    """What the kernel does with connections to a frontend.

    - `slots`: the alias table by which the kernel chooses a backend; empty: it refuses, there is no backend.
    - `listener`: the waypoint listener for clients in mode l7, and for those in mode l4 where `mode`, the Service's
      own, is l7. Until that listener is ready, `slots` serves them.
    - `routes`: the Routes that apply, the oldest first; none where the Service's own endpoints are used.
    """

    service: Key
    mode: Mode
    slots: tuple[Slot, ...]
    listener: str | None = None
    on_loss: OnLoss = OnLoss.REJECT
    on_backend_loss: OnBackendLoss = OnBackendLoss.KEEP
    affinity_seconds: int = 0
    routes: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a status, without its timestamp. The status None is `Unknown`."""

    type: str
    status: bool | None
    reason: str
    message: str
    observed_generation: int


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """The status of a Route for one of its parents."""

    parent_ref: ParentReference
    conditions: tuple[Condition, ...]

    @property
    def generation(self) -> int:
        """The Route's generation that the conditions are about."""
        return max((condition.observed_generation for condition in self.conditions), default=0)


@dataclass(frozen=True, slots=True)
class Output:
    """The output of one unit of translation. A plan is the union of all outputs. No two have a key in common, except
    for backends that several units need: their endpoints are equal in each output.

    - `pods`: by cgroup id.
    - `listeners`: the rules of each of the waypoint's listeners.
    - `endpoints`: the addresses and ports of the listeners' backends; none where no endpoint is ready.
    - `client_allow_lists`: the source addresses that may connect to the listeners of a consumer, by consumer; the empty
      name stands for listeners of all clients.
    - `accounts`: the service accounts of these addresses, where policies or servers need them.
    - `trust_domain`: that of the SPIFFE IDs of these accounts that servers get; empty: they get none.
    - `requirements`: what policies ask of the clients of the listeners' backends; only backends with any.
    - `audits`: what audited policies would ask of them; only backends with audited policies.
    - `clients`: the source addresses that may connect to waypoints at all.
    - `logged`: the namespaces among those of the listeners' Services whose requests are written to the access log.
    - `servers`: the protected pods of this node, by cgroup id.
    - `audited`: the pods of this node that audited policies of the level Network select, by cgroup id: `policies` are
      these, `grants` what would be admitted if they were enforced too.
    - `unsupported`: the pods of this node, by cgroup id, whose policies the kernel cannot enforce.
    - `peers`: the identities of source addresses of pods.
    - `waypoints`: those of waypoints that enforce policies.
    - `destinations`: protected pods of other nodes, by address.
    - `warnings`: what users should know and no condition can contain.
    """

    pods: Mapping[int, PodPlan] = field(default_factory=dict)
    frontends: Mapping[FrontendName, FrontendPlan] = field(default_factory=dict)
    listeners: Mapping[str, ListenerIR] = field(default_factory=dict)
    endpoints: Mapping[BackendPort, tuple[EndpointAddress, ...]] = field(default_factory=dict)
    client_allow_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accounts: Mapping[str, ServiceAccount] = field(default_factory=dict)
    trust_domain: str = ""
    requirements: Mapping[BackendPort, Requirements] = field(default_factory=dict)
    audits: Mapping[BackendPort, tuple[AuditedRequirements, ...]] = field(default_factory=dict)
    statuses: Mapping[Key, tuple[ParentStatus, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()
    logged: frozenset[str] = frozenset()
    servers: Mapping[int, ServerPlan] = field(default_factory=dict)
    audited: Mapping[int, ServerPlan] = field(default_factory=dict)
    unsupported: Mapping[int, UnsupportedPod] = field(default_factory=dict)
    peers: Mapping[str, PeerRow] = field(default_factory=dict)
    waypoints: Mapping[str, PeerRow] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
