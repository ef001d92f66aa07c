"""The pinned links: which program is attached where, how links are updated, and how all of it is removed."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import libbpf
from agent.kernel.bpffs import opened
from agent.kernel.network_links import carry_over
from agent.kernel.programs import PROGRAMS, Pins, Program


@dataclass(frozen=True, slots=True)
class Link:
    """An attached program. `cgroup_id` is 0 when its cgroup is gone, and the program runs no more."""

    program: str
    link_id: int
    program_id: int
    cgroup_id: int


def read_link(pins: Path, program: Program) -> Link | None:
    """The pinned link of a program; None when there is none."""
    try:
        with opened(Pins(pins).links / program.name) as fd:
            info = libbpf.link_info(fd)
    except FileNotFoundError:
        return None
    if info.attach_type != program.attach_type:
        return None
    return Link(program.name, info.link_id, info.program_id, info.cgroup_id)


def list_links(pins: Path) -> list[Link]:
    """Every pinned link, in attachment order."""
    return [link for program in PROGRAMS if (link := read_link(pins, program))]


def ensure(pins: Path, cgroup: Path, version: str) -> list[str] | None:
    """Attach the programs of this version to a cgroup; returns the names of those that were not attached before. None
    while the cgroup does not exist. Raises `OSError`.

    In the order of `PROGRAMS`: the programs that translate replies are attached before those that make them necessary.
    Then the programs and tables of former versions are removed.
    """
    folders = Pins(pins)
    try:
        cgroup_id = cgroup.stat().st_ino
    except FileNotFoundError:
        return None
    attached = [program.name for program in PROGRAMS if _attach(folders, program, version, cgroup, cgroup_id)]
    if attached:
        _remove_stale_pins(folders, version)
    return attached


def _attach(folders: Pins, program: Program, version: str, cgroup: Path, cgroup_id: int) -> bool:
    """Attach a program: replace its predecessor atomically, or create a new link. False when it is attached already."""
    path, current = folders.links / program.name, read_link(folders.root, program)
    with opened(folders.programs / version / program.name) as fd:
        if current is None or current.cgroup_id != cgroup_id:
            path.unlink(missing_ok=True)
            _link(program, fd, cgroup, path)
        elif current.program_id != libbpf.program_id(fd):
            with opened(path) as link:
                libbpf.link_update(link, fd)
        else:
            return False
    return True


def _link(program: Program, fd: int, cgroup: Path, path: Path) -> None:
    target = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        link = libbpf.link_create(fd, target, program.attach_type)
    finally:
        os.close(target)
    try:
        libbpf.pin(link, path)
    finally:
        os.close(link)


def _remove_stale_pins(folders: Pins, version: str) -> None:
    """Remove former programs and tables of former layouts: no program of the kubepods cgroup uses them any more.

    The links of protected pods stay, with the programs and tables that they have. `PodGuards` updates them when the
    tables of this version have the policies: a pod is protected all the time.
    """
    layouts = [folder.parent for folder in folders.root.glob("*/maps") if folder != folders.tables]
    for layout in layouts:
        carry_over(layout / folders.pod_guards.name, folders.pod_guards)
    for folder in (*folders.programs.iterdir(), *layouts):
        if folder != folders.programs / version:
            shutil.rmtree(folder)


def detach(pins: Path) -> None:
    """Remove every link, program and map below `pins`. The programs that rewrite destinations go first, so that no
    reply stays untranslated.
    """
    folders = Pins(pins)
    for program in reversed(PROGRAMS):
        (folders.links / program.name).unlink(missing_ok=True)
    for folder in (folders.links, folders.programs, folders.sockets, *(maps.parent for maps in pins.glob("*/maps"))):
        shutil.rmtree(folder, ignore_errors=True)
