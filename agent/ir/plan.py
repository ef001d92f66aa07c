"""The plan: canonical values that compare equal exactly when nothing needs to be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.ir.http import Address, BackendPort, RouteSet, TLSRouteSet
from agent.ir.identity import Identity, Workload
from agent.ir.tables import Mode, PodFlag, Protocol, Slot, host_port
from agent.model.meta import Key
from agent.model.routes import ParentReference


@dataclass(frozen=True, slots=True)
class PodPlan:
    """A pod of this node whose cgroup is known. Pods in mode none have a row too: unknown is another state.

    `mode_reason`, a text, says what gave it its mode. One that is to be in the mesh and cannot is not `supported`.
    `provisional` addresses are those that its sandbox has, before its status names any.
    `admitted`: its addresses are on the waypoint's client allow-list. `service_account` is empty where its spec names
    none.
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
    admitted: bool = True
    service_account: str = ""

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return Identity(self.namespace, self.service_account, self.workload)

    @property
    def l4_only(self) -> bool:
        """Whether it is in the mesh without its Routes: on the host's network no waypoint could know it by address."""
        return self.mode is Mode.L4 and PodFlag.L4_ONLY in self.flags


class OnLoss(StrEnum):
    """What happens to a frontend's waypoint traffic while there is no waypoint."""

    KERNEL = "kernel"
    REJECT = "reject"


class OnBackendLoss(StrEnum):
    """What happens to established TCP connections to a backend that leaves. UDP sockets are always ended."""

    KEEP = "keep"
    RESET = "reset"


@dataclass(frozen=True, slots=True, order=True)
class FrontendName:
    """A Service's address and port as one consumer sees it; `consumer` is empty for everybody else's view."""

    address: str
    port: int
    protocol: Protocol
    consumer: str = ""

    def __str__(self) -> str:
        """For people: `10.96.0.10:80/TCP`, with the consumer namespace behind an @."""
        text = f"{host_port(self.address, self.port)}/{self.protocol.name}"
        return f"{text}@{self.consumer}" if self.consumer else text


@dataclass(frozen=True, slots=True)
class FrontendPlan:
    """What the kernel does with connections to a frontend.

    `slots` is the kernel's own answer (an alias table; empty: refuse, there is no backend). `listener` names the
    waypoint listener for clients that go there: clients in mode l7, and those in mode l4 too where `mode`, the
    Service's own, is l7. Until that listener is known to work, `slots` serves them. `routes` are those that apply, the
    oldest first; none where the Service's own endpoints do.
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
    """One condition of a Route's status, without its timestamp."""

    type: str
    status: bool
    reason: str
    message: str
    observed_generation: int


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """What a Route is told about one of its parents."""

    parent_ref: ParentReference
    conditions: tuple[Condition, ...]

    @property
    def generation(self) -> int:
        """The Route's generation that the conditions are about."""
        return max((condition.observed_generation for condition in self.conditions), default=0)


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one unit of translation wants. A plan is the union of all: no two units speak of the same key, but for
    resources that several need (a cluster and its endpoints), which have equal values in each.

    `pods` is keyed by cgroup id. `route_sets` say by listener what the waypoint does with its traffic; `endpoints` are
    the addresses and ports of the backends that they name, none where no endpoint is ready. `admitted` are the source
    addresses that may connect to the waypoint's listeners of a consumer, the empty one being everybody's listeners;
    `clients` those that may connect to waypoints at all. `warnings` are things that users should know and that no
    condition can say.
    """

    pods: Mapping[int, PodPlan] = field(default_factory=dict)
    frontends: Mapping[FrontendName, FrontendPlan] = field(default_factory=dict)
    route_sets: Mapping[str, RouteSet | TLSRouteSet] = field(default_factory=dict)
    endpoints: Mapping[BackendPort, tuple[Address, ...]] = field(default_factory=dict)
    admitted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    statuses: Mapping[Key, tuple[ParentStatus, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()
