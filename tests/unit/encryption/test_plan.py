"""The plan of a node's tunnels."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.encryption.plan import has_answered, in_step, make_plan, wanted_generations
from agent.encryption.values import DEVICES, TABLE, Device, Member, Observed, Peer, PeerState, Plan, Route, Rule
from agent.ir.addresses import Addresses, Family
from agent.model.parameters import MeshEncryption
from agent.model.weft_node import TunnelKey, Tunnels

OWN = Member("n1", Addresses("10.0.0.1"), ("10.244.1.0/24", "fd00:1::/64"))
PODS = MeshEncryption("Pods")
STRICT = MeshEncryption("Strict", ("10.244.0.0/16", "fd00::/16"))


def key(generation: int, name: str) -> TunnelKey:
    return TunnelKey(generation, f"{name}-{generation}", 51871)


def member(number: int, *generations: int) -> Member:
    name = f"n{number}"
    keys = tuple(key(generation, name) for generation in generations)
    return Member(name, Addresses(f"10.0.0.{number}"), (f"10.244.{number}.0/24", f"fd00:{number}::/64"), Tunnels(keys))


def peer(other: Member, generation: int) -> Peer:
    (address,) = other.endpoints
    return Peer(f"{other.name}-{generation}", address, 51871, frozenset(other.cidrs))


def observed(others: list[Member], *generations: int, answered: bool = True) -> Observed:
    """Devices with all others as peers."""
    devices = {}
    for generation in generations:
        peers = {
            it.public_key: PeerState(it, int(answered), 0, 0) for it in (peer(other, generation) for other in others)
        }
        devices[generation] = Device(generation, f"own-{generation}", 1420, peers)
    return Observed(devices, uplink=1500)


def device_routes(plan: Plan) -> dict[str, str]:
    return {route.to: route.device for route in plan.routes if route.device}


def refused(plan: Plan) -> set[str]:
    return {route.to for route in plan.routes if not route.device}


def test_a_node_with_a_key_is_a_peer_and_gets_packets_only_after_a_handshake() -> None:
    other = member(2, 1)
    silent = make_plan(PODS, OWN, [other], [1], observed([other], 1, answered=False))
    assert silent.devices == {1: {"n2-1": peer(other, 1)}}
    assert not silent.routes
    answered = make_plan(PODS, OWN, [other], [1], observed([other], 1))
    assert device_routes(answered) == dict.fromkeys(other.cidrs, "weft-wg1")
    assert answered.mtu == 1420


def test_of_a_replaced_key_the_handshake_does_not_count() -> None:
    before, after = member(2, 1), member(2, 1)._replace(tunnels=Tunnels((TunnelKey(1, "another", 51871),)))
    plan = make_plan(PODS, OWN, [after], [1], observed([before], 1))
    assert set(plan.devices[1]) == {"another"}
    assert not plan.routes
    assert not has_answered(observed([before], 1), 1, "another")


@pytest.mark.parametrize(
    "other",
    [
        member(2),
        member(2, 2),
        member(2, 1)._replace(endpoints=Addresses(ipv6="fd01::2")),
        member(2, 1)._replace(endpoints=Addresses()),
        member(2, 1)._replace(cidrs=()),
    ],
    ids=["no key", "another generation", "no common family", "no address", "no pods"],
)
def test_a_node_that_cannot_be_reached_is_no_peer_and_in_strict_refused(other: Member) -> None:
    assert make_plan(PODS, OWN, [other], [1], observed([], 1)).devices == {1: {}}
    plan = make_plan(STRICT, OWN, [other], [1], observed([], 1))
    assert not device_routes(plan)
    assert refused(plan) == {"10.244.0.0/16", "fd00::/16"}


def test_strict_refuses_also_what_no_range_of_the_cluster_has() -> None:
    far = member(2)._replace(cidrs=("192.168.2.0/24",))
    plan = make_plan(STRICT, OWN, [far], [], Observed())
    assert refused(plan) == {"10.244.0.0/16", "fd00::/16", "192.168.2.0/24"}
    assert Rule(Family.IPV4, 113, "192.168.2.0/24", "10.244.1.0/24", refuse=True) in plan.rules


def test_a_key_that_two_nodes_claim_stays_with_the_one_that_has_it() -> None:
    honest, thief = member(2, 1), member(3, 1)._replace(tunnels=Tunnels((key(1, "n2"),)))
    plan = make_plan(PODS, OWN, [thief, honest], [1], observed([honest], 1))
    assert plan.devices == {1: {"n2-1": peer(honest, 1)}}
    assert device_routes(plan) == dict.fromkeys(honest.cidrs, "weft-wg1")
    assert make_plan(PODS, OWN, [thief, honest], [1], observed([], 1)).devices == {1: {}}


def test_a_node_that_claims_the_key_of_this_one_is_no_peer() -> None:
    thief = member(2)._replace(tunnels=Tunnels((TunnelKey(1, "own-1", 51871),)))
    assert make_plan(PODS, OWN, [thief], [1], observed([], 1)).devices == {1: {}}


def test_the_rules_in_pods_and_in_strict() -> None:
    four = OWN._replace(cidrs=("10.244.1.0/24",))
    pods = {
        Rule(Family.IPV4, 110, "10.244.1.0/24", "10.244.1.0/24", goto=114),
        *(Rule(Family.IPV4, 111, "", "10.244.1.0/24", device, goto=114) for device in DEVICES),
        Rule(Family.IPV4, 112, "10.244.1.0/24", table=TABLE),
        Rule(Family.IPV4, 114),
    }
    assert make_plan(PODS, four, [], [1], Observed()).rules == pods
    plain = Rule(Family.IPV4, 113, "10.244.0.0/16", "10.244.1.0/24", refuse=True)
    assert make_plan(STRICT, four, [], [1], Observed()).rules == pods | {plain}


def test_while_keys_are_replaced_packets_take_the_new_one_as_soon_as_it_answers() -> None:
    new = MeshEncryption("Pods", key_generation=2)
    both, old = member(2, 1, 2), member(3, 1)
    found = observed([both, old], 1)
    assert set(device_routes(make_plan(new, OWN, [both, old], [1, 2], found)).values()) == {"weft-wg1"}
    found = Observed(found.devices | observed([both], 2).devices)
    routes = device_routes(make_plan(new, OWN, [both, old], [1, 2], found))
    assert {routes[cidr] for cidr in both.cidrs} == {"weft-wg0"}
    assert {routes[cidr] for cidr in old.cidrs} == {"weft-wg1"}


@pytest.mark.parametrize(
    ("target", "present", "sent", "wanted"),
    [
        (5, [], [], {5}),
        (1, [1], [1], {1}),
        (2, [1], [1], {1, 2}),
        (2, [1, 2], [1], {1, 2}),
        (2, [1, 2], [1, 2], {1, 2}),
        (2, [1, 2], [2], {2}),
        (4, [1], [1], {1, 2}),
        (4, [1, 2], [1, 2], {1, 2}),
        (4, [1, 2], [2], {2}),
        (1, [3], [3], {2, 3}),
    ],
)
def test_generations_are_replaced_one_by_one(
    target: int, present: list[int], sent: list[int], wanted: set[int]
) -> None:
    assert wanted_generations(target, present, sent) == wanted


NODES = st.integers(2, 6)


@given(st.lists(st.tuples(NODES, st.sets(st.integers(1, 2))), max_size=5, unique_by=lambda item: item[0]), st.data())
def test_in_strict_every_packet_to_a_pod_is_encrypted_or_refused(
    nodes: list[tuple[int, set[int]]], data: st.DataObject
) -> None:
    """Whatever keys nodes have and whoever has answered: a range has one device at most, and is refused too."""
    others = [member(number, *sorted(generations)) for number, generations in nodes]
    answered = [other for other in others if data.draw(st.booleans())]
    plan = make_plan(STRICT, OWN, others, [1, 2], observed(answered, 1, 2))
    into = [route.to for route in plan.routes if route.device]
    assert len(into) == len(set(into))
    assert refused(plan) == {"10.244.0.0/16", "fd00::/16"}
    reachable = {cidr for other in answered if other.tunnels.keys for cidr in other.cidrs}
    assert set(into) == reachable


def test_what_is_in_step() -> None:
    other = member(2, 1)
    found = observed([other], 1)
    plan = make_plan(PODS, OWN, [other], [1], found)
    assert not in_step(plan, found)
    done = replace(found, routes=plan.routes, rules=plan.rules)
    assert in_step(plan, done)
    assert not in_step(replace(plan, mtu=1300), done)
    assert not in_step(plan, replace(done, devices={}))
    assert not in_step(plan, replace(done, routes=done.routes | {Route("10.9.0.0/16")}))
