"""What was observed on this node: it enters the world through the same door as the objects of the API."""

from typing import ClassVar

from agent.model.meta import Key, Value


class PodCgroup(Value, frozen=True):
    """The cgroup directory of a pod: its inode number is what the kernel calls the cgroup id."""

    pod_uid: str
    cgroup_id: int
    kind: ClassVar[str] = "PodCgroup"

    @property
    def key(self) -> Key:
        """Facts about a pod are keyed by its uid."""
        return Key(self.kind, "", self.pod_uid)
