"""Pods whose first instruction is a connect, on a node with either layout of the kubelet's cgroups."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.ir.tables import Mode, Reason
from agent.lab import lifecycle
from agent.lab.paths import LabPaths
from support.node.first_node import CLUSTER, DENIED, LAYOUTS, MESH, QOS, FirstNode, FirstPod, pods, printed, services

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
PODS, AT_ONCE, SERVICES = 800, 50, 10_000
WHOLE = os.environ.get("WEFT_TEST_SCALE") == "1"
ALONE, AWAY = 20, 10.0 if WHOLE else 2.0  # pods, seconds
POLICIES = {"pass": (CLUSTER, Reason.UNKNOWN_POD), "reject": (DENIED, Reason.UNKNOWN_POD_REJECTED)}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the containers run: so small that they connect at once."""
    made = tmp_path_factory.mktemp("first") / "first"
    subprocess.run(["tcc", "-o", made, HERE / "programs" / "first.c"], check=True)
    return made


@pytest.fixture(params=LAYOUTS)
def node(request: pytest.FixtureRequest, no_stale_labs: None, program: Path) -> Iterator[FirstNode]:
    paths = LabPaths(f"t{os.getpid()}first")
    try:
        made = FirstNode(paths, request.param, program)
        made.make()
        with made.servers():
            yield made
    finally:
        lifecycle.down(paths)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print figures."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return show


def test_none_escapes_while_thousands_of_services_come_and_go(node: FirstNode, show: Callable[[str], None]) -> None:
    """Pods start 50 at a time. Meanwhile all Services are created, deleted when all are there, and created again."""
    found = pods(PODS)
    node.schedule(found)
    node.start_agent()
    node.write("services", services(SERVICES))
    begun, wanted, there, reached = time.monotonic(), SERVICES, [0], []
    with node.kernel() as kernel:
        for start in range(0, PODS, AT_ONCE):
            now = found[start : start + AT_ONCE]
            reached += node.begin(now)
            there.append(len(kernel.frontends.load()) - 1)
            for pod in now:
                node.end(pod)
            if there[-1] == wanted:
                wanted = SERVICES - wanted
                node.write("services", services(wanted))
    took = time.monotonic() - begun
    show(f"{PODS} pods in {took:.1f} s; Services there at each fifty: {there}")
    assert [at for at in reached if at != MESH] == [], f"Services at each fifty: {there}"
    assert node.decisions(Reason.UNKNOWN_POD) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_pods_that_no_agent_saw_start_are_counted_and_join_when_it_is_back(
    policy: str, node: FirstNode, show: Callable[[str], None]
) -> None:
    reaches, reason = POLICIES[policy]
    known, *alone = pods(1 + ALONE)
    node.schedule([known, *alone])
    node.start_agent("--unknown-pods", policy)
    assert node.begin([known]) == [MESH]
    node.kill_agent()
    for pod in alone:
        assert node.begin([pod]) == [reaches]
        time.sleep(AWAY / ALONE)
    assert printed(node.run(known)) == MESH, "the datapath outlives the agent"
    took = node.start_agent("--unknown-pods", policy)
    with node.kernel() as kernel:
        rows = kernel.pods.load()
    show(f"{ALONE} pods without an agent for {AWAY:.0f} s: in the mesh as it is ready, {took:.1f} s after its start")
    assert {rows[node.cgroup_id(pod)].mode for pod in alone} == {Mode.L4}
    assert [printed(node.run(pod)) for pod in alone] == [MESH] * ALONE
    assert node.decisions(reason) == ALONE


def test_static_pods_join_when_their_mirrors_are_there_and_then_from_the_first_instruction(node: FirstNode) -> None:
    """The kubelet runs them from files: before the API server knows them, and in the same cgroups again later."""
    static = [FirstPod(f"static-{qos}", qos, static=True) for qos in QOS]
    node.start_agent()
    assert node.begin(static) == [CLUSTER] * len(static)
    node.schedule(static)
    with node.kernel() as kernel:
        ids = {node.cgroup_id(pod) for pod in static}
        lifecycle.wait_for("their mirrors are known", lambda: ids <= kernel.pods.load().keys(), 20)
        assert [printed(node.run(pod)) for pod in static] == [MESH] * len(static)
        for pod in static:
            node.end(pod)
        lifecycle.wait_for("they are forgotten", lambda: not kernel.pods.load(), 20)
    assert node.begin(static) == [MESH] * len(static)
    assert node.decisions(Reason.UNKNOWN_POD) == len(static)
