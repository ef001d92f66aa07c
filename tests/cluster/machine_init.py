"""The first process of a machine: it makes the machine's own view of the file system, then starts its daemons.

It runs in fresh mount, pid and uts namespaces; killing it kills every process of the machine, containers included.
The argument is a file that says what to do, as JSON (`machines.Description`).
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
POLL_S = 0.05
RESTART_S = 0.5


def main() -> None:
    description = json.loads(Path(sys.argv[1]).read_text())
    socket.sethostname(description["name"])
    _join_cgroups(description["cgroup"])
    _mount_all(description, Path(description["state"]), Path(description["folder"]))
    _run_daemons(description["daemons"], Path(description["folder"]))


def _join_cgroups(cgroup: str) -> None:
    """The daemons' cgroup beside the pods' one, in every hierarchy."""
    for hierarchy in CGROUPS.iterdir():
        if not hierarchy.is_symlink():
            (hierarchy / cgroup.lstrip("/") / "daemons" / "cgroup.procs").write_text("0")


def _mount_all(description: dict[str, Any], state: Path, folder: Path) -> None:
    _fresh_sys(folder)
    _fresh_run(state, folder)
    for path in description["overlays"]:
        _overlay(path, folder / "overlays" / path.strip("/"))
    for path in description["disks"]:
        _disk(path, folder / "disks" / path.strip("/"))
    for path, content in description["files"].items():
        _write(Path(path), content)
    for name, value in description["sysctls"].items():
        cover = folder / "sysctls" / name
        _write(cover, value)
        _mount("--bind", cover, f"/proc/sys/{name.replace('.', '/')}")
    # Mounts made later on reach the pods that ask for it (mountPropagation).
    _mount("--make-rshared", "/")


def _write(path: Path, content: str) -> None:
    """Instead of what is there, which may be a link to somewhere else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(content)


def _fresh_sys(folder: Path) -> None:
    """A sysfs of this network namespace, with the cgroup tree in its place and a BPF file system of its own."""
    aside = folder / "cgroups"
    aside.mkdir(exist_ok=True)
    _mount("--rbind", CGROUPS, aside)
    _mount("-t", "sysfs", "sysfs", "/sys")
    _mount("--move", aside, CGROUPS)
    _mount("-t", "bpf", "bpf", "/sys/fs/bpf")


def _fresh_run(state: Path, folder: Path) -> None:
    aside = folder / "run"
    aside.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "tmpfs", aside)
    inner = aside / state.relative_to("/run")
    inner.mkdir(parents=True)
    _mount("--bind", state, inner)
    _mount("--move", aside, "/run")
    Path("/run/lock").mkdir()


def _overlay(path: str, folder: Path) -> None:
    upper, work = folder / "upper", folder / "work"
    upper.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    _mount("-t", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", "overlay", path)


def _disk(path: str, folder: Path) -> None:
    """A folder that is no overlay: containerd's own overlays cannot lie on one."""
    folder.mkdir(parents=True, exist_ok=True)
    Path(path).mkdir(parents=True, exist_ok=True)
    _mount("--bind", folder, path)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", "--no-mtab", *arguments], check=True)


def _run_daemons(daemons: list[dict[str, Any]], folder: Path) -> None:
    """Start them in their order, then be the reaper that a first process must be; a daemon that ends starts again."""
    # The processes are kept: `subprocess` itself would reap those that nobody holds, and their end went unseen.
    running: dict[int, tuple[dict[str, Any], subprocess.Popen[bytes]]] = {}
    for daemon in daemons:
        _wait_for(daemon["after"])
        process = _start(daemon, folder)
        running[process.pid] = (daemon, process)
        for command in daemon["then"]:
            _run_until_done(command, folder / f"{daemon['name']}.log")
    while True:
        pid, status = os.wait()
        if pid in running:
            daemon, _ = running.pop(pid)
            print(f"{daemon['name']} ended: {status=}", flush=True)
            time.sleep(RESTART_S)
            process = _start(daemon, folder)
            running[process.pid] = (daemon, process)


def _wait_for(path: str) -> None:
    while path and not Path(path).exists():
        time.sleep(POLL_S)


def _start(daemon: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{daemon['name']}.log").open("ab") as log:
        return subprocess.Popen(
            daemon["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _run_until_done(command: list[str], log_path: Path) -> None:
    """Commands to a daemon fail until it listens."""
    with log_path.open("ab") as log:
        while subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
            time.sleep(POLL_S)


if __name__ == "__main__":
    main()
