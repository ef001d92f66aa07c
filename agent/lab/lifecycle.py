"""Starts and stops a lab and its processes. Stopping needs no running daemon and no saved state."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agent.lab import cgroups, families, launch, network, weft
from agent.lab.controllers import is_ready, with_kind
from agent.lab.families import IPFamily
from agent.lab.kubelet import pod_context, pod_environment
from agent.lab.paths import ROOT, LabPaths
from agent.lab.patience import patient
from agent.lab.store import Object, Store
from agent.model.meta import Key

_MANIFESTS = (".yaml", ".yml", ".json")


class LabError(Exception):
    """An error that the user can correct. The message is one sentence."""


def is_up(paths: LabPaths) -> bool:
    """Whether the lab's daemon runs."""
    return cgroups.populated(paths.system_cgroup("daemon"))


def up(
    paths: LabPaths,
    manifests: Sequence[Path] = (),
    agent: bool = True,
    patience: float = 60.0,
    family: IPFamily = IPFamily.IPV4,
) -> None:
    """Start a lab with these files, and wait until its pods are ready.

    The remains of an earlier lab of this name are removed first. Raises `LabError` when one is up, when no further pod
    gets ready for `patience` seconds (the machine may be slow), or when the agent ends; then the lab stays, for
    inspection.
    """
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces: run it as root")
    if is_up(paths):
        raise LabError(f"lab {paths.name} is already up")
    down(paths)
    for folder in (paths.manifests, paths.logs, paths.bpf):
        folder.mkdir(parents=True)
    for folder in (paths.kubepods / "besteffort", paths.cgroup / "system"):
        folder.mkdir(parents=True)
    families.save(paths, family)
    subprocess.run(["mount", "-t", "bpf", "bpf", paths.bpf], check=True)
    network.make_node(paths)
    apply(paths, manifests)
    _start(paths, "daemon", [sys.executable, "-m", "agent.lab.daemon", "--name", paths.name])
    if agent:
        start_agent(paths)
    wait_ready(paths, patience)
    if agent and not agent_runs(paths):
        raise LabError(f"the pods are ready, but the agent has ended: see {paths.log('agent')}")


def down(paths: LabPaths) -> None:
    """Remove a lab of this name and its remains, from any partial state."""
    cgroups.kill(paths.cgroup)
    network.remove_stale(paths)
    _unmount_below(paths.state)
    cgroups.remove(paths.cgroup)
    shutil.rmtree(paths.state, ignore_errors=True)
    with suppress(OSError):
        ROOT.rmdir()


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=True)


def apply(paths: LabPaths, files: Sequence[Path]) -> list[str]:
    """Apply manifests; a folder means the manifests in it, not those in folders below."""
    return [line for text in _texts(files) for line in Store(paths).apply(text)]


def delete(paths: LabPaths, files: Sequence[Path]) -> list[str]:
    """Delete what manifests name; a folder means the manifests in it."""
    return [line for text in _texts(files) for line in Store(paths).delete(text)]


def _texts(files: Sequence[Path]) -> Iterator[str]:
    for path in files:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        yield from (file.read_text() for file in inside if file == path or file.suffix in _MANIFESTS)


def wait_for(what: str, true: Callable[[], bool], patience: float) -> None:
    """Wait until a condition holds, at most `patient(patience)` seconds. Raises `LabError`, which names it."""
    limit = patient(patience)
    end = time.monotonic() + limit
    while not true():
        if time.monotonic() > end:
            raise LabError(f"waited {limit:.0f} s, but not so: {what}")
        time.sleep(patient(0.02))


def wait_ready(paths: LabPaths, patience: float = 60.0) -> None:
    """Wait until every pod that should be is there and ready; raises LabError when none got ready for
    `patient(patience)` seconds.
    """
    limit, seen, end = patient(patience), -1, 0.0
    while True:
        ready, all_ready = _readiness(paths)
        if all_ready:
            return
        if ready > seen:
            seen, end = ready, time.monotonic() + limit
        if time.monotonic() > end:
            raise LabError(f"no pod of lab {paths.name} got ready for {limit:.0f} s: see {paths.logs}")
        time.sleep(patient(0.05))


def _readiness(paths: LabPaths) -> tuple[int, bool]:
    """How many pods are ready, and whether all that should be are."""
    if not is_up(paths):
        raise LabError(f"the lab's daemon has ended: see {paths.log('daemon')}")
    objects = Store(paths).load()
    wanted = sum(item["spec"].get("replicas", 1) for _, item in with_kind(objects, "Deployment"))
    pods = [pod for _, pod in with_kind(objects, "Pod")]
    owned = [pod for pod in pods if pod["metadata"].get("ownerReferences")]
    ready = sum(is_ready(pod) for pod in pods)
    return ready, len(owned) == wanted and ready == len(pods)


def agent_runs(paths: LabPaths) -> bool:
    """Whether the lab's agent runs."""
    return cgroups.populated(paths.system_cgroup("agent"))


def start_agent(paths: LabPaths, project: Path | None = None) -> None:
    """Start the agent on the node, and its waypoint if there is none. Raises LabError when the agent runs.

    `project` is the folder of another version's package.
    """
    if agent_runs(paths):
        raise LabError("the agent is running")
    store = Store(paths)
    if not weft.waypoints(store.load()):
        store.apply(json.dumps(weft.waypoint_pod(paths)))
    elsewhere = ["env", f"--chdir={project}"] if project else []
    _start(paths, "agent", [*elsewhere, *weft.agent_command(paths)])


def stop_agent(paths: LabPaths, kill: bool = False, patience: float = 30.0) -> None:
    """End the agent by SIGTERM or SIGKILL and wait until it is gone; absence is success."""
    if not agent_runs(paths):
        return
    with suppress(ProcessLookupError):
        os.kill(int(paths.pidfile("agent").read_text()), signal.SIGKILL if kill else signal.SIGTERM)
    cgroups.wait_empty(paths.system_cgroup("agent"), patience)


def _start(paths: LabPaths, what: str, argv: Sequence[str]) -> None:
    pidfile = paths.pidfile(what)
    pidfile.unlink(missing_ok=True)
    context = launch.ExecContext(paths.system_cgroup(what), paths.node_netns, pidfile=pidfile)
    launch.start_apart(context, argv, paths.log(what))
    wait_for(f"{what} starts", lambda: pidfile.exists() and bool(pidfile.read_text()), patience=5.0)


def find_pod(paths: LabPaths, where: str) -> Object:
    """The pod that NAMESPACE/POD means: its name, or the beginning of it, ready ones first. Raises LabError."""
    namespace, slash, name = where.partition("/")
    if not slash:
        namespace, name = "default", where
    objects = Store(paths).load()
    exact = objects.get(Key("Pod", namespace, name))
    if exact:
        return exact
    found = [
        p for key, p in with_kind(objects, "Pod") if key.namespace == namespace and key.name.startswith(f"{name}-")
    ]
    if not found:
        raise LabError(f"there is no pod {where} in lab {paths.name}")
    return max(found, key=is_ready)


def exec_command(paths: LabPaths, where: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run `argv` in a pod's namespaces and cgroup. Raises LabError."""
    pod = find_pod(paths, where)
    container = pod["spec"]["containers"][0]
    return launch.command(pod_context(paths, pod, container["name"]), argv), pod_environment(pod, container)


def node_command(paths: LabPaths, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` on the lab's node, outside of any pod."""
    cgroup = paths.system_cgroup("exec")
    cgroup.mkdir(parents=True, exist_ok=True)
    return launch.command(launch.ExecContext(cgroup, paths.node_netns), argv)
