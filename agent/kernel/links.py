"""The pinned links: which cgroup each one was made for, and how to take them all away."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import libbpf
from agent.kernel.programs import PROGRAMS, Pins, Program


@dataclass(frozen=True, slots=True)
class Link:
    """One attached program. `cgroup_id` is 0 when its cgroup is gone: nothing runs any more."""

    program: str
    link_id: int
    program_id: int
    cgroup_id: int


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of what is pinned at `path`, closed at the end."""
    fd = libbpf.get(path)
    try:
        yield fd
    finally:
        os.close(fd)


def read_link(pins: Path, program: Program) -> Link | None:
    """The pinned link of a program, None when there is none."""
    try:
        with opened(Pins(pins).links / program.name) as fd:
            info = libbpf.link_info(fd)
    except FileNotFoundError:
        return None
    if info.attach_type != program.attach_type:
        return None
    return Link(program.name, info.link_id, info.program_id, info.cgroup_id)


def list_links(pins: Path) -> list[Link]:
    """Every pinned link, in the order of attachment."""
    return [link for program in PROGRAMS if (link := read_link(pins, program))]


def attach(pins: Path, program: Program, fd: int, cgroup: Path) -> None:
    """Run a loaded program at a cgroup: in the place of its predecessor in one step, or by a new link."""
    path = Pins(pins).links / program.name
    current = read_link(pins, program)
    if current and current.cgroup_id == cgroup.stat().st_ino:
        with opened(path) as link:
            libbpf.link_update(link, fd)
        return
    path.unlink(missing_ok=True)
    target = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        link = libbpf.link_create(fd, target, program.attach_type)
    finally:
        os.close(target)
    try:
        libbpf.pin(link, path)
    finally:
        os.close(link)


def detach(pins: Path) -> None:
    """Remove every link, program and map below `pins`; sending first, so that no answer stays untranslated."""
    folders = Pins(pins)
    for program in reversed(PROGRAMS):
        (folders.links / program.name).unlink(missing_ok=True)
    for folder in (folders.links, folders.programs, folders.sockets, *(maps.parent for maps in pins.glob("*/maps"))):
        shutil.rmtree(folder, ignore_errors=True)
