"""Tables through their pins: what is written is read back, a full table says so, what is gone may be deleted again."""

import time
from errno import E2BIG

import pytest

from agent.datapath.datapath import Datapath
from agent.datapath.frontends import frontend_key
from agent.ir.authorization import GrantKey, PeerRow
from agent.ir.identity import Workload
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.tables import Config, FrontendKey, Mode, PodFlag, PodRow, Protocol, ServiceRow, Slot, address_bytes
from agent.ir.waypoint_state import WaypointState
from agent.kernel.maps import open_kernel
from agent.model.meta import Key
from agent.translate.slots import alias_table
from support.datapath.decision_cases import TO_FIRST, TO_SECOND
from support.datapath.node import VIP, Node

pytestmark = pytest.mark.bpf


def test_stored_actions_are_read_back(node: Node) -> None:
    node.kernel.actions.upsert({0: TO_FIRST, 131071: TO_SECOND})
    loaded = node.kernel.actions.load()
    assert (loaded[0], loaded[131071]) == (TO_FIRST, TO_SECOND)
    node.kernel.actions.delete([0, 131071])
    assert not {0, 131071} & node.kernel.actions.load().keys()


def test_many_frontends_are_read_back(node: Node) -> None:
    address = address_bytes(VIP["4"])
    rows = {FrontendKey(space, address, 80, Protocol.TCP): space for space in range(20_000)}
    node.kernel.frontends.delete(node.kernel.frontends.load())
    node.kernel.frontends.upsert(rows)
    assert node.kernel.frontends.load() == rows
    node.kernel.frontends.delete(rows)
    assert node.kernel.frontends.load() == {}
    node.kernel.frontends.delete(list(rows)[:3])


def test_servers_peers_and_grants_are_read_back(node: Node) -> None:
    kernel = node.kernel
    servers = {address_bytes(VIP["4"]): 5, address_bytes(VIP["6"]): (1 << 64) - 1}
    peers = {
        address_bytes(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"): PeerRow(number, 7)
        for number in range(70_000)
    }
    grants = {GrantKey(5, number, number & 65_535): True for number in range(70_000)}
    for table, rows in ((kernel.servers, servers), (kernel.peers, peers), (kernel.grants, grants)):
        table.upsert(rows)
        assert table.load() == rows
        table.delete(rows)
        assert table.load() == {}


def test_a_full_table_keeps_what_fits(node: Node) -> None:
    pods = node.kernel.pods
    pods.delete(pods.load())
    rows = {cgroup_id: PodRow(1, Mode.L4) for cgroup_id in range(1, pods.capacity + 2)}
    with pytest.raises(OSError, match="bpf_map_update_batch") as caught:
        pods.upsert(rows)
    assert caught.value.errno == E2BIG
    assert len(pods.load()) == pods.capacity
    pods.delete(rows)


def test_pods_that_do_not_fit_keep_nothing_else_from_the_kernel(node: Node) -> None:
    """Through the agent's own code: the rest is written, and who has no row gets one when another pod leaves."""
    kernel = node.kernel
    kernel.pods.delete(kernel.pods.load())
    datapath = Datapath(kernel, Config(first_level=node.levels[0], last_level=node.levels[1]), time.monotonic)
    datapath.adopt()
    workload = Workload("full", "web", "web", "latest")
    pods = {
        number: PodPlan(Key("Pod", "full", f"p{number}"), "full", Mode.L4, PodFlag.NONE, (), workload)
        for number in range(1, kernel.pods.capacity + 3)
    }
    name = FrontendName("10.96.200.1", 80, Protocol.TCP)
    slots = alias_table({(address_bytes("10.1.200.1"), 80): 1})
    datapath.want_frontends({name: FrontendPlan(Key("Service", "full", "web"), Mode.L4, slots)}, [])
    datapath.want_pods(pods)
    while datapath.pending:
        datapath.apply(WaypointState({}))
    without = {f"Pod full/p{number}" for number in (kernel.pods.capacity + 1, kernel.pods.capacity + 2)}
    assert (datapath.failures.keys(), len(kernel.pods.load())) == (without, kernel.pods.capacity)
    assert frontend_key(name) in kernel.frontends.load()
    del pods[1], pods[2]
    datapath.want_pods(pods)
    datapath.apply(WaypointState({}))
    assert (datapath.failures, kernel.pods.load().keys()) == ({}, pods.keys())
    datapath.want_frontends({}, [name])
    datapath.want_pods({})
    datapath.apply(WaypointState({}))


def test_a_namespace_that_wants_all_slots_keeps_no_change_of_others_from_the_kernel(node: Node) -> None:
    """270 ports of 1000 endpoints each, and 160 ports of one: more slots than there are."""
    kernel = node.kernel
    kernel.frontends.delete(kernel.frontends.load())
    datapath = Datapath(kernel, kernel.configuration(), time.monotonic)
    datapath.adopt()
    evil = [FrontendName(f"10.96.{150 + number // 250}.{number % 250}", 80, Protocol.TCP) for number in range(430)]
    victim = FrontendName("10.96.200.1", 80, Protocol.TCP)
    large, small = (
        alias_table({(address_bytes(f"10.2.{number // 250}.{number % 250}"), 80): 1 for number in range(endpoints)})
        for endpoints in (1000, 1)
    )

    def want(namespace: str, plans: dict[FrontendName, tuple[Slot, ...]]) -> None:
        service = Key("Service", namespace, "web")
        datapath.want_frontends({name: FrontendPlan(service, Mode.L4, slots) for name, slots in plans.items()}, [])
        while datapath.pending:
            datapath.apply(WaypointState({}))

    want("victim", {victim: small})
    want("evil", dict.fromkeys(evil[:270], large))
    want("evil", dict.fromkeys(evil[270:], small))
    moved = alias_table({(address_bytes("10.1.200.2"), 80): 1, (address_bytes("10.1.200.3"), 80): 1})
    want("victim", {victim: moved})
    action = kernel.actions.load()[2 * kernel.frontends.load()[frontend_key(victim)]]
    slots = kernel.slots.load()
    assert tuple(slots[action.base + column] for column in range(action.count)) == moved
    assert len(slots) <= kernel.slots.capacity // 2 + len(small) + len(moved)
    assert set(datapath.failures) <= set(map(str, evil))
    assert "namespace evil" in next(iter(datapath.failures.values()))
    datapath.want_frontends({}, [*evil, victim])
    datapath.apply(WaypointState({}))
    kernel.slots.delete(slots)


def test_arrays_show_only_what_was_written(node: Node) -> None:
    last = node.kernel.slots.capacity - 1
    slot = Slot(address_bytes(VIP["6"]), 1, False, 3, 1 << 32)
    node.kernel.slots.upsert({5000: slot, last: slot})
    node.kernel.services.upsert({65_535: ServiceRow(9, 8, 7)})
    slots, services = node.kernel.slots.load(), node.kernel.services.load()
    assert (slots[5000], slots[last], services[65_535]) == (slot, slot, ServiceRow(9, 8, 7))
    node.kernel.slots.delete([5000, last])
    node.kernel.services.delete([65_535])
    assert not {5000, last} & node.kernel.slots.load().keys()
    assert 65_535 not in node.kernel.services.load()


def test_a_second_agent_reads_the_configuration_of_the_first(node: Node) -> None:
    for level in (3, 5, 4):
        config = Config(address_bytes("10.0.9.9"), address_bytes("fd00:9::9"), level, level + 1)
        node.kernel.configure(config)
        second = open_kernel(node.pins)
        assert second.configuration() == config
        second.close()
