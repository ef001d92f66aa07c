"""Links of sk_lookup programs in network namespaces.

They are pinned, so they stay while no agent runs. A link does not hold its namespace: it ends with the namespace, and
the agent removes the pin that is left. sk_lookup came with Linux 5.9; the link takes a descriptor of the namespace.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import libbpf
from agent.kernel.bpffs import opened
from agent.kernel.programs import NETWORK_PROGRAMS

ATTACHED = "attached"
UNSUPPORTED = f"unsupported: this kernel has no sk_lookup, which came with Linux {NETWORK_PROGRAMS[0].since}"


@dataclass(frozen=True, slots=True)
class NetworkLinks:
    """The links of one program, pinned in a folder. `program` is the pin of the program, of the agent's own version."""

    folder: Path
    program: Path

    @property
    def is_supported(self) -> bool:
        """Whether the program is loaded: not where the kernel lacks its hook."""
        return self.program.exists()

    def update(self, replace: bool = True) -> dict[str, int]:
        """Update every link to the program unless not `replace`, and remove pins of namespaces that are gone. Returns
        the inode numbers of the namespaces, by the names of the pins. Raises `OSError`.
        """
        if not self.is_supported or not self.folder.is_dir():
            return {}
        with opened(self.program) as fd:
            return {path.name: inode for path in self.folder.iterdir() if (inode := _updated(path, fd, replace))}

    def attach(self, namespace: int, name: str) -> None:
        """Attach the program to a network namespace, given by a descriptor. Raises `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with opened(self.program) as program:
            link = libbpf.link_create(program, namespace, NETWORK_PROGRAMS[0].attach_type)
        try:
            libbpf.pin(link, self.folder / name)
        finally:
            os.close(link)

    def detach(self, name: str) -> None:
        """Detach the program; it does not run any more when this returns. Raises `OSError`."""
        with opened(self.folder / name) as link:
            libbpf.link_detach(link)
        (self.folder / name).unlink()


def _updated(path: Path, program: int, replace: bool) -> int:
    """The namespace of a pinned link, with `replace` after an update of its program; 0 where the namespace is gone."""
    with opened(path) as link:
        info = libbpf.netns_link_info(link)
        if replace and info.netns and info.program_id != libbpf.program_id(program):
            libbpf.link_update(link, program)
    if not info.netns:
        path.unlink()
    return info.netns


def carry_over(former: Path, folder: Path) -> None:
    """Move the pins of one folder to another of the same bpffs. The links keep the programs and tables that they have.
    Raises `OSError`.
    """
    for path in former.iterdir() if former.is_dir() else ():
        with opened(path) as link:
            is_there = libbpf.netns_link_info(link).netns
        if is_there:
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
