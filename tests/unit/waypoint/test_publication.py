"""What is published while units change all the time."""

import asyncio
from itertools import cycle
from pathlib import Path

from agent.ir.addresses import Addresses
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.plan import Output
from agent.ir.waypoint_state import Adopted
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch
from agent.translate.incremental import SERVICES, Unit
from agent.translate.options import Options
from agent.waypoint.controller import WaypointController
from agent.waypoint.rendering import Rendering
from agent.waypoint.server import AdsServer

ONE, OTHER = "10.0.0.1", "10.0.0.2"


class Prober:
    """There is no Envoy to probe."""

    async def accepts(self, _address: str, _port: int) -> bool | None:
        raise NotImplementedError


def output(service: str, address: str) -> Output:
    backend = BackendPort("app", service, 80)
    rules = (Rule("r", HTTPRouteMatch(), backends=(WeightedBackend(backend, 1),)),)
    name = f"app/{service}:80"
    return Output({}, {}, {name: HTTPListenerIR(name, "", 80, False, rules)}, {backend: ((address, 8080),)})


def unit(service: str) -> Unit:
    return Unit(SERVICES, Key("Service", "app", service))


async def test_a_unit_that_changes_all_the_time_keeps_no_other_from_envoy(tmp_path: Path) -> None:
    server = AdsServer(tmp_path / "xds.sock", Addresses("10.9.9.9"))
    clock = asyncio.get_running_loop().time
    controller = WaypointController(server, Rendering(Options()), Prober(), clock, lambda: None, lambda _: None)
    controller.start(Adopted())

    async def change_all_the_time() -> None:
        before = Output()
        for address in cycle((ONE, OTHER)):
            after = output("busy", address)
            controller.want({unit("busy"): (before, after)})
            before = after
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(change_all_the_time())]
    try:
        async with asyncio.timeout(60):
            while "app/busy:80" not in controller.machine.readiness.wanted:
                await asyncio.sleep(0.01)
            controller.want({unit("quiet"): (Output(), output("quiet", ONE))})
            while "app/quiet:80" not in controller.machine.readiness.wanted:
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
