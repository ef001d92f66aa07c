"""Compiles, loads, pins and attaches the programs, in a process of its own that then ends.

`python -m agent.kernel.loader --pins DIR --cgroup PATH`. Everything it makes is pinned, so it outlives this process and
the agent. What is already there, from the same source and at the same cgroup, is adopted as it is.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from agent.kernel import abi, libbpf
from agent.kernel.bpffs import filesystem
from agent.kernel.compiler import LoadError, compile_and_load
from agent.kernel.links import attach, opened, read_link
from agent.kernel.programs import PROGRAMS, SOURCES, Pins, read_source, source_hash

__all__ = ["LoadError", "load"]
_MARK = "weft: "
_UNKNOWN_HELPER = re.compile(r"(?:unknown func|cannot use helper) (\w+)#\d+")
_HELPER_SINCE = {
    "bpf_set_retval": "5.18",
    "bpf_sk_storage_get": "5.8",
    "bpf_get_current_ancestor_cgroup_id": "5.7",
    "bpf_get_socket_cookie": "4.18",
}


def load(pins: Path, cgroup: Path, sources: Path = SOURCES) -> None:
    """Have the programs run at `cgroup`, pinned below `pins` (a folder in a mounted bpffs). Raises LoadError."""
    command = [sys.executable, "-m", "agent.kernel.loader"]
    command += ["--pins", str(pins), "--cgroup", str(cgroup), "--sources", str(sources)]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if child.returncode:
        raise LoadError(_explain(child.stderr))


def _explain(log: str) -> str:
    """One sentence from what the child wrote: a helper that the kernel lacks, or what the child itself said."""
    if missing := _UNKNOWN_HELPER.search(log):
        helper = missing[1]
        since = _HELPER_SINCE.get(helper)
        return f"this kernel lacks {helper} here" + (f", which came with Linux {since}" if since else "")
    said = [line.removeprefix(_MARK) for line in log.splitlines() if line.startswith(_MARK)]
    return said[-1] if said else f"the loader died: {log.strip()[-300:] or 'it said nothing'}"


def _check_places(pins: Path, cgroup: Path) -> None:
    if filesystem(pins) != "bpf":
        raise LoadError(f"{pins} is not in a bpf file system, mount one: mount -t bpf bpf {pins.parent}")
    if not cgroup.is_dir() or filesystem(cgroup) != "cgroup2":
        raise LoadError(f"{cgroup} is not a folder of cgroup v2, which weft needs")


def _wait_for_others(pins: Path) -> None:
    """Loaders of the same pins take turns: the lock goes with this process."""
    pins.mkdir(parents=True, exist_ok=True)
    fcntl.flock(os.open(pins, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)


def _is_adoptable(pins: Path, cgroup: Path, version: str) -> bool:
    """Whether each link runs, at this cgroup, the program of this version, and every map is still there."""
    folders = Pins(pins)
    cgroup_id = cgroup.stat().st_ino
    if not all(folders.map_path(name).exists() for name in abi.LAYOUTS):
        return False
    for program in PROGRAMS:
        link, path = read_link(pins, program), folders.programs / version / program.name
        if link is None or link.cgroup_id != cgroup_id or not path.exists():
            return False
        with opened(path) as fd:
            if libbpf.program_id(fd) != link.program_id:
                return False
    return True


def _replace(pins: Path, cgroup: Path, source: str) -> None:
    folders = Pins(pins)
    version = folders.programs / source_hash(source)
    for folder in (folders.tables, folders.sockets, folders.links, version):
        folder.mkdir(parents=True, exist_ok=True)
    places = {"WEFT_TABLES": str(folders.tables), "WEFT_SOCKETS": str(folders.sockets)}
    loaded = compile_and_load(source, places, PROGRAMS)
    for program in PROGRAMS:
        attach(pins, program, loaded[program.name], cgroup)
        (version / program.name).unlink(missing_ok=True)
        libbpf.pin(loaded[program.name], version / program.name)
    _sweep(folders, version)


def _sweep(folders: Pins, version: Path) -> None:
    """Former programs and tables of former layouts: nothing that is attached uses them any more."""
    layouts = (folder.parent for folder in folders.root.glob("*/maps"))
    for folder in (*folders.programs.iterdir(), *layouts):
        if folder not in (version, folders.tables.parent):
            shutil.rmtree(folder)


def _load_here(pins: Path, cgroup: Path, sources: Path) -> None:
    if os.geteuid() != 0:
        raise LoadError("loading BPF programs needs root")
    _check_places(pins, cgroup)
    _wait_for_others(pins)
    source = read_source(sources)
    if not _is_adoptable(pins, cgroup, source_hash(source)):
        _replace(pins, cgroup, source)


def main() -> int:
    """The child's own entry point; its last words on standard error are the sentence for the parent."""
    parser = argparse.ArgumentParser(description="compile, load, pin and attach weft's BPF programs, then exit")
    parser.add_argument("--pins", type=Path, required=True, help="folder in a mounted bpffs")
    parser.add_argument("--cgroup", type=Path, required=True, help="the kubepods folder of cgroup v2")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder with weft.c")
    options = parser.parse_args()
    try:
        _load_here(options.pins, options.cgroup, options.sources)
    except (LoadError, OSError) as error:
        sys.stderr.write(f"{_MARK}{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
