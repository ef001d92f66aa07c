"""Millions of UDP connects while frontends come, go and change their weights: nobody gets another's backend.

The agent's own code writes the tables, on the real kernel; rows, indices and ranges are recycled under the readers. Two
million by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it twenty.
"""

import json
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from agent.datapath.datapath import Datapath
from agent.ir.identity import Workload
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import Config, Mode, PodFlag, Protocol, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from agent.translate.slots import alias_table
from support.datapath.node import Node, start

pytestmark = pytest.mark.bpf
CONNECTS = int(20_000_000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
CLIENTS = 2
FRONTENDS = 1000
WEIGHTS = ((1, 1), (9, 1), (1, 0), (0, 1), (999, 1))


@pytest.fixture
def client(node: Node, tmp_path: Path) -> Path:
    """The compiled client. Frontends and backends are local addresses of the namespace."""
    for network in ("10.96.0.0/16", "10.1.0.0/16"):
        subprocess.run(["ip", "-n", node.name, "route", "replace", "local", network, "dev", "lo"], check=True)
    program = tmp_path / "storm"
    subprocess.run(["tcc", "-o", program, Path(__file__).with_name("programs") / "storm.c"], check=True)
    return program


def name(number: int) -> FrontendName:
    return FrontendName(f"10.96.{number >> 8}.{number & 255}", 53, Protocol.UDP)


def plan(number: int, weights: tuple[int, int]) -> FrontendPlan:
    backends = [(address_bytes(f"10.1.{(2 * number + at) >> 8}.{(2 * number + at) & 255}"), 53) for at in (0, 1)]
    service = Key("Service", "storm", f"s{number}")
    return FrontendPlan(service, Mode.L4, alias_table(dict(zip(backends, weights, strict=True))))


def churn(datapath: Datapath, choose: random.Random) -> int:
    """Some frontends are deleted, some come back, some get other weights; says how many changed."""
    numbers = choose.sample(range(FRONTENDS), 20)
    gone = [name(number) for number in numbers[:6] if name(number) in datapath.desired]
    changed = {name(number): plan(number, choose.choice(WEIGHTS)) for number in numbers[6:]}
    datapath.want_frontends(changed, gone)
    datapath.apply(WaypointState({}))
    return len(gone) + len(changed)


def test_nobody_gets_a_backend_of_another_service(node: Node, client: Path) -> None:
    folder = node.kubepods / "podstorm"
    argv = [str(client), str(CONNECTS // CLIENTS)]
    datapath = Datapath(node.kernel, Config(first_level=node.levels[0], last_level=node.levels[1]), time.monotonic)
    datapath.adopt()
    datapath.want_frontends({name(number): plan(number, (1, 1)) for number in range(FRONTENDS)}, [])
    folder.mkdir()
    workload = Workload("storm", "client", "client", "latest")
    pod = PodPlan(Key("Pod", "storm", "client"), "storm", Mode.L4, PodFlag.NONE, (), workload)
    datapath.want_pods({folder.stat().st_ino: pod})
    while datapath.pending:
        datapath.apply(WaypointState({}))
    choose, changes = random.Random(7), 0
    running = [
        start(folder / f"c{number}", node.name, *argv, str(number), stdout=subprocess.PIPE) for number in range(CLIENTS)
    ]
    while any(process.poll() is None for process in running):
        changes += churn(datapath, choose)
    found = [json.loads(process.communicate()[0]) for process in running]
    reached, untouched, refused, wrong = (sum(column) for column in zip(*found, strict=True))
    print(f"{changes} changes; {reached} reached, {untouched} untouched, {refused} refused, {wrong} wrong")
    assert (refused, wrong) == (0, 0)
    assert reached + untouched == CONNECTS
    assert untouched > 0
    assert changes > 100
    datapath.want_frontends({}, list(datapath.desired))
    datapath.want_pods({})
    datapath.apply(WaypointState({}))
