"""Machines without a VM: made, entered, and removed with everything that ever ran on them.

What a machine leaves is found by what it is, never by a process id that may be another's by now: its processes by
their network namespace, its cgroups by their names. So `remove_all` also clears up after a run that was killed.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import layout
from layout import Machine

from agent.lab import cgroups

INIT = Path(__file__).with_name("machine_init.py")


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program that runs for ever, its log in NAME.log of the machine's folder."""

    name: str
    argv: tuple[str, ...]
    after: str = ""  # a file that must exist first
    then: tuple[tuple[str, ...], ...] = ()  # commands that must succeed before the next daemon starts


@dataclass(frozen=True, slots=True)
class Description:
    """What `machine_init` makes of a machine."""

    daemons: tuple[Daemon, ...]
    overlays: tuple[str, ...] = ("/var", "/etc", "/opt")
    disks: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def start(machine: Machine, description: Description) -> None:
    """Start the machine in its network namespace, which must be there. Its processes' output is in its folder."""
    machine.folder.mkdir()
    paths = {
        "name": machine.name,
        "cgroup": machine.cgroup,
        "state": str(layout.STATE),
        "folder": str(machine.folder),
    }
    _order(machine).write_text(json.dumps(asdict(description) | paths))
    boot(machine)


def crash(machine: Machine) -> None:
    """Kill everything that runs on the machine, at once. Its disks stay, and its end of the network."""
    # Until none is left: a machine's first process replaces a daemon that dies before it does.
    while _kill_in(machine.netns):
        pass
    # What is left of its pods' cgroups would confuse the next kubelet, and is gone after a real crash as well.
    _remove_cgroups(machine)


def boot(machine: Machine) -> None:
    """Start the machine as it was described, for the first time or after a crash."""
    _make_cgroups(machine)
    order = _order(machine)
    environment = json.loads(order.read_text())["environment"]
    namespaces = ["--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]
    with (machine.folder / "machine.log").open("ab") as log:
        process = subprocess.Popen(
            ["nsenter", f"--net={machine.netns}", "unshare", *namespaces, sys.executable, INIT, order],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | environment,
            start_new_session=True,
        )
    (machine.folder / "pid").write_text(f"{process.pid}\n")


def enter(machine: Machine) -> list[str]:
    """The command that runs another one on the machine, in all of its namespaces."""
    parent = int((machine.folder / "pid").read_text())
    first = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0]
    return ["nsenter", f"--target={first}", "--mount", "--uts", "--net", "--pid", "--"]


def remove_all() -> None:
    """Kill and remove every machine, of this run and of those before it."""
    for machine in layout.MACHINES:
        if machine.netns.exists():
            crash(machine)
            subprocess.run(["umount", "--quiet", machine.netns], check=False)
        _remove_cgroups(machine)
    if layout.STATE.exists():
        _require_unmounted()
        shutil.rmtree(layout.STATE)


def _order(machine: Machine) -> Path:
    return machine.folder / "machine.json"


def _make_cgroups(machine: Machine) -> None:
    for hierarchy in _hierarchies():
        top = hierarchy / machine.cgroup.lstrip("/")
        for folder in (top, top / "daemons"):
            folder.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                # A cpuset of version 1 is born empty, and takes no process before it has both.
                if (folder / name).exists() and hierarchy.name != "unified":
                    (folder / name).write_text((hierarchy / name).read_text())


def _remove_cgroups(machine: Machine) -> None:
    """Containers' processes have network namespaces of their own, but died with their machine's first process."""
    for hierarchy in _hierarchies():
        cgroup = hierarchy / machine.cgroup.lstrip("/")
        if (cgroup / "cgroup.kill").exists():
            cgroups.kill(cgroup)
        cgroups.remove(cgroup)


def _hierarchies() -> Iterator[Path]:
    return (path for path in layout.CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())


def _kill_in(netns: Path) -> bool:
    """Kill the processes of a network namespace and wait for their end; whether there was one."""
    wanted = netns.stat()
    victims = [pidfd for process in Path("/proc").glob("[0-9]*") if (pidfd := _open_if_in(process, wanted)) is not None]
    for pidfd in victims:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for pidfd in victims:
        select.select([pidfd], [], [])  # readable when the process is gone
        os.close(pidfd)
    return bool(victims)


def _open_if_in(process: Path, netns: os.stat_result) -> int | None:
    """A descriptor of the process when it lives in this network namespace: unlike its id it stays the same process."""
    try:
        pidfd = os.pidfd_open(int(process.name))
    except ProcessLookupError:
        return None
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or more privileged than we are
        found = (process / "ns/net").stat()
        if (found.st_dev, found.st_ino) == (netns.st_dev, netns.st_ino):
            return pidfd
    os.close(pidfd)
    return None


def _require_unmounted() -> None:
    """Removing a folder that something is mounted on would remove what is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if Path(line.split()[4]).is_relative_to(layout.STATE):
            raise RuntimeError(f"still mounted: {line.split()[4]}")
