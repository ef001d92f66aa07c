"""Frontends of one example mesh, and how tests bring a fake kernel in line with them."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from agent.datapath.datapath import Applied, Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.addresses import Family, family_of
from agent.ir.identity import Workload
from agent.ir.plan import FrontendName, FrontendPlan
from agent.ir.tables import FrontendAction, Mode, Protocol, Slot, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel

SMILEY = FrontendName("10.96.0.1", 80, Protocol.TCP)
COLOR = FrontendName("10.96.0.2", 80, Protocol.TCP)
LISTENER = "faces/smiley:80"
PORTS = {LISTENER: 20001}
IDLE = WaypointState(PORTS)


def ready(*addresses: str) -> frozenset[tuple[str, Family]]:
    """The listeners, where an Envoy with these addresses has proved them."""
    return frozenset(product(PORTS, map(family_of, addresses)))


READY = ready("10.244.0.2")
WORKLOAD = Workload("faces", "face", "face", "latest")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def slots(*hosts: int) -> tuple[Slot, ...]:
    return tuple(
        Slot(address_bytes(f"10.244.0.{host}"), 8080, False, column, 2**32) for column, host in enumerate(hosts)
    )


def plan(*hosts: int, name: str = "smiley", **more: Any) -> FrontendPlan:
    return FrontendPlan(Key("Service", "faces", name), more.pop("mode", Mode.L4), slots(*hosts), **more)


def want(datapath: Datapath, desired: Mapping[FrontendName, FrontendPlan], waypoint: WaypointState = IDLE) -> Applied:
    gone = [name for name in datapath.desired if name not in desired]
    datapath.want_frontends(desired, gone)
    return datapath.apply(waypoint)


def hosts(kernel: FakeKernel, name: FrontendName, client: Mode = Mode.L4) -> set[bytes]:
    reached = kernel.reach(frontend_key(name), client)
    assert reached is not None
    _, _, found = reached
    return {address for address, _, _ in found}


def action(kernel: FakeKernel, name: FrontendName, client: Mode) -> FrontendAction:
    reached = kernel.reach(frontend_key(name), client)
    assert reached is not None
    return reached[0]
