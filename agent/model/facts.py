"""What was observed on this node: it enters the store through the same door as the objects of the API."""

from typing import ClassVar

from agent.model.meta import Key, Value
from agent.model.weft_node import Guarded, Tunnels


class PodSandbox(Value, frozen=True):
    """The addresses of a pod's network namespace, which exist before any container starts."""

    pod_uid: str
    addresses: tuple[str, ...] = ()
    kind: ClassVar[str] = "PodSandbox"

    @property
    def key(self) -> Key:
        """Facts about a pod have its uid as their name."""
        return Key(self.kind, "", self.pod_uid)


class PodCgroup(Value, frozen=True):
    """The cgroup directory of a pod: its inode number is the kernel's cgroup id."""

    pod_uid: str
    cgroup_id: int
    kind: ClassVar[str] = "PodCgroup"

    @property
    def key(self) -> Key:
        """Facts about a pod have its uid as their name."""
        return Key(self.kind, "", self.pod_uid)


class RecentClient(Value, frozen=True):
    """A pod, by its cgroup, that is in the mesh, or left it less than the grace time ago."""

    cgroup_id: int
    kind: ClassVar[str] = "RecentClient"

    @property
    def key(self) -> Key:
        """Its name is the cgroup id."""
        return Key(self.kind, "", str(self.cgroup_id))


class NodeWaypoints(Value, frozen=True):
    """The addresses of all waypoints of the node, active or not, sorted."""

    addresses: tuple[str, ...] = ()
    kind: ClassVar[str] = "NodeWaypoints"

    @property
    def key(self) -> Key:
        """There is one such fact."""
        return Key(self.kind, "", "")


class AccountPod(Value, frozen=True):
    """A pod, mostly of another node, with a service account that a policy names: who uses its addresses as sources.

    `created` is the time as the API writes it. `watch` is the account's name as it was asked for, or `*`: each watch
    has facts of its own. `node` is the name of its node.
    """

    namespace: str
    name: str
    service_account: str
    addresses: tuple[str, ...]
    uid: str
    created: str
    watch: str
    node: str = ""
    kind: ClassVar[str] = "AccountPod"

    @property
    def key(self) -> Key:
        """Its name is that of the watch and of the pod."""
        return Key(self.kind, self.namespace, f"{self.watch}/{self.name}")


class NodeReport(Value, frozen=True):
    """What the agent of a node reports: its waypoints, whether they enforce policies, its protected pods, its tunnels.

    The report of this node is what the API server has of it: what other nodes can know.
    """

    node: str
    waypoints: tuple[str, ...] = ()
    waypoint_policies: bool = False
    guarded: tuple[Guarded, ...] = ()
    tunnels: Tunnels | None = None
    kind: ClassVar[str] = "NodeReport"

    @property
    def key(self) -> Key:
        """Its name is the node's."""
        return Key(self.kind, "", self.node)
