"""The controller of tunnels: when it looks at the kernel, and what it reports, with a network in memory."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from agent.encryption.members import NO_CIDRS
from agent.encryption.values import Device, Observed, PeerState, Plan
from agent.ir.addresses import Addresses
from agent.ir.identity import Workload
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.kernel.netns.client import NetnsClient, NetnsError
from agent.kernel.tunnels import UnsupportedError
from agent.model.change import Upsert
from agent.model.core import Node, NodeAddress, NodeSpec, NodeStatus
from agent.model.facts import NodeReport
from agent.model.meta import Key, ObjectMeta
from agent.model.parameters import MeshEncryption, MeshParameters, MeshParametersSpec
from agent.model.weft_node import TunnelKey, Tunnels
from agent.node import encryption_controller
from agent.node.encryption_controller import NO_NODE, NOT_INSTALLED, EncryptionController
from agent.node.encryption_status import MOST_NODES, encryption_document, silent
from agent.settings import Settings
from agent.store.store import Store

PODS, OFF = MeshEncryption("Pods"), MeshEncryption("Off")
STRICT = MeshEncryption("Strict", ("10.244.0.0/16",))
SECOND_KEY = TunnelKey(1, "theirs", 51872)


class FakeNetwork:
    """A kernel in which each peer answers `at` a time, in seconds since 1970."""

    def __init__(self) -> None:
        self.observed = Observed()
        self.plans: list[Plan] = []
        self.looks = 0
        self.at = 100
        self.failure: Exception | None = None
        self.outside: dict[str, str] = {}
        self.scripted: list[dict[str, str]] = []

    def observe(self, _: Addresses) -> Observed:
        self.looks += 1
        return self.observed

    def reached_outside(self, _: Addresses, addresses: Iterable[str]) -> dict[str, str]:
        outside = self.scripted.pop(0) if self.scripted else self.outside
        return {address: outside[address] for address in addresses if address in outside}

    def apply(self, plan: Plan, _: Observed) -> None:
        self.plans.append(plan)
        made = {} if isinstance(self.failure, UnsupportedError) else plan.devices
        devices = {
            generation: Device(generation, "ours", 0, {key: PeerState(it, self.at, 5, 6) for key, it in peers.items()})
            for generation, peers in made.items()
        }
        self.observed = Observed(devices, plan.routes, plan.rules)
        if self.failure:
            raise self.failure

    @contextmanager
    def open(self, _: NetnsClient) -> Iterator["FakeNetwork"]:
        yield self


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption_controller, "LOOK_SECONDS", 0.001)


def node(name: str, number: int, *cidrs: str) -> Upsert:
    status = NodeStatus((NodeAddress(f"10.0.0.{number}", "InternalIP"),))
    return Upsert(Node(ObjectMeta(name), status, NodeSpec(cidrs)))


def parameters(encryption: MeshEncryption) -> Upsert:
    return Upsert(MeshParameters(ObjectMeta("default"), MeshParametersSpec(encryption=encryption)))


NODES = [node("n1", 1, "10.244.1.0/24"), node("n2", 2, "10.244.2.0/24")]
REPORT = Upsert(NodeReport("n2", tunnels=Tunnels((SECOND_KEY,))))


class Running:
    """A controller that runs, and what it reported."""

    def __init__(self, network: FakeNetwork, *changes: Upsert, installed: bool = True) -> None:
        self.store = Store()
        self.store.apply(changes)
        self.pods: dict[int, PodPlan] = {}
        self.drifted: list[int] = []
        self.reports = 0
        settings, helper = Settings(Path(), node="n1", encryption=installed), NetnsClient(Path("nowhere"))
        self.controller = EncryptionController(
            self.store, settings, helper, lambda: self.pods, self.drifted.append, network.open
        )

    async def __aenter__(self) -> "Running":
        self._task = asyncio.ensure_future(self.controller.run(lambda: True, self._report))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _report(self) -> None:
        self.reports += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.001)

    async def passes(self, count: int = 3) -> None:
        """Let the controller look so often."""
        for _ in range(count):
            await asyncio.sleep(0.01)

    @property
    def document(self) -> dict[str, Any]:
        return encryption_document(self.controller, 130)


async def test_off_looks_at_the_kernel_until_it_has_nothing_and_then_no_more(network: FakeNetwork) -> None:
    async with Running(network, parameters(OFF), *NODES, REPORT) as running:
        await running.until(lambda: network.looks == 1)
        await running.passes()
    assert (network.looks, network.plans, running.reports, running.controller.tunnels) == (1, [], 1, None)
    assert running.document == {
        "mode": "Off",
        "keyGeneration": 1,
        "podCIDRs": [],
        "ownCIDRs": ["10.244.1.0/24"],
        "unsupported": "",
        "error": "",
        "nodes": [],
    }


async def test_an_agent_without_the_option_never_looks_and_says_so(network: FakeNetwork) -> None:
    async with Running(network, parameters(STRICT), *NODES, installed=False) as running:
        await running.until(lambda: running.reports == 1)
        await running.passes()
    assert network.looks == 0
    assert running.controller.tunnels == Tunnels(unsupported=NOT_INSTALLED)


async def test_nothing_is_done_before_the_sources_have_synced(network: FakeNetwork) -> None:
    running = Running(network, parameters(PODS), *NODES)
    synced = False
    task = asyncio.ensure_future(running.controller.run(lambda: synced, lambda: None))
    await running.passes()
    assert network.looks == 0
    synced = True
    async with asyncio.timeout(30):
        while not network.plans:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_tunnel_is_made_reported_and_shown(network: FakeNetwork) -> None:
    async with Running(network, parameters(PODS), *NODES, REPORT) as running:
        await running.until(lambda: bool(running.controller.tunnels and running.controller.tunnels.sending))
        assert running.controller.tunnels == Tunnels((TunnelKey(1, "ours", 51872),), (1,))
        (shown,) = running.document["nodes"]
        assert shown == {
            "node": "n2",
            "packets": "encrypted",
            "keyGeneration": 1,
            "theirGenerations": [],
            "podCIDRs": ["10.244.2.0/24"],
            "handshakeSeconds": 30,
            "received": 5,
            "sent": 6,
            "unsupported": "",
        }
        assert encryption_document(running.controller, 281)["nodes"][0]["packets"] == "silent"
        running.store.apply([parameters(OFF)])
        await running.until(lambda: running.controller.tunnels is None)
        # Others may still send: the device stays for a while, without routes.
        await running.until(lambda: not network.observed.routes)
        assert network.observed.devices
        assert network.observed.rules == frozenset()


async def test_in_strict_another_node_without_a_key_is_refused(network: FakeNetwork) -> None:
    why = Tunnels(unsupported="no WireGuard")
    async with Running(network, parameters(STRICT), *NODES, Upsert(NodeReport("n2", tunnels=why))) as running:
        await running.until(lambda: bool(network.plans) and bool(running.document["nodes"]))
        (shown,) = running.document["nodes"]
        assert (shown["packets"], shown["unsupported"]) == ("refused", "no WireGuard")
        running.store.apply([parameters(PODS)])
        await running.until(lambda: running.document["mode"] == "Pods")
        assert running.document["nodes"][0]["packets"] == "plain"


async def test_a_kernel_without_wireguard_is_not_asked_each_time(network: FakeNetwork) -> None:
    network.failure = UnsupportedError()
    async with Running(network, parameters(STRICT), *NODES, REPORT) as running:
        await running.until(lambda: running.controller.unsupported == "the kernel has no WireGuard")
        network.failure = None
        await running.passes()
        assert {tuple(plan.devices) for plan in network.plans[1:]} <= {()}
        assert any(rule.refuse for rule in network.observed.rules)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (NODES[1:], NO_NODE),
        ([node("n1", 1), NODES[1]], NO_CIDRS),
    ],
)
async def test_what_the_node_lacks_is_named(network: FakeNetwork, changes: list[Upsert], why: str) -> None:
    async with Running(network, parameters(STRICT), *changes, REPORT) as running:
        await running.until(lambda: running.controller.unsupported == why)
        await running.passes()
        assert not any(plan.devices for plan in network.plans)


async def test_pods_with_addresses_of_other_ranges_are_named(network: FakeNetwork) -> None:
    async with Running(network, parameters(PODS), *NODES) as running:
        await running.until(lambda: running.document["mode"] == "Pods")
        assert running.controller.unsupported == ""
        pod = PodPlan(Key("Pod", "a", "b"), "a", Mode.NONE, PodFlag(0), ("10.244.1.9",), Workload("a", "b", "b", ""))
        running.pods = {1: pod, 2: replace(pod, addresses=(), flags=PodFlag.L4_ONLY)}
        assert running.controller.unsupported == ""
        running.pods[3] = replace(pod, addresses=("192.168.0.1",))
        assert running.controller.unsupported.endswith("spec.podCIDRs: 1, one is a/b")


async def test_pods_that_the_node_does_not_route_are_named_when_they_are_found_twice(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption_controller, "ASK_SECONDS", 0.0)
    async with Running(network, parameters(PODS), *NODES) as running:
        pod = PodPlan(Key("Pod", "a", "b"), "a", Mode.NONE, PodFlag(0), ("10.244.1.9",), Workload("a", "b", "b", ""))
        running.pods = {1: pod, 2: replace(pod, addresses=("10.244.1.8",))}
        network.outside = {"10.244.1.9": "eth0", "10.244.1.7": "eth0"}
        await running.until(lambda: "macvlan or ipvlan: 1, one is a/b" in running.controller.unsupported)
        assert (running.controller.tunnels or Tunnels()).unsupported == running.controller.unsupported
        network.outside = {}
        await running.until(lambda: not running.controller.unsupported)
        before = running.reports
        network.scripted = [{"10.244.1.9": "eth0"}, {}] * 5
        await running.until(lambda: not network.scripted)
        await running.passes()
    assert running.reports == before


async def test_what_others_change_is_restored_and_counted(network: FakeNetwork) -> None:
    async with Running(network, parameters(STRICT), *NODES) as running:
        await running.until(lambda: bool(network.plans))
        await running.passes()
        network.observed = replace(network.observed, rules=frozenset())
        await running.until(lambda: running.drifted == [1])
        await running.until(lambda: bool(network.observed.rules))


async def test_a_failure_is_shown_until_it_is_over(network: FakeNetwork) -> None:
    network.failure = NetnsError("no helper")
    async with Running(network, parameters(STRICT), *NODES) as running:
        assert running.controller.tunnels is UNSET
        await running.until(lambda: running.document["error"] == "no helper")
        network.failure = None
        await running.until(lambda: running.document["error"] == "")


def test_silent_nodes_are_named_the_longest_silent_first() -> None:
    def row(number: int, packets: str, age: float | None) -> dict[str, Any]:
        return {"node": f"n{number}", "packets": packets, "handshakeSeconds": age}

    nodes = [row(0, "encrypted", 500), row(1, "silent", 200.7), row(2, "silent", None), row(3, "refused", None)]
    assert silent(nodes) == {"n1": 200, "n2": 180}
    assert list(silent(row(n, "silent", 200 + n) for n in range(30))) == [
        f"n{n}" for n in range(29, 29 - MOST_NODES, -1)
    ]
