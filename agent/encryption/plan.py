"""The plan of a node. It depends on what the kernel has: a route follows the first handshake."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from itertools import chain

from agent.encryption.values import (
    DEVICES,
    PRIORITY,
    TABLE,
    Member,
    Observed,
    Peer,
    PeerState,
    Plan,
    Route,
    Rule,
    device_of,
)
from agent.ir.addresses import family_of
from agent.model.parameters import MeshEncryption

# WireGuard adds at most 80 bytes: IPv6, UDP, its header and its tag. IPv6 needs links of 1280 bytes.
OVERHEAD, LEAST_MTU = 80, 1280
_TOGETHER, _ARRIVED, _LEAVES, _PLAIN, _END = range(PRIORITY, PRIORITY + 5)


def wanted_generations(target: int, present: Iterable[int], sent: Iterable[int]) -> frozenset[int]:
    """The generations that a node should have devices of, one step towards `target`.

    `present` are those that it has. A generation stays while this node or another sends by it (`sent`).
    """
    if not present:
        return frozenset({target})
    newest = min(present, key=lambda generation: abs(target - generation))
    kept = {newest} | (set(present) & set(sent))
    if newest != target and set(present) == {newest}:
        kept.add(newest + (1 if target > newest else -1))
    return frozenset(kept)


def make_plan(
    encryption: MeshEncryption, own: Member, others: Sequence[Member], generations: Iterable[int], observed: Observed
) -> Plan:
    """What should be in the kernel of the node `own`, in mode Pods or Strict. Without `generations` it has no devices:
    in Strict its pods are then on their own.
    """
    strict = encryption.mode == "Strict"
    peers = {generation: _peers(generation, own, others, observed) for generation in generations}
    reachable = dict(_reachable(encryption.key_generation, others, peers, observed))
    routes = {Route(cidr, device_of(generation)) for cidr, generation in reachable.items()}
    refused: list[str] = []
    if strict:
        theirs = chain.from_iterable(other.cidrs for other in others)
        refused = list(_without_parts([*encryption.pod_cidrs, *theirs, *own.cidrs]))
        routes |= {Route(cidr) for cidr in refused}
    mtu = max(LEAST_MTU, observed.uplink - OVERHEAD) if observed.uplink else 0
    return Plan(peers, frozenset(routes), frozenset(_rules(own.cidrs, refused)), mtu)


def _peers(generation: int, own: Member, others: Sequence[Member], observed: Observed) -> dict[str, Peer]:
    """The peers of a device, by public key. Of nodes with one key only that stays which has it: one may pretend to."""
    device = observed.devices.get(generation)
    found = [peer for other in others for peer in _peer(generation, own, other)]
    claims = Counter(peer.public_key for peer in found)
    known = {state.peer.public_key: state.peer.allowed for state in device.peers.values()} if device else {}
    mine = device.public_key if device else ""
    return {
        peer.public_key: peer
        for peer in found
        if peer.public_key != mine and (claims[peer.public_key] == 1 or known.get(peer.public_key) == peer.allowed)
    }


def _peer(generation: int, own: Member, other: Member) -> Iterator[Peer]:
    """A node as a peer, if it has a key of the generation and an address of a family that this node has too."""
    common = [address for address in other.endpoints if family_of(address) in own.endpoints.families]
    for key in other.tunnels.keys:
        if key.generation == generation and common and other.cidrs:
            yield Peer(key.public_key, common[0], key.port, frozenset(other.cidrs))
            return


def _reachable(
    target: int, others: Sequence[Member], peers: Mapping[int, Mapping[str, Peer]], observed: Observed
) -> Iterator[tuple[str, int]]:
    """Each range that a tunnel leads to, and the generation nearest to `target` by which its node has answered."""
    for other in others:
        answered = [
            key.generation
            for key in other.tunnels.keys
            if (peer := peers.get(key.generation, {}).get(key.public_key)) and peer.allowed == frozenset(other.cidrs)
            if has_answered(observed, key.generation, key.public_key)
        ]
        if answered:
            best = min(answered, key=lambda generation: abs(target - generation))
            yield from ((cidr, best) for cidr in other.cidrs)


def sending(observed: Observed) -> frozenset[int]:
    """The generations by which a node sends to others."""
    into = {route.device for route in observed.routes}
    return frozenset(generation for generation in observed.devices if device_of(generation) in into)


def has_answered(observed: Observed, generation: int, public_key: str) -> bool:
    """Whether the peer of this key has this node's key of the generation: there was a handshake."""
    state = peer_state(observed, generation, public_key)
    return state is not None and state.handshake > 0


def peer_state(observed: Observed, generation: int, public_key: str) -> PeerState | None:
    """The peer with this key, of the device of a generation."""
    device = observed.devices.get(generation)
    return device.peers.get(public_key) if device else None


def _without_parts(cidrs: Iterable[str]) -> Iterator[str]:
    """The ranges that are in no other one, each once. A range that contains others comes directly before them."""
    last = None
    for network in sorted(
        set(map(ip_network, cidrs)), key=lambda it: (it.version, int(it.network_address), it.prefixlen)
    ):
        if last is None or network.version != last.version or not network.subnet_of(last):  # type: ignore[arg-type]
            last = network
            yield str(network)


def _rules(own: Sequence[str], refused: Sequence[str]) -> Iterator[Rule]:
    """In this order: pods of the node among themselves, packets that came through a tunnel, packets that leave, plain
    packets from other nodes' pods.
    """
    for family in sorted({family_of(cidr) for cidr in own}):
        local = [cidr for cidr in own if family_of(cidr) is family]
        for cidr in local:
            yield from (Rule(family, _TOGETHER, source, cidr, goto=_END) for source in local)
            yield from (Rule(family, _ARRIVED, "", cidr, device, goto=_END) for device in DEVICES)
            yield Rule(family, _LEAVES, cidr, table=TABLE)
            sources = (source for source in refused if family_of(source) is family)
            yield from (Rule(family, _PLAIN, source, cidr, refuse=True) for source in sources)
        yield Rule(family, _END)


def in_step(plan: Plan, observed: Observed) -> bool:
    """Whether the kernel has what the plan says."""
    peers = {
        number: {key: state.peer for key, state in device.peers.items()} for number, device in observed.devices.items()
    }
    mtus = {device.mtu for device in observed.devices.values()}
    same = (plan.devices, plan.routes, plan.rules) == (peers, observed.routes, observed.rules)
    return same and (not plan.mtu or mtus <= {plan.mtu})
