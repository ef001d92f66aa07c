"""The lab that scenarios run in: its Services, the processes that answer, and the clients that ask."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from agent.cli.agent_client import get
from agent.cli.lab import wait_agent
from agent.lab import launch, lifecycle
from agent.lab.kubelet import pod_context, pod_environment
from agent.lab.paths import LabPaths
from agent.lab.store import Object, Store, key_of
from agent.settings import STATUS_SOCKET
from agent.waypoint.process import STATS, envoy_command
from agent.waypoint.xds.request_stats import request_stats
from bench import many
from bench.scenarios import ENVOYS, REDIRECTIONS, SERVERS, Scenario, Way

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"
LOAD = BUILD / "load"
PATIENCE = 120.0
# A frame of gRPC: not compressed, four bytes of length, nothing.
EMPTY_MESSAGE = bytes(5)
GRPC_METHOD = "/bench.Echo/Ask"
# Of several processors, the scheduler chooses anew in each run whether a process is woken on that of its peer or on
# another one. That takes several times as long as what is compared, so processes without a proxy share one.
PROCESSOR = max(os.sched_getaffinity(0))
ON_ONE_PROCESSOR = ("taskset", "--cpu-list", str(PROCESSOR))


class Lab:
    """A lab that is up. Commands run in its pods; they end with the block that made them."""

    def __init__(self, paths: LabPaths, running: ExitStack) -> None:
        self.paths = paths
        self._running = running
        self._clients: dict[tuple[str, bool], subprocess.Popen[str]] = {}

    def start(self, pod: str, in_cgroup: bool, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process in a pod's network, and in its cgroup or in none that weft's programs are attached to."""
        found = lifecycle.find_pod(self.paths, pod)
        container = found["spec"]["containers"][0]
        context = pod_context(self.paths, found, container["name"])
        if not in_cgroup:
            context = replace(context, cgroup=self.paths.system_cgroup("bench"))
            context.cgroup.mkdir(parents=True, exist_ok=True)
        command, environment = launch.command(context, argv), pod_environment(found, container)
        process = self._running.enter_context(subprocess.Popen(command, env=environment, text=True, **options))
        self._running.callback(process.kill)
        return process

    def ask(self, way: Way, address: str, scenario: Scenario) -> list[int]:
        """One round of a way: the nanoseconds of each operation. Raises `RuntimeError` when an operation fails."""
        if scenario.connections > 1 or scenario.work == "grpc":
            return self._ask_by_h2load(way, address, scenario)
        client = self._client(way)
        assert client.stdin is not None
        assert client.stdout is not None
        sizes = (scenario.request, scenario.response)
        print(scenario.work, address, way.port, scenario.count, *sizes, scenario.rate, file=client.stdin, flush=True)
        answer = client.stdout.readline()
        if not answer:
            raise RuntimeError(f"{scenario.name}, from {way.client} to {address}: the client has ended")
        times: list[int] = json.loads(answer)
        return times

    def _client(self, way: Way) -> subprocess.Popen[str]:
        key = (way.client, way.in_cgroup)
        if key not in self._clients:
            argv = [*(() if way.spread else ON_ONE_PROCESSOR), str(LOAD), "ask"]
            self._clients[key] = self.start(*key, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._clients[key]

    def _ask_by_h2load(self, way: Way, address: str, scenario: Scenario) -> list[int]:
        log = BUILD / "h2load.tsv"
        log.unlink(missing_ok=True)
        argv = ["h2load", *_protocol(scenario), f"--log-file={log}", f"--clients={scenario.connections}"]
        argv += [f"--requests={scenario.count}", f"http://{address}:{way.port}{GRPC_METHOD}"]
        client = self.start(way.client, way.in_cgroup, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = client.communicate()
        # Of each request: when it began, the status, and the microseconds until its response had ended.
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        if len(rows) != scenario.count or any(row[1] != "200" for row in rows):
            raise RuntimeError(f"{scenario.name}, from {way.client} to {address}: {output}")
        return [int(row[2]) * 1000 for row in rows]

    def status(self) -> Any:
        """The agent's report."""
        return get(self.paths.state / STATUS_SOCKET, "/status")

    def save(self, *objects: Object) -> None:
        """Write objects as they are, each into its file."""
        Store(self.paths).save({}, {key_of(item): item for item in objects})

    def add_services(self, numbers: range, endpoints: int = 1) -> None:
        """Add Services of the namespace `many`, and wait until the last one is in the kernel."""
        many.write(self.paths.manifests / many.NAMESPACE, numbers, endpoints)
        self.wait_service(many.name_of(numbers[-1]))

    def wait_service(self, name: str) -> None:
        """Wait until a Service of the namespace `many` is in the kernel. A report of all takes time, so it is
        asked with pauses.
        """
        while not any(item["service"] == f"{many.NAMESPACE}/{name}" for item in self.status()["frontends"]):
            time.sleep(2)

    def pod_cgroup(self, pod: str) -> Path:
        """The cgroup of a pod."""
        return self.paths.pod_cgroup(lifecycle.find_pod(self.paths, pod)["metadata"]["uid"])

    def pod_processes(self, pod: str) -> list[int]:
        """The processes of a pod."""
        files = self.pod_cgroup(pod).rglob("cgroup.procs")
        return [int(line) for file in files for line in file.read_text().split()]


@contextmanager
def started(name: str, services: int) -> Iterator[Lab]:
    """A lab with this many Services, where every scenario can run. It is removed at the end."""
    _build_load()
    paths = LabPaths(name)
    lifecycle.down(paths)
    try:
        lifecycle.up(paths, [HERE / "lab.yaml"], agent=True)
        wait_agent(paths)
        with ExitStack() as running:
            yield _furnished(Lab(paths, running), services)
    finally:
        lifecycle.down(paths)


def _furnished(lab: Lab, services: int) -> Lab:
    _start_servers(lab)
    lifecycle.wait_for("the listeners are ready", lambda: _listeners(lab) == ["ready"] * 2, PATIENCE)
    # The lab's controllers and kubelet compute more than a cluster's would on a node, and have done their part.
    (lab.paths.system_cgroup("daemon") / "cgroup.freeze").write_text("1")
    lab.add_services(range(services))
    return lab


def _protocol(scenario: Scenario) -> list[str]:
    """Options of h2load, which speaks HTTP/2 where it is not told otherwise."""
    if scenario.work != "grpc":
        return ["--h1", "--header=host: server.app"]
    message = BUILD / "grpc-message"
    message.write_bytes(EMPTY_MESSAGE)
    return [f"--data={message}", "--header=content-type: application/grpc", "--header=te: trailers"]


def _build_load() -> None:
    compiler = shutil.which("clang") or shutil.which("tcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(compiler), "-O2", "-o", LOAD, *(HERE / "load").glob("*.c")], check=True)


def _start_servers(lab: Lab) -> None:
    for pod, port, in_cgroup in SERVERS:
        lab.start(pod, in_cgroup, [*ON_ONE_PROCESSOR, str(LOAD), "serve", str(port)])
    for pod, rules in REDIRECTIONS.items():
        rule_set = f"table ip sidecar {{\nchain sidecar {{ {rules} }}\n}}"
        if lab.start(pod, True, ["nft", rule_set]).wait():
            raise RuntimeError(f"nft refuses the rules of {pod}")
    for pod, name in ENVOYS:
        config = BUILD / f"{name}.json"
        config.write_text(json.dumps(_with_stats(yaml.safe_load((HERE / "envoys" / f"{name}.yaml").read_text()))))
        lab.start(pod, True, envoy_command(config, 2), stderr=subprocess.DEVNULL)


def _with_stats(config: Any) -> Any:
    """Proxies of HTTP count requests as the waypoint does; the server and the proxy of TCP do not."""
    for listener in config["static_resources"]["listeners"]:
        settings = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if "cluster" in json.dumps(settings.get("route_config", {})):
            settings["access_log"] = request_stats("app/server:80")
            config |= STATS
    return config


def _listeners(lab: Lab) -> list[str]:
    return [item["state"] for item in lab.status()["waypoint"]["listeners"]]
