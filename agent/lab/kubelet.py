"""The lab's kubelet: it runs pods as namespaces, cgroups and processes, probes and restarts them."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.lab import cgroups, launch, network
from agent.lab.controllers import Seen, pod_ips, with_kind
from agent.lab.dns import CLUSTER_DOMAIN
from agent.lab.families import ranges_of
from agent.lab.paths import LabPaths
from agent.lab.probe import Probe, probe_of
from agent.lab.store import Object, Objects

LOG = logging.getLogger(__name__)
ECHO_IMAGE = "weft/echo"
_GRACE_SECONDS = 2.0
_BACKOFF_SECONDS = (0.2, 5.0)
_STEADY_SECONDS = 10.0


def argv_of(container: dict[str, Any]) -> list[str]:
    """What a container runs: the built-in echo server, or a program of the host."""
    arguments = list(container.get("args", ()))
    if container.get("image") == ECHO_IMAGE:
        return [sys.executable, "-m", "agent.lab.echo", *(arguments or ["--http", "8080"])]
    return [*container["command"], *arguments]


def pod_context(paths: LabPaths, pod: Object, container: str) -> launch.ExecContext:
    """Where a container's processes run."""
    metadata = pod["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    return launch.ExecContext(
        cgroup=paths.pod_cgroup(metadata["uid"]) / container,
        netns=paths.pod_netns(namespace, name),
        files=paths.pod_files(namespace, name),
    )


def pod_environment(pod: Object, container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container."""
    metadata = pod["metadata"]
    given = {item["name"]: str(item.get("value", "")) for item in container.get("env", ())}
    return launch.environment({"POD_NAME": metadata["name"], "POD_NAMESPACE": metadata["namespace"], **given})


class RunningPod:
    """One pod of this node, from its network to its last process."""

    def __init__(self, paths: LabPaths, pod: Object, changed: Callable[[], None]) -> None:
        self.paths, self.pod, self._changed = paths, pod, changed
        self.seen = Seen()
        self._namespace, self._name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._netns = paths.pod_netns(self._namespace, self._name)
        self._link = f"veth{pod['metadata']['uid'].replace('-', '')[:10]}"
        self._cgroup = paths.pod_cgroup(pod["metadata"]["uid"])
        self._tasks: list[asyncio.Task[None]] = []
        self._restarts = 0

    async def start(self) -> None:
        """Create its network and cgroups, then run its containers."""
        self._write_files()
        addresses = pod_ips(self.pod)
        await asyncio.to_thread(network.add_pod, self._netns, self._link, addresses, ranges_of(self.paths))
        for container in self.pod["spec"]["containers"]:
            (self._cgroup / container["name"]).mkdir(parents=True, exist_ok=True)
            self._tasks.append(asyncio.create_task(self._keep_running(container)))
        probes = [probe_of(container, addresses[0]) for container in self.pod["spec"]["containers"]]
        self._tasks.append(asyncio.create_task(self._watch([probe for probe in probes if probe])))

    async def stop(self) -> None:
        """Send SIGTERM, wait, send SIGKILL; then remove its network and cgroups."""
        for task in self._tasks:
            task.cancel()
        self._terminate()
        with suppress(TimeoutError):
            await asyncio.to_thread(cgroups.wait_empty, self._cgroup, _GRACE_SECONDS)
        await asyncio.to_thread(cgroups.kill, self._cgroup)
        await asyncio.to_thread(network.remove_pod, self._netns, self._link)
        cgroups.remove(self._cgroup)

    def _terminate(self) -> None:
        for container in self.pod["spec"]["containers"]:
            with suppress(FileNotFoundError):
                for pid in (self._cgroup / container["name"] / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGTERM)

    def _write_files(self) -> None:
        folder = self.paths.pod_files(self._namespace, self._name)
        folder.mkdir(parents=True, exist_ok=True)
        search = f"{self._namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
        resolver = f"search {search}\nnameserver {ranges_of(self.paths)[0].dns}\noptions ndots:5\n"
        (folder / "resolv.conf").write_text(resolver)
        (folder / "hostname").write_text(f"{self._name}\n")
        own = "".join(f"{address} {self._name}\n" for address in pod_ips(self.pod))
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{own}")

    async def _keep_running(self, container: dict[str, Any]) -> None:
        """Run a container, and restart it with growing delays (restartPolicy: Always)."""
        command = launch.command(pod_context(self.paths, self.pod, container["name"]), argv_of(container))
        environment = pod_environment(self.pod, container)
        pause, longest = _BACKOFF_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            with self.paths.log(f"{self._namespace}.{self._name}.{container['name']}").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    env=environment, start_new_session=True,
                )  # fmt: skip
            code = await process.wait()
            LOG.info("exited pod=%s/%s container=%s code=%s", self._namespace, self._name, container["name"], code)
            self._restarts += 1
            self._report(ready=False)
            if loop.time() - began > _STEADY_SECONDS:
                pause = _BACKOFF_SECONDS[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _watch(self, probes: list[Probe]) -> None:
        """Ready when every probe succeeds; without any, when a process is there."""
        failures = [0] * len(probes)
        while True:
            for number, probe in enumerate(probes):
                failures[number] = 0 if await probe.check() else failures[number] + 1
            limits = [probe.failure_threshold if self.seen.ready else 1 for probe in probes]
            passed = all(count < limit for count, limit in zip(failures, limits, strict=True))
            self._report(ready=passed if probes else cgroups.populated(self._cgroup))
            periods = [probe.period for probe in probes] if self.seen.ready else []
            await asyncio.sleep(min(periods, default=1.0 if self.seen.ready else 0.1))

    def _report(self, ready: bool) -> None:
        seen = Seen("Running", ready, self._restarts)
        if seen != self.seen:
            LOG.info("readiness pod=%s/%s ready=%s restarts=%d", self._namespace, self._name, ready, self._restarts)
            self.seen = seen
            self._changed()


class Kubelet:
    """The pods that run, by uid."""

    def __init__(self, paths: LabPaths, changed: Callable[[], None]) -> None:
        self._paths, self._changed = paths, changed
        self._running: dict[str, RunningPod] = {}

    @property
    def seen(self) -> dict[str, Seen]:
        """What is known of each pod."""
        return {uid: pod.seen for uid, pod in self._running.items()}

    async def sync(self, objects: Objects) -> None:
        """Start and stop pods until the running ones are the desired ones. A reused name waits for the old
        pod's end.
        """
        wanted = {pod["metadata"]["uid"]: pod for _, pod in with_kind(objects, "Pod")}
        await asyncio.gather(*(self._running.pop(uid).stop() for uid in self._running.keys() - wanted.keys()))
        for uid, pod in wanted.items():
            if uid not in self._running:
                self._running[uid] = RunningPod(self._paths, pod, self._changed)
                await self._running[uid].start()
