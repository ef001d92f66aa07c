"""Measures how late a 1 ms timer on the agent's event loop is, while an Envoy connects and gets a thousand routed
Services, and while metrics are rendered at their limits of series.

Everything is real except the kernel's maps: translation, the waypoint's controller, the ADS server, Envoy, probes, the
metrics. Prints JSON. Needs no root.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.flow_tables import FLOW_STEPS, FlowSums
from agent.ir.identity import Workload
from agent.ir.plan import Output
from agent.ir.request_stats import Outcome, Series, Sums
from agent.ir.tables import Reason
from agent.ir.waypoint_state import Adopted
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key, Object
from agent.node.start import tune_interpreter
from agent.store.store import Store
from agent.telemetry.flow_metrics import MAX_PAIRS
from agent.telemetry.flows import Flow
from agent.telemetry.metrics import Metrics
from agent.telemetry.requests import MAX_EDGES, MAX_OUTCOMES, UNKNOWN_WORKLOAD, Requests, edge_of
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.controller import WaypointController
from agent.waypoint.probe import accepts
from agent.waypoint.process import Limits, envoy_command, prepare
from agent.waypoint.rendering import Rendering
from agent.waypoint.server import AdsServer

SERVICES = 1000
ADDRESS = "127.0.0.2"
TICK_SECONDS = 0.001
PATIENCE_SECONDS = 300.0
IDLE_SECONDS = 3.0
TEXT = """
apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: app}}
spec: {{clusterIP: 10.96.{high}.{low}, ports: [{{port: 80, name: http}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{n}, namespace: app, labels: {{kubernetes.io/service-name: s{n}}}}}
ports: [{{port: 8080, name: http}}]
endpoints: [{{addresses: [10.1.0.7]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: s{n}, namespace: app}}
spec:
  parentRefs: [{{group: "", kind: Service, name: s{n}}}]
  rules: [{{backendRefs: [{{name: s{n}, port: 80}}]}}]
"""


CLIENT = """
{apiVersion: v1, kind: Namespace, metadata: {name: app, labels: {weft.dev/mode: l7}}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: app, uid: u-1}
spec: {nodeName: here}
status: {phase: Running, podIP: 10.1.0.1}
"""


class Prober:
    """Probes of listeners, as in the agent."""

    async def accepts(self, address: str, port: int) -> bool | None:
        """Whether a listener accepts connections on a port."""
        return await accepts(address, port)


class Lateness:
    """The lateness of each tick of a timer, in milliseconds."""

    def __init__(self) -> None:
        self._late: list[float] = []

    @asynccontextmanager
    async def measured(self) -> AsyncIterator[None]:
        """Run the timer inside of the context."""
        task = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            task.cancel()

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._late.append(1000 * (time.perf_counter() - due))

    def document(self) -> dict[str, float]:
        """The maximum and the 99.9th percentile."""
        late = sorted(self._late)
        return {"max ms": round(late[-1], 1), "p99.9 ms": round(late[int(0.999 * len(late))], 1), "ticks": len(late)}


def upserts(text: str) -> list[Change]:
    """The changes of a source with these manifests."""
    found = [item for document in split(text, False) for item in decode(document.value, "here")]
    return [Upsert(item) for item in found if isinstance(item, Object)]


def translated() -> Translator:
    """A translator that has translated all Services."""
    translator = Translator(Store(), Options("here"))
    changes = [*upserts(CLIENT), Upsert(PodCgroup("u-1", 42))]
    for number in range(SERVICES):
        changes += upserts(TEXT.format(n=number, high=number // 250, low=number % 250 + 1))
    translator.update(changes)
    return translator


async def until(true: Callable[[], object]) -> None:
    """Wait until `true` returns a true value."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():
            await asyncio.sleep(0.05)


async def connecting(folder: Path) -> dict[str, object]:
    """The lateness while an Envoy starts, until every listener is ready."""
    translator = translated()
    changed = {unit: (Output(), output) for unit, output in translator.outputs.items()}
    server = AdsServer(folder / "xds.sock", Addresses(ADDRESS))
    rendering = Rendering(Options("here"))
    clock = asyncio.get_running_loop().time
    controller = WaypointController(server, rendering, Prober(), clock, lambda: None, lambda _: None)
    server.on_change(controller.wake)
    await server.start()
    running = asyncio.create_task(controller.run())
    controller.start(Adopted())
    limits = Limits(workers=2, descriptors=20_000, heap=2**30)
    envoy = Envoy(time.monotonic_ns(), "bench", Addresses(ADDRESS), limits.listeners(1))
    command = envoy_command(prepare(folder / "xds.sock", envoy, limits), limits.workers)
    idle, starting, lateness = Lateness(), Lateness(), Lateness()
    async with idle.measured():
        await asyncio.sleep(IDLE_SECONDS)
    async with starting.measured():
        controller.want(changed)
        await until(lambda: controller.machine.readiness.wanted)
    resources = len(rendering.configuration[0])
    found = {"nothing happens": idle.document(), "resources": resources, "rendered": starting.document()}
    began = time.perf_counter()
    async with lateness.measured():
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await until(lambda: len(controller.machine.ready) == SERVICES)
    found |= {
        "an Envoy connects": lateness.document(),
        "seconds until all are ready": round(time.perf_counter() - began, 1),
    }
    process.kill()
    await process.wait()
    running.cancel()
    await asyncio.wait([running])
    await server.stop()
    return found


def flows() -> list[Flow]:
    """Flows of `MAX_PAIRS` pairs of workload and Service, each with three reasons."""
    sums = FlowSums(9, 8, 1, 8, 10**6, 10**6, 10**3, 10**3, (1,) * FLOW_STEPS, (1,) * FLOW_STEPS)
    return [
        Flow(Workload("app", f"w{pair}", "s", "r"), Key("Service", "app", f"s{pair}"), "TCP", reason, 0, sums)
        for pair in range(MAX_PAIRS)
        for reason in (Reason.FORWARDED, Reason.TO_WAYPOINT, Reason.NO_BACKEND)
    ]


def requests() -> Requests:
    """Requests on `MAX_EDGES` edges, each with `MAX_OUTCOMES` outcomes."""
    made = Requests(time.monotonic)
    for edge in range(MAX_EDGES):
        service = Key("Service", "app", f"s{edge}")
        series = Series("10.1.0.1", f"app/s{edge}:80", f"app/r{edge}/0/m", "")
        for outcome in range(MAX_OUTCOMES):
            made.add(edge_of(series, UNKNOWN_WORKLOAD, service), Sums({Outcome(str(200 + outcome)): 1}))
    return made


async def scraping() -> dict[str, object]:
    """The lateness while metrics are rendered ten times, at their limits of series."""
    metrics, rows = Metrics("0", dict), flows()
    metrics.register_flows(lambda: rows)
    metrics.register_requests(requests())
    lateness = Lateness()
    async with lateness.measured():
        for _ in range(10):
            text = await metrics.rendered()
    return {"metrics are made": lateness.document(), "megabytes": round(len(text) / 1e6, 1)}


def main() -> None:
    """Measure and print."""
    tune_interpreter()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(connecting(Path(folder))) | asyncio.run(scraping())
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
