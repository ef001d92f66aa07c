"""Nodes that replace their keys, whatever the order of their steps: each sends only what the other can decrypt."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agent.encryption.plan import in_step, make_plan, sending, wanted_generations
from agent.encryption.retirement import RETIRE_SECONDS, InUse
from agent.encryption.values import Device, Member, Observed, PeerState, port_of
from agent.ir.addresses import Addresses
from agent.model.parameters import MeshEncryption
from agent.model.weft_node import TunnelKey, Tunnels

# Seconds from one step of all nodes to the next, and until reports have arrived.
ROUND = RETIRE_SECONDS / 3


@dataclass
class FakeNode:
    """A node whose kernel is a value."""

    number: int
    encryption: MeshEncryption
    made: int = 0
    observed: Observed = field(default_factory=Observed)
    in_use: InUse = field(default_factory=InUse)

    @property
    def member(self) -> Member:
        keys = tuple(
            TunnelKey(generation, device.public_key, port_of(generation))
            for generation, device in sorted(self.observed.devices.items())
        )
        tunnels = Tunnels(keys, tuple(sorted(sending(self.observed))))
        return Member(f"n{self.number}", Addresses(f"10.0.0.{self.number}"), (f"10.244.{self.number}.0/24",), tunnels)

    def step(self, others: list[Member], now: float) -> bool:
        """One pass over the kernel; returns whether anything changed."""
        theirs = {generation for other in others for generation in other.tunnels.sending}
        sent = self.in_use.note(theirs | sending(self.observed), now)
        wanted = wanted_generations(self.encryption.key_generation, self.observed.devices, sent)
        plan = make_plan(self.encryption, self.member, others, wanted, self.observed)
        changed = not in_step(plan, self.observed)
        devices = {}
        for generation, peers in plan.devices.items():
            before = self.observed.devices.get(generation)
            self.made += before is None
            public_key = before.public_key if before else f"n{self.number}-{self.made}"
            known = before.peers if before else {}
            states = {key: known[key] if key in known else PeerState(peer, 0, 0, 0) for key, peer in peers.items()}
            devices[generation] = Device(generation, public_key, 0, states)
        self.observed = Observed(devices, plan.routes, plan.rules)
        return changed


def shake_hands(nodes: list[FakeNode]) -> None:
    """A handshake where both have the key of the other."""
    for one in nodes:
        for generation, device in one.observed.devices.items():
            for other in nodes:
                theirs = other.observed.devices.get(generation)
                if theirs and theirs.public_key in device.peers and device.public_key in theirs.peers:
                    state = device.peers[theirs.public_key]
                    device.peers[theirs.public_key] = state._replace(handshake=1)


def check_nothing_lost(nodes: list[FakeNode]) -> None:
    """The other end of each tunnel that packets are sent into has the device with this node as a peer."""
    for one in nodes:
        for route in one.observed.routes:
            for generation, device in one.observed.devices.items():
                if route.device and device.public_key and route.device.endswith(str(generation % 2)):
                    (other,) = (node for node in nodes if node.member.cidrs == (route.to,))
                    assert generation in other.observed.devices, (one.number, other.number)
                    assert device.public_key in other.observed.devices[generation].peers


@given(st.integers(2, 4), st.lists(st.integers(0, 3), max_size=12), st.randoms(use_true_random=False))
def test_nothing_is_lost_while_keys_are_replaced(count: int, changes: list[int], random) -> None:  # type: ignore[no-untyped-def]
    """Each node hears of a new generation when it hears of it; its reports arrive a round later."""
    nodes = [FakeNode(number, MeshEncryption("Pods")) for number in range(1, count + 1)]
    reported = [node.member for node in nodes]
    rounds = 0

    def one_round() -> bool:
        nonlocal reported, rounds
        rounds += 1
        before, changed = reported, False
        reported = [node.member for node in nodes]
        for node in random.sample(nodes, len(nodes)):
            others = [member for member in before if member.name != f"n{node.number}"]
            changed |= node.step(others, rounds * ROUND)
            check_nothing_lost(nodes)
            shake_hands(nodes)
        return changed

    for _ in range(4):
        one_round()
    for chosen in changes:
        node = nodes[chosen % count]
        newest = max(other.encryption.key_generation for other in nodes)
        generation = min(newest + 1, node.encryption.key_generation + 1)
        node.encryption = MeshEncryption("Pods", key_generation=generation)
        one_round()
    final = max(node.encryption.key_generation for node in nodes)
    for node in nodes:
        node.encryption = MeshEncryption("Pods", key_generation=final)
    for _ in range(20 * (final + 1)):
        one_round()
    assert not one_round()
    for node in nodes:
        assert list(node.observed.devices) == [final]
        assert len([route for route in node.observed.routes if route.device]) == count - 1
