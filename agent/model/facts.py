"""What was observed on this node: it enters the world through the same door as the objects of the API."""

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
