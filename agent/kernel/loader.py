"""Compiles, loads and pins programs and maps, in a process of its own that then ends.

`python -m agent.kernel.loader --pins DIR --cgroup PATH`. Everything it makes is pinned, so it outlives this process and
the agent. What is already there, from the same source, is adopted as it is. Nothing runs yet: `links.ensure` attaches,
when the tables have been filled.
"""

import argparse
import fcntl
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

from agent.kernel import abi, libbpf
from agent.kernel.bpffs import filesystem
from agent.kernel.btf import socket_offsets
from agent.kernel.compiler import LoadError, compile_and_load
from agent.kernel.programs import GUARD, PROGRAMS, SOURCES, Pins, read_source, source_hash

log = logging.getLogger(__name__)

__all__ = ["LoadError", "prepare"]
_MARK = "weft: "
_UNKNOWN_HELPER = re.compile(r"(?:unknown func|cannot use helper) (\w+)#\d+")
_HELPER_SINCE = {
    "bpf_set_retval": "5.18",
    "bpf_sk_storage_get": "5.8",
    "bpf_skc_to_tcp_sock": "5.9",
    "bpf_ringbuf_reserve": "5.8",
    "bpf_get_current_ancestor_cgroup_id": "5.7",
    "bpf_get_socket_cookie": "4.18",
}
SUBSTITUTES = {"bpf_set_retval": "WEFT_WITHOUT_SET_RETVAL"}
"""Helpers that programs can do without, and the macro that says so (bpf/verdict.h)."""


def prepare(pins: Path, cgroup: Path, sources: Path = SOURCES, without: frozenset[str] = frozenset()) -> str:
    """Have programs and maps pinned below `pins` (a folder in a mounted bpffs), and name their version.

    `cgroup` is where they shall run, `without` names helpers to do without (see `SUBSTITUTES`) though the kernel may
    have them. Raises LoadError.
    """
    command = [sys.executable, "-m", "agent.kernel.loader"]
    command += ["--pins", str(pins), "--cgroup", str(cgroup), "--sources", str(sources)]
    command += [f"--define={SUBSTITUTES[helper]}" for helper in sorted(without)]
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if not child.returncode:
        return child.stdout.strip()
    missing = _missing_helper(child.stderr)
    if missing in SUBSTITUTES.keys() - without:
        log.warning("doing without a helper", extra={"helper": missing, "since": _HELPER_SINCE[missing]})
        return prepare(pins, cgroup, sources, without | {missing})
    raise LoadError(_explain(child.stderr))


def _missing_helper(text: str) -> str | None:
    found = _UNKNOWN_HELPER.search(text)
    return found[1] if found else None


def _explain(text: str) -> str:
    """One sentence from what the child wrote: a helper that the kernel lacks, or what the child itself said."""
    if helper := _missing_helper(text):
        since = _HELPER_SINCE.get(helper)
        return f"this kernel lacks {helper} here" + (f", which came with Linux {since}" if since else "")
    said = [line.removeprefix(_MARK) for line in text.splitlines() if line.startswith(_MARK)]
    return said[-1] if said else f"the loader died: {text.strip()[-300:] or 'it said nothing'}"


def _check_places(pins: Path, cgroup: Path) -> None:
    if filesystem(pins) != "bpf":
        raise LoadError(f"{pins} is not in a bpf file system, mount one: mount -t bpf bpf {pins.parent}")
    if not cgroup.is_dir() or filesystem(cgroup) != "cgroup2":
        raise LoadError(f"{cgroup} is not a folder of cgroup v2, which weft needs")


def _wait_for_others(pins: Path) -> None:
    """Loaders of the same pins take turns: the lock goes with this process."""
    pins.mkdir(parents=True, exist_ok=True)
    fcntl.flock(os.open(pins, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)


def _is_prepared(folders: Pins, version: str) -> bool:
    """Whether every program of this version is there, and every map."""
    programs = (folders.programs / version / program.name for program in PROGRAMS)
    return all(path.exists() for path in (*programs, *map(folders.map_path, abi.LAYOUTS)))


def _make(folders: Pins, version: str, source: str, macros: list[str]) -> None:
    for folder in (folders.tables, folders.sockets, folders.links, folders.programs / version):
        folder.mkdir(parents=True, exist_ok=True)
    places = {"WEFT_TABLES": str(folders.tables), "WEFT_SOCKETS": str(folders.sockets)}
    loaded = compile_and_load(source, {**places, **socket_offsets(), **dict.fromkeys(macros, 1)}, PROGRAMS, [GUARD])
    for name, program in loaded.items():
        path = folders.programs / version / name
        path.unlink(missing_ok=True)
        libbpf.pin(program, path)


def _prepare_here(pins: Path, cgroup: Path, sources: Path, macros: list[str]) -> str:
    if os.geteuid() != 0:
        raise LoadError("loading BPF programs needs root")
    _check_places(pins, cgroup)
    _wait_for_others(pins)
    source = read_source(sources)
    version = source_hash(source + " ".join(macros))
    if not _is_prepared(Pins(pins), version):
        _make(Pins(pins), version, source, macros)
    return version


def main() -> int:
    """The child's own entry point; its last words on standard error are the sentence for the parent."""
    parser = argparse.ArgumentParser(description="compile, load and pin weft's BPF programs, then exit")
    parser.add_argument("--pins", type=Path, required=True, help="folder in a mounted bpffs")
    parser.add_argument("--cgroup", type=Path, required=True, help="the kubepods folder of cgroup v2")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder with weft.c")
    parser.add_argument("--define", action="append", default=[], help="macro for a helper that is missing")
    options = parser.parse_args()
    try:
        print(_prepare_here(options.pins, options.cgroup, options.sources, options.define))
    except (LoadError, OSError) as error:
        sys.stderr.write(f"{_MARK}{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
