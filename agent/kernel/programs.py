"""Which programs there are, what their source is, and where in bpffs everything is pinned."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import abi

_INSTALLED = Path(__file__).parents[1] / "bpf"
SOURCES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "bpf"
_INCLUDE = re.compile(r'^#include "([a-z_]+\.h)"\n', re.MULTILINE)
_SOCKET_ADDRESS, _SOCK_OPS, _SK_LOOKUP = 18, 13, 30  # enum bpf_prog_type


@dataclass(frozen=True, slots=True)
class Program:
    """One entry point of bpf/weft.c: its types (linux/bpf.h) and the first kernel that has its hook."""

    name: str
    program_type: int
    attach_type: int
    since: str


# In the order of attachment: who translates answers stands before who makes them necessary.
PROGRAMS = (
    Program("weft_recvmsg4", _SOCKET_ADDRESS, 19, "5.2"),
    Program("weft_recvmsg6", _SOCKET_ADDRESS, 20, "5.2"),
    Program("weft_getpeername4", _SOCKET_ADDRESS, 29, "5.8"),
    Program("weft_getpeername6", _SOCKET_ADDRESS, 30, "5.8"),
    Program("weft_sock_ops", _SOCK_OPS, 3, "4.13"),
    Program("weft_connect4", _SOCKET_ADDRESS, 10, "4.17"),
    Program("weft_connect6", _SOCKET_ADDRESS, 11, "4.17"),
    Program("weft_sendmsg4", _SOCKET_ADDRESS, 14, "4.18"),
    Program("weft_sendmsg6", _SOCKET_ADDRESS, 15, "4.18"),
)
# Runs in network namespaces and not at the kubepods cgroup. Where the kernel has no such hook weft does without it.
GUARD = Program("weft_guard", _SK_LOOKUP, 36, "5.9")


@dataclass(frozen=True, slots=True)
class Pins:
    """The folders below one folder of bpffs.

    Tables are apart by layout, because BCC takes over a pinned map of another layout without a word. The state of
    sockets has a layout that never changes, and links outlive every change of programs.
    """

    root: Path

    @property
    def tables(self) -> Path:
        """Maps that the agent writes, of this version's layout."""
        return self.root / abi.LAYOUT_HASH / "maps"

    @property
    def sockets(self) -> Path:
        """Maps that the programs write, one row a socket."""
        return self.root / "sockets"

    @property
    def links(self) -> Path:
        """One link a program."""
        return self.root / "links"

    @property
    def programs(self) -> Path:
        """One folder a version of the programs, named by the hash of its source."""
        return self.root / "programs"

    @property
    def guards(self) -> Path:
        """Links of the guard, by network namespace. They go with the tables that the guard reads: an agent of another
        version, which may know nothing of it, would leave it with an allow-list that nobody keeps."""
        return self.root / abi.LAYOUT_HASH / "guards"

    def map_path(self, name: str) -> Path:
        """Where the map of this name is pinned."""
        is_table = any(layout.name == name for layout in (*abi.TABLES, abi.EVENTS))
        return (self.tables if is_table else self.sockets) / name


def read_source(folder: Path = SOURCES) -> str:
    """`weft.c` with its headers put in, each once: BCC rewrites map calls in the main file only."""
    seen: set[str] = set()

    def inline(name: str) -> str:
        return _INCLUDE.sub(lambda found: once(found[1]), (folder / name).read_text())

    def once(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return inline(name)

    return inline("weft.c")


def source_hash(source: str) -> str:
    """Names a version of the programs; the capacities and layouts of maps are part of the source."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]
