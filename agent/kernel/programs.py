"""The programs, their source, and the paths of all pins in bpffs."""

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
    """An entry point of bpf/weft.c: its types (linux/bpf.h) and the first kernel that has its hook."""

    name: str
    program_type: int
    attach_type: int
    since: str


# In attachment order: programs that translate replies come before those that make them necessary.
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
# Attached to network namespaces, not to the kubepods cgroup. Optional: weft works where the kernel lacks the hook.
GUARD = Program("weft_guard", _SK_LOOKUP, 36, "5.9")
AUTHORIZE = Program("weft_authorize", _SK_LOOKUP, 36, "5.9")
AUDIT = Program("weft_audit", _SK_LOOKUP, 36, "5.9")
NETWORK_PROGRAMS = (GUARD, AUTHORIZE, AUDIT)


@dataclass(frozen=True, slots=True)
class Pins:
    """The folders of the pins, below one folder of bpffs.

    Tables of different layouts have different folders, because BCC reuses a pinned map of another layout without an
    error. The maps of sockets have a frozen layout, and links outlive every change of programs.
    """

    root: Path

    @property
    def tables(self) -> Path:
        """Maps that the agent writes, with the layout of this version."""
        return self.root / abi.LAYOUT_HASH / "maps"

    @property
    def sockets(self) -> Path:
        """Maps that the programs write, one row for each socket."""
        return self.root / "sockets"

    @property
    def links(self) -> Path:
        """One link for each program."""
        return self.root / "links"

    @property
    def programs(self) -> Path:
        """One folder for each version of the programs, named by the hash of its source."""
        return self.root / "programs"

    @property
    def guards(self) -> Path:
        """Links of the guard, by network namespace. They are removed with the tables that the guard reads: an agent of
        another version may not know the guard, and would leave it with an allow-list that is no longer updated.
        """
        return self.root / abi.LAYOUT_HASH / "guards"

    @property
    def pod_guards(self) -> Path:
        """Links of the program that admits clients to protected pods, by pod cgroup and network namespace. An agent of
        another version that knows them takes them over; one that does not removes them, as above.
        """
        return self.root / abi.LAYOUT_HASH / "pod_guards"

    @property
    def pod_audits(self) -> Path:
        """Links of the program that audits policies, named as above. They are removed with their tables."""
        return self.root / abi.LAYOUT_HASH / "pod_audits"

    def map_path(self, name: str) -> Path:
        """The pin path of a map."""
        is_table = any(layout.name == name for layout in (*abi.TABLES, abi.EVENTS))
        return (self.tables if is_table else self.sockets) / name


def read_source(folder: Path = SOURCES) -> str:
    """`weft.c` with its headers inlined, each once: BCC rewrites map calls in the main file only."""
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
    """The name of a version of the programs; the capacities and layouts of maps are part of the source."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]
