"""What was observed on this node: it enters the store through the same door as the objects of the API."""

from typing import ClassVar

from agent.model.meta import Key, Value


class PodSandbox(Value, frozen=True):
    """The addresses of a pod's network namespace, as it has them before any container begins."""

    pod_uid: str
    addresses: tuple[str, ...] = ()
    kind: ClassVar[str] = "PodSandbox"

    @property
    def key(self) -> Key:
        """As for a cgroup."""
        return Key(self.kind, "", self.pod_uid)


class PodCgroup(Value, frozen=True):
    """The cgroup directory of a pod: its inode number is what the kernel calls the cgroup id."""

    pod_uid: str
    cgroup_id: int
    kind: ClassVar[str] = "PodCgroup"

    @property
    def key(self) -> Key:
        """Facts about a pod are keyed by its uid."""
        return Key(self.kind, "", self.pod_uid)


class RecentClient(Value, frozen=True):
    """A pod, by its cgroup, that is in the mesh, or left it less than the grace time ago."""

    cgroup_id: int
    kind: ClassVar[str] = "RecentClient"

    @property
    def key(self) -> Key:
        """The cgroup's number is its name."""
        return Key(self.kind, "", str(self.cgroup_id))


class NodeWaypoints(Value, frozen=True):
    """The addresses of the node's waypoints, sorted: of the one that serves and of those beside it."""

    addresses: tuple[str, ...] = ()
    kind: ClassVar[str] = "NodeWaypoints"

    @property
    def key(self) -> Key:
        """There is one such fact."""
        return Key(self.kind, "", "")
