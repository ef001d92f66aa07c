"""What a cluster's nodes are made of: the interface that `cluster` has to it.

A provider is a module: `machine_provider` (namespaces of this machine, the default), or `kind_provider` (containers of
Docker, with WEFT_CLUSTER_PROVIDER=kind). Tests reach nodes through it alone, so that they run on both.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Node(Protocol):
    """A node that runs pods, by its name in the API."""

    @property
    def name(self) -> str: ...


class Provider(Protocol):
    """All functions raise `CalledProcessError` when a command of theirs fails."""

    NODES: Sequence[Node]
    # What prepare.py builds for it.
    TARGET: str
    # The API server's: one event a line, of weft's accounts.
    AUDIT_LOG: Path
    # weft's manifests, and more arguments for its agents.
    KUSTOMIZATION: Path
    AGENT_ARGUMENTS: Sequence[str]

    def require(self) -> None:
        """Exits with a sentence when this machine cannot have such a cluster."""

    def start(self) -> None:
        """Start everything up to nodes and DNS, and write `layout.KUBECONFIG`. The cluster's folder is empty."""

    def remove(self) -> None:
        """Remove it with all that it left, also after a run that was killed; nothing when there is none."""

    def enter(self, name: str) -> list[str]:
        """The command that runs another one on a node."""

    def crash(self, name: str) -> None:
        """Kill everything on a node, or on `control-plane`, as if its power had failed."""

    def boot(self, name: str) -> None:
        """Start what has crashed again; does not wait for it."""

    def ctr(self) -> Sequence[str]:
        """`ctr` of a node's containerd, as a command on the node."""

    def kubepods(self, name: str) -> str:
        """The kubelet's cgroup of pods, as a node sees it."""

    def load(self, archive: Path) -> None:
        """Import an image archive on all nodes."""
