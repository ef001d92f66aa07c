"""Compiles, loads and pins programs and maps, in a process of its own that then ends.

`python -m agent.kernel.loader --pins DIR --cgroup PATH`. It pins everything, so programs and maps outlive this process
and the agent. Objects of the same source that exist are adopted. Nothing is attached yet: `links.ensure` attaches the
programs when the tables are filled.
"""

import argparse
import fcntl
import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.kernel import abi, features, libbpf
from agent.kernel.bpffs import filesystem
from agent.kernel.btf import socket_offsets
from agent.kernel.compiler import REFUSED, UNCOMPILED, LoadError, compile_source, load_program, map_descriptor
from agent.kernel.features import Feature
from agent.kernel.programs import NETWORK_PROGRAMS, PROGRAMS, SOURCES, Pins, Program, read_source, source_hash

log = logging.getLogger(__name__)

__all__ = ["LoadError", "Loader", "Prepared", "finish", "prepare", "start"]
Loader = subprocess.Popen[str]
_MARK = "weft: "
_SHOWN_LINES = 8
# Lines in the logs of the verifier and BCC that are not the reason.
_NO_REASON = re.compile(r"processed \d+ insns|verification time|stack depth|HINT|Traceback|weft: |$")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pinned version of the programs, and the features that the kernel lacks."""

    version: str
    missing: tuple[Feature, ...] = ()

    def has(self, name: str) -> bool:
        """Whether the kernel has a feature."""
        return all(feature.name != name for feature in self.missing)


def prepare(pins: Path, cgroup: Path, sources: Path = SOURCES, without: frozenset[str] = frozenset()) -> Prepared:
    """Pin programs and maps below `pins`, as `start` and `finish` do."""
    return finish(start(pins, cgroup, sources, without))


def start(pins: Path, cgroup: Path, sources: Path = SOURCES, without: frozenset[str] = frozenset()) -> Loader:
    """Start the process that pins programs and maps below `pins` (a folder in a mounted bpffs).

    `cgroup` is where they will be attached. `without` names features (see `features`) that weft must not use although
    the kernel may have them.
    """
    command = [sys.executable, "-m", "agent.kernel.loader"]
    command += ["--pins", str(pins), "--cgroup", str(cgroup), "--sources", str(sources)]
    command += [f"--without={name}" for name in sorted(without)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def finish(loader: Loader) -> Prepared:
    """Wait for the process. Raises `LoadError`, which names the kernel version that has the required features."""
    output, errors = loader.communicate()
    if loader.returncode:
        raise LoadError(_explain(errors))
    document = json.loads(output)
    prepared = Prepared(document["version"], features.named(document["missing"]))
    for feature in prepared.missing:
        extra = {"feature": feature.name, "since": feature.since, "without": feature.without}
        log.warning("the kernel lacks a feature", extra=extra)
    return prepared


def _explain(text: str) -> str:
    """The message on the standard error of the child, with the reason that the compiler or the verifier wrote there."""
    messages = [line.removeprefix(_MARK) for line in text.splitlines() if line.startswith(_MARK)]
    if not messages:
        return f"the loader died: {text.strip()[-300:] or 'without a message'}"
    last = messages[-1]
    lines = [line.rstrip() for line in text.splitlines() if not _NO_REASON.match(line.strip())]
    if last.startswith(REFUSED) and lines:
        shown = lines[-_SHOWN_LINES:]
        return _with_output(f"{last}: {shown[-1].strip()}", "The verifier's last lines:", shown)
    if last == UNCOMPILED and lines:
        # The first error causes others. Without one BCC could not even begin; its last line says why.
        first = next((number for number, line in enumerate(lines) if "error: " in line), len(lines) - 1)
        return _with_output(f"{last}: {lines[first]}", "The compiler's output:", lines[first : first + _SHOWN_LINES])
    return last


def _with_output(sentence: str, title: str, lines: list[str]) -> str:
    return "\n".join((sentence, title, *(f"  {line}" for line in lines)))


def _check_folders(pins: Path, cgroup: Path) -> None:
    if filesystem(pins) != "bpf":
        raise LoadError(f"{pins} is not in a bpf file system, mount one: mount -t bpf bpf {pins.parent}")
    if not cgroup.is_dir() or filesystem(cgroup) != "cgroup2":
        raise LoadError(f"{cgroup} is not a folder of cgroup v2, which weft needs")


def _wait_for_others(pins: Path) -> None:
    """Lock out other loaders of the same pins; the kernel releases the lock when this process ends."""
    pins.mkdir(parents=True, exist_ok=True)
    fcntl.flock(os.open(pins, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)


def _programs(prepared: Prepared) -> tuple[Program, ...]:
    return (*PROGRAMS, *NETWORK_PROGRAMS) if prepared.has(features.SK_LOOKUP) else PROGRAMS


def _defines(prepared: Prepared) -> dict[str, int]:
    """The defines of the C source about the kernel."""
    offsets = socket_offsets() if prepared.has(features.TCP_SOCK) and prepared.has(features.BTF) else {}
    return offsets if prepared.has(features.SET_RETVAL) else {**offsets, "WEFT_WITHOUT_SET_RETVAL": 1}


def _is_prepared(folders: Pins, prepared: Prepared) -> bool:
    """Whether every program of this version and every map is pinned."""
    programs = (folders.programs / prepared.version / program.name for program in _programs(prepared))
    return all(path.exists() for path in (*programs, *map(folders.map_path, abi.LAYOUTS)))


def _make(folders: Pins, prepared: Prepared, source: str) -> None:
    pinned = folders.programs / prepared.version
    for folder in (folders.tables, folders.sockets, folders.links, pinned):
        folder.mkdir(parents=True, exist_ok=True)
    module = compile_source(source, _defines(prepared))
    for name in abi.LAYOUTS:
        _adopt_or_pin(map_descriptor(module, name), folders.map_path(name))
    for program in _programs(prepared):
        (pinned / program.name).unlink(missing_ok=True)
        libbpf.pin(load_program(module, program), pinned / program.name)


def _adopt_or_pin(new: int, path: Path) -> None:
    """Have the programs use the map that is pinned at `path` in the place of the new one, else pin the new one.

    BCC could open pinned maps itself, but does it by their ids, for which the kernel asks CAP_SYS_ADMIN.
    """
    if not path.exists():
        libbpf.pin(new, path)
        return
    adopted = libbpf.get(path)
    os.dup2(adopted, new)
    os.close(adopted)


def _lacking(without: list[str]) -> tuple[Feature, ...]:
    """The features that the kernel lacks, and those of `without`. Raises `LoadError` if a required one is missing."""
    names = {feature.name for feature in features.missing()}
    if sentence := features.requirement(features.named(names)):
        raise LoadError(sentence)
    return features.named(names | set(without))


def _prepare_here(pins: Path, cgroup: Path, sources: Path, without: list[str]) -> Prepared:
    if os.geteuid() != 0:
        raise LoadError("loading BPF programs needs root")
    _check_folders(pins, cgroup)
    missing = _lacking(without)
    _wait_for_others(pins)
    source = read_source(sources)
    prepared = Prepared(source_hash(source + " ".join(feature.name for feature in missing)), missing)
    if not _is_prepared(Pins(pins), prepared):
        _make(Pins(pins), prepared, source)
    return prepared


def main() -> int:
    """The entry point of the child; the last line on standard error is the message for the parent."""
    parser = argparse.ArgumentParser(description="compile, load and pin weft's BPF programs, then exit")
    parser.add_argument("--pins", type=Path, required=True, help="folder in a mounted bpffs")
    parser.add_argument("--cgroup", type=Path, required=True, help="the kubepods folder of cgroup v2")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder with weft.c")
    parser.add_argument("--without", action="append", default=[], help="kernel feature to do without")
    options = parser.parse_args()
    try:
        prepared = _prepare_here(options.pins, options.cgroup, options.sources, options.without)
    except (LoadError, OSError, ValueError) as error:
        sys.stderr.write(f"{_MARK}{error}\n")
        return 1
    print(json.dumps({"version": prepared.version, "missing": [feature.name for feature in prepared.missing]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
